import t from 'tap'
import { terminationCodes } from '../../src/observe/connection-log.ts'
import { MetricRegistry } from '../../src/observe/metric-registry.ts'
import { agentMetrics, gatewayMetrics, supervisorMetrics } from '../../src/observe/metrics.ts'
import { connectionStates, failoverPhases, failoverTriggers } from '../../src/observe/status.ts'
import { codeWords, readDoc, tableRows } from './doc-table.ts'

const gateway = new MetricRegistry()
const agent = new MetricRegistry()
const supervisor = new MetricRegistry()
gatewayMetrics(gateway)
agentMetrics(agent)
supervisorMetrics(supervisor)
const families = [...gateway.families, ...supervisor.families, ...agent.families]

/** A family as a row of the document. */
function rowsOf(registry: MetricRegistry): Map<string, string[]> {
  return new Map(registry.families.map(family => {
    const labels = family.labels.map(label => `\`${label}\``).join(', ') || 'none'
    return [family.name, [`\`${family.name}\``, family.type, labels, family.help]]
  }))
}

const doc = readDoc('METRICS.md')
const header = ['name', 'type', 'labels', 'what it is']

function section(title: string): string[][] {
  const from = doc.indexOf(`\n## ${title}\n`)
  const to = doc.indexOf('\n## ', from + 1)
  return tableRows(doc.slice(from, to), header)
}

void t.test('docs/METRICS.md has every metric with its type, labels and help, and no other', t => {
  const ofGateway = rowsOf(gateway)
  const ofAgent = rowsOf(agent)
  const shared = [...ofGateway].filter(([name]) => ofAgent.has(name))
  t.same(section('Gateway and agent'), shared.map(([, row]) => row))
  t.same(section('Gateway only'), [...ofGateway].filter(([name]) => !ofAgent.has(name)).map(([, row]) => row))
  const ofSupervisor = [...rowsOf(supervisor)].filter(([name]) => !ofGateway.has(name))
  t.same(section('Gateway with worker processes'), ofSupervisor.map(([, row]) => row))
  t.same(section('Agent only'), [...ofAgent].filter(([name]) => !ofGateway.has(name)).map(([, row]) => row))
  t.ok(shared.length > 0)
  t.end()
})

void t.test('what gateway and agent share means the same in both', t => {
  const ofAgent = rowsOf(agent)
  const ofGateway = rowsOf(gateway)
  for (const [name, row] of ofGateway) if (ofAgent.has(name)) t.same(ofAgent.get(name), row)
  for (const [name, row] of rowsOf(supervisor)) if (ofGateway.has(name)) t.same(ofGateway.get(name), row)
  t.end()
})

void t.test('every label of the code has its values documented, and closed lists agree', t => {
  const values = new Map(tableRows(doc, ['label', 'values']).map(([label = '', list = '']) => [label, list]))
  const labelsOf = (cell: string) => codeWords(cell.replace(/ of .*/, ''))
  const named = new Set([...values.keys()].flatMap(labelsOf))
  const used = new Set(families.flatMap(family => family.labels))
  t.same([...used].filter(label => !named.has(label) && !['version', 'node'].includes(label)), [])
  t.same([...named].filter(label => !used.has(label)), [])
  const list = (label: string) => codeWords(values.get(label) ?? '')
  t.same(list('`phase`'), failoverPhases)
  t.same(list('`trigger`'), failoverTriggers)
  t.same(list('`state` of `tailgate_connections`'), connectionStates)
  t.end()
})

void t.test('every metric named in the advice exists', t => {
  const names = new Set(families.map(family => family.name))
  const asked = Array.from(doc.matchAll(/\b(?:tailgate|process)_[a-z_]+/g), match => match[0])
  t.same(asked.filter(name => !names.has(name) && !names.has(name.replace(/_(bucket|sum|count)$/, ''))), [])
  t.ok(asked.length > names.size)
  t.ok(terminationCodes.includes('C-') && terminationCodes.includes('S-'), 'the codes in the advice exist')
  t.end()
})
