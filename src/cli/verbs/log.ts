import { dumpLog, verdictStatus, verdictText, verifyLog } from '../log.ts'
import { usageError } from '../parse.ts'
import type { Verb } from '../verb.ts'

export const log: Verb = {
  name: 'log',
  summary: 'read the input log on the disk of a backup',
  usage: ['log verify DIR [--json]', 'log dump DIR [--json]'],
  details: '`verify` says in one line whether it is whole; exit status 1 if it is damaged beyond its tail.\n'
    + '`dump` shows a line for each record, input by its length only. Neither changes anything.',
  options: { json: { doc: 'Each line as JSON.' } },
  words: { least: 0, most: 2 },
  async run(given, output) {
    const [what, directory] = given.positionals
    if (what !== 'verify' && what !== 'dump') throw usageError(log, 'say log verify DIR or log dump DIR')
    if (directory === undefined) throw usageError(log, 'which log? Name its directory')
    const json = given.has('json')
    if (what === 'dump') {
      await dumpLog(directory, { json }, async (line) => output.outWhenRoom(`${line}\n`))
      return 0
    }
    const verdict = await verifyLog(directory)
    output.out(`${json ? JSON.stringify(verdict) : verdictText(verdict)}\n`)
    return verdictStatus(verdict)
  }
}
