import { readFileSync } from 'node:fs'
import t from 'tap'
import { keysOf, parseConfig } from '../../src/config/load.ts'
import { referenceTable } from '../../src/config/reference.ts'

const root = new URL('../../', import.meta.url)
const examples = { gateway: 'deploy/tailgate.yaml', agent: 'deploy/agent.yaml' } as const
const documentation = textOf('docs/CONFIGURATION.md')

function textOf(path: string): string {
  return readFileSync(new URL(path, root), 'utf8')
}

for (const kind of ['gateway', 'agent'] as const) {
  const example = textOf(examples[kind])

  void t.test(`${examples[kind]} is right as it is`, (t) => {
    t.match(parseConfig(example, '/etc/tailgate', { withFiles: false, environment: {} }),
      { ok: true, config: { kind } })
    t.end()
  })

  void t.test(`${examples[kind]} shows every key, with its default`, (t) => {
    for (const { path, fallback } of keysOf(kind)) {
      const key = path.split('.').at(-1) ?? path
      const line = new RegExp(`(^|[\\s{,-])${key}: *(.*)`, 'm').exec(example)
      t.ok(line, path)
      if (/^\d/.test(fallback)) t.match(example, new RegExp(`\\b${key}: ${fallback}\\b`),
        `the default of ${path}`)
    }
    t.end()
  })

  void t.test(`docs/CONFIGURATION.md has the table of the ${kind} file`, (t) => {
    t.ok(documentation.includes(referenceTable(kind)), `as \`tailgate check --keys ${kind}\` prints it`)
    t.end()
  })
}
