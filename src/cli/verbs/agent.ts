import { runAgent } from '../../agent/main.ts'
import { loadAgentConfig } from '../../config/load.ts'
import { runUntilSignal } from '../daemon.ts'
import { usageError } from '../parse.ts'
import type { Verb } from '../verb.ts'

export const agent: Verb = {
  name: 'agent',
  summary: 'run an agent until SIGTERM or SIGINT',
  usage: ['agent -c FILE'],
  details: 'One on each machine that may run a guest. The first signal stops it in order, with the guests\n'
    + 'that cannot be without it. The second one ends it at once.',
  options: { config: { short: 'c', value: 'FILE', doc: 'The agent file (docs/CONFIGURATION.md).' } },
  words: { least: 0, most: 0 },
  async run(given) {
    const file = given.value('config')
    if (file === undefined) throw usageError(agent, 'no file is named: -c FILE')
    const config = loadAgentConfig(file)
    const log = { name: config.name, part: 'agent', level: config.logLevel } as const
    await runUntilSignal(log, () => runAgent(config))
    return 0
  }
}
