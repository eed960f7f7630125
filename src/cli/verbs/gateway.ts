import { loadGatewayConfig } from '../../config/load.ts'
import { runGateway } from '../../gateway/main.ts'
import { runUntilSignal } from '../daemon.ts'
import { usageError } from '../parse.ts'
import type { Verb } from '../verb.ts'

export const gateway: Verb = {
  name: 'gateway',
  summary: 'run a gateway until SIGTERM or SIGINT',
  usage: ['gateway -c FILE'],
  details: 'The first signal stops it in order: connections get `timeouts.drain` to finish.\n'
    + 'The second one ends it at once.',
  options: { config: { short: 'c', value: 'FILE', doc: 'The gateway file (docs/CONFIGURATION.md).' } },
  words: { least: 0, most: 0 },
  async run(given) {
    const file = given.value('config')
    if (file === undefined) throw usageError(gateway, 'no file is named: -c FILE')
    const config = loadGatewayConfig(file)
    const log = { name: config.name, part: 'gateway', level: config.logLevel } as const
    await runUntilSignal(log, () => runGateway(config))
    return 0
  }
}
