import t from 'tap'
import { codeWords, readDoc, tableRows } from './doc-table.ts'
import { failover, gatewayStatus, plan, shop } from './sample-status.ts'

const doc = readDoc('STATUS.md')

function documented(header: string): string[] {
  return tableRows(doc, [header, 'meaning']).flatMap(row => codeWords(row[0] ?? ''))
}

/** The paths of every figure in a value: `guests[].lag.ms`. Those in `whole` are not looked into. */
function pathsOf(value: unknown, whole: readonly string[], path = ''): string[] {
  if (value === null || typeof value !== 'object' || whole.includes(path)) return [path]
  if (Array.isArray(value)) return [...new Set(value.flatMap(item => pathsOf(item, whole, `${path}[]`)))]
  const before = path === '' ? '' : `${path}.`
  return Object.entries(value).flatMap(([key, inner]) => pathsOf(inner, whole, before + key))
}

void t.test('docs/STATUS.md has every field of the status, and no other', t => {
  const paths = pathsOf(gatewayStatus, ['guests[].checkpoint', 'guests[].lastFailover'])
  t.same(documented('field').sort(), paths.sort())
  t.end()
})

void t.test('docs/STATUS.md has every field of a checkpoint, a failover and a plan, and no other', t => {
  t.ok(shop.checkpoint)
  t.same(documented('field of a checkpoint').sort(), pathsOf(shop.checkpoint, []).sort())
  t.same(documented('field of a failover').sort(), pathsOf(failover, []).sort())
  const whole = ['checkpoint', 'tail', 'attach', 'anew', 'reset', 'blockers']
  t.same(documented('field of a plan').sort(), pathsOf(plan, whole).sort())
  t.end()
})
