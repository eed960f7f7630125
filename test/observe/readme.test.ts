import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'
import { parseConfig } from '../../src/config/load.ts'
import { headline } from '../../src/observe/status-text.ts'
import { shop } from './sample-status.ts'

const root = new URL('../../', import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8')
const readme = read('README.md')

void t.test('the configurations of the README are valid, and the gateway one has ten lines', t => {
  const [gateway = '', agent = '', ...more] =
    Array.from(readme.matchAll(/```yaml\n(.*?)```/gs), match => match[1] ?? '')
  t.same(more, [])
  t.equal(gateway.trimEnd().split('\n').length, 10)
  for (const text of [gateway, agent]) {
    const loaded = parseConfig(text, '/etc/tailgate', { withFiles: false })
    t.ok(loaded.ok, JSON.stringify(loaded))
  }
  t.end()
})

void t.test('the status line of the README is one that status would print', t => {
  const line = headline({ ...shop, guest: 'demo', generation: 1 })
  t.ok(readme.includes(`\n${line}\n`), line)
  t.end()
})

void t.test('every file that README and the documents of this part link to is there', t => {
  const documents = ['README.md', 'docs/GUARANTEES.md', 'docs/LOGS.md', 'docs/METRICS.md', 'docs/STATUS.md']
  for (const document of documents) {
    const text = read(document)
    for (const [, target = ''] of text.matchAll(/\]\(([^)]+)\)/g)) {
      if (/^https:/.test(target)) continue
      const [path = '', heading] = target.split('#')
      const file = path === '' ? new URL(document, root) : new URL(path, new URL(document, root))
      t.ok(existsSync(file), `${document}: ${target}`)
      if (heading === undefined) continue
      t.ok(headings(readFileSync(file, 'utf8')).includes(heading), `${document}: ${target}`)
    }
  }
  t.end()
})

/** The anchors that a forge makes of headings. */
function headings(text: string): string[] {
  return Array.from(text.matchAll(/^#+ (.*)$/gm), match => {
    const words = (match[1] ?? '').toLowerCase().replace(/[^a-z0-9 -]/g, '')
    return words.replaceAll(' ', '-')
  })
}
