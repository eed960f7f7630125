import { problemLines, readConfig } from '../../config/load.ts'
import { referenceTable } from '../../config/reference.ts'
import { usageError } from '../parse.ts'
import type { Arguments, Output, Verb } from '../verb.ts'

export const check: Verb = {
  name: 'check',
  summary: 'read a configuration and report every error in it',
  usage: ['check -c FILE [--print] [--no-files]', 'check --keys gateway|agent'],
  details: 'Exit status 0 if the file can be used. The rules are in docs/CONFIGURATION.md.',
  options: {
    config: { short: 'c', value: 'FILE', doc: 'The gateway or agent file.' },
    print: { doc: 'Show what is in effect, with the defaults filled in.' },
    'no-files': { doc: 'Do not look for certificates and fence programs: the file is for another machine.' },
    keys: { value: 'KIND', doc: 'Show every key of a gateway or an agent file, as a Markdown table.' }
  },
  words: { least: 0, most: 0 },
  async run(given, output) {
    return Promise.resolve(given.has('keys') ? keys(given, output) : checkFile(given, output))
  }
}

function checkFile(given: Arguments, output: Output): number {
  const file = given.value('config')
  if (file === undefined) throw usageError(check, 'no file is named: -c FILE')
  const loaded = readConfig(file, { withFiles: !given.has('no-files') })
  if (!loaded.ok) {
    for (const line of problemLines(file, loaded.problems)) output.error(`${line}\n`)
    return 1
  }
  if (given.has('print')) output.out(loaded.effective)
  else output.out(`${file}: OK, ${loaded.config.kind} '${loaded.config.name}'\n`)
  return 0
}

function keys(given: Arguments, output: Output): number {
  const kind = given.value('keys')
  if (kind !== 'gateway' && kind !== 'agent') throw usageError(check, '--keys is of a gateway or an agent')
  output.out(`${referenceTable(kind)}\n`)
  return 0
}
