import t from 'tap'
import { InvariantError } from '../../src/base/invariant.ts'
import { MetricRegistry, metricFaults, seriesMax } from '../../src/observe/metric-registry.ts'

void t.test('counters and gauges are plain numbers, written down at the scrape', t => {
  const registry = new MetricRegistry()
  const bytes = registry.counter({ name: 'tailgate_x_bytes_total', help: 'Bytes', labels: ['side'] })
  const up = registry.gauge({ name: 'tailgate_up', help: 'Up' })
  const cell = bytes.with({ side: 'a' })
  cell.value += 3
  cell.value += 4
  bytes.with({ side: 'b' }).value = 0.5
  t.equal(bytes.with({ side: 'a' }), cell, 'the same labels are the same series')
  up.with({}).value = NaN
  t.equal(registry.expose(), [
    '# HELP tailgate_x_bytes_total Bytes', '# TYPE tailgate_x_bytes_total counter',
    'tailgate_x_bytes_total{side="a"} 7', 'tailgate_x_bytes_total{side="b"} 0.5',
    '# HELP tailgate_up Up', '# TYPE tailgate_up gauge', 'tailgate_up NaN', ''
  ].join('\n'))
  t.end()
})

void t.test('a metric without labels is there as 0 from the beginning', t => {
  const registry = new MetricRegistry()
  registry.counter({ name: 'tailgate_jumps_total', help: 'Jumps' })
  t.match(registry.expose(), /\ntailgate_jumps_total 0\n/)
  t.end()
})

void t.test('a histogram counts cumulatively, with a value on a bound inside it', t => {
  const registry = new MetricRegistry()
  const hold = registry.histogram({
    name: 'tailgate_hold_seconds', help: 'Hold', labels: ['guest'], bounds: [0.1, 1]
  })
  const cell = hold.with({ guest: 'shop' })
  for (const value of [0.1, 0.5, 2, 3]) cell.observe(value)
  t.same(registry.expose().split('\n').slice(2), [
    'tailgate_hold_seconds_bucket{guest="shop",le="0.1"} 1',
    'tailgate_hold_seconds_bucket{guest="shop",le="1"} 2',
    'tailgate_hold_seconds_bucket{guest="shop",le="+Inf"} 4',
    'tailgate_hold_seconds_sum{guest="shop"} 5.6',
    'tailgate_hold_seconds_count{guest="shop"} 4', ''
  ])
  t.end()
})

void t.test('label values and help are escaped', t => {
  const registry = new MetricRegistry()
  const help = 'back\\slash and\nline "quoted"'
  const gauge = registry.gauge({ name: 'tailgate_x', help, labels: ['guest'] })
  gauge.with({ guest: 'a"b\\c\nd' }).value = Infinity
  t.equal(registry.expose(), '# HELP tailgate_x back\\\\slash and\\nline "quoted"\n# TYPE tailgate_x gauge\n'
    + 'tailgate_x{guest="a\\"b\\\\c\\nd"} +Inf\n')
  t.end()
})

void t.test('collectors run before each scrape', t => {
  const registry = new MetricRegistry()
  const cell = registry.gauge({ name: 'tailgate_scrapes', help: 'Scrapes' }).with({})
  registry.onCollect(() => { cell.value++ })
  registry.expose()
  t.match(registry.expose(), /tailgate_scrapes 2\n/)
  t.end()
})

void t.test('a label that grows without bound ends in one series for the rest', t => {
  const registry = new MetricRegistry()
  const family = registry.counter({ name: 'tailgate_x_total', help: 'X', labels: ['guest'] })
  for (let i = 0; i < seriesMax + 50; i++) family.with({ guest: `g${i}` }).value++
  const lines = registry.expose().trimEnd().split('\n').slice(2)
  t.equal(lines.length, seriesMax + 1)
  t.equal(lines.at(-1), 'tailgate_x_total{guest="other"} 50')
  t.end()
})

void t.test('the naming rules are held when a metric is made', t => {
  const good = { name: 'tailgate_x_bytes', type: 'gauge', help: 'X', labels: ['guest'] } as const
  t.same(metricFaults(good), [])
  const bad = [
    { ...good, name: 'other_x_bytes' }, { ...good, name: 'tailgate_X' },
    { ...good, name: 'tailgate_x_total' },
    { ...good, type: 'counter' }, { ...good, name: 'tailgate_wait_ms' },
    { ...good, name: 'tailgate_x_count' },
    { ...good, name: 'tailgate_x_gauge' }, { ...good, name: 'tailgate_log_kib_used' }, { ...good, help: '' },
    { ...good, help: 'A sentence.' }, { ...good, labels: ['client'] }, { ...good, labels: ['connection'] },
    { ...good, labels: ['le'] }, { ...good, labels: ['Guest'] },
    { ...good, type: 'histogram', name: 'tailgate_x' }
  ] as const
  for (const metric of bad) {
    t.equal(metricFaults(metric).length, 1, JSON.stringify(metric))
  }
  const registry = new MetricRegistry()
  t.throws(() => registry.gauge({ name: 'tailgate_wait_ms', help: 'Wait' }), InvariantError)
  registry.gauge({ name: 'tailgate_twice', help: 'Twice' })
  t.throws(() => registry.gauge({ name: 'tailgate_twice', help: 'Twice' }), InvariantError)
  const bounds = [1, 1]
  t.throws(() => registry.histogram({ name: 'tailgate_x_seconds', help: 'X', bounds }), InvariantError)
  t.end()
})
