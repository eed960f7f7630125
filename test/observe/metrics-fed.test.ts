import { readFileSync, readdirSync } from 'node:fs'
import t from 'tap'
import { MetricRegistry } from '../../src/observe/metric-registry.ts'
import { gatewayMetrics } from '../../src/observe/metrics.ts'

const source = new URL('../../src/', import.meta.url)

/** The text of every file in a folder of src/, and of the one that sets gauges from the status. */
function textOf(folder: string): string {
  const files = readdirSync(new URL(`${folder}/`, source)).map(name => `${folder}/${name}`)
  files.push('observe/status-metrics.ts')
  return files.map(path => readFileSync(new URL(path, source), 'utf8')).join('\n')
}

// A figure that nothing moves would say that all is well.
void t.test('every metric of the gateway is moved by something', t => {
  const text = textOf('gateway')
  const names = Object.keys(gatewayMetrics(new MetricRegistry()))
  t.same(names.filter(name => !new RegExp(`\\b[mM]etrics\\.${name}\\b`).test(text)), [])
  t.end()
})
