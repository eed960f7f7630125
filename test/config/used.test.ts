import t from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import { filesUnder, root, textOf } from '../source-tree.ts'

// A key that nothing reads would promise what it does not hold.

const others = filesUnder('src', '.ts').filter((file) => !file.startsWith('src/config/'))
const readers = others.map(textOf).join('\n')

/** The names of all values in a configuration, without those of lists' elements. */
function namesIn(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return []
  const entries = Object.entries(value)
  return entries.flatMap(([name, inner]) => [...Array.isArray(value) ? [] : [name], ...namesIn(inner)])
}

for (const example of ['deploy/tailgate.yaml', 'deploy/agent.yaml']) {
  void t.test(`every value of ${example} is used outside of the configuration`, (t) => {
    const names = new Set(namesIn(loadConfig(`${root}/${example}`, { withFiles: false, environment: {} })))
    t.ok(names.size > 10)
    for (const name of names) t.match(readers, new RegExp(`\\.${name}\\b|[{,] *${name}\\b *[,}:]`), name)
    t.end()
  })
}
