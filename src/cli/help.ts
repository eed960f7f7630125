import { renderTable } from '../observe/table.ts'
import { commonOptions } from './parse.ts'
import type { Verb } from './verb.ts'

/** `tailgate help` */
export function overview(verbs: readonly Verb[]): string {
  return [
    'tailgate: keeps a TCP service alive when the machine under it dies',
    '',
    'usage: tailgate VERB [OPTIONS]',
    '',
    ...renderTable(verbs.map(({ name, summary }) => [name, summary]), { indent: '  ' }),
    '',
    'tailgate help VERB tells more. Exit status: 0 done, 1 it did not work, 2 wrong command line, '
      + '70 a fault of the program.',
    ''
  ].join('\n')
}

/** `tailgate help VERB` */
export function verbHelp(verb: Verb): string {
  const table = Object.entries({ ...verb.options, ...commonOptions })
  const options = table.map(([name, { value, short, doc }]) => {
    const long = value === undefined ? `--${name}` : `--${name} ${value}`
    return [short === undefined ? `    ${long}` : `-${short}, ${long}`, doc]
  })
  const lines = [verb.summary, '', ...verb.usage.map((form, i) => `${i === 0 ? 'usage:' : '      '} `
    + `tailgate ${form}`)]
  if (verb.details !== '') lines.push('', verb.details)
  return [...lines, '', ...renderTable(options, { indent: '  ' }), ''].join('\n')
}
