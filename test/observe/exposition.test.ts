import t from 'tap'
import { exposition, mergedFamilies } from '../../src/observe/exposition.ts'
import { MetricRegistry } from '../../src/observe/metric-registry.ts'

/** The registry of a process that serves `guest`. */
function registryOf(guest: string, seconds: number): MetricRegistry {
  const registry = new MetricRegistry()
  const state = registry.gauge({ name: 'tailgate_x', help: 'X', labels: ['guest'] })
  const up = registry.gauge({ name: 'tailgate_link_up', help: 'Link', labels: ['peer'] })
  const delay = registry.histogram({ name: 'tailgate_delay_seconds', help: 'Delay', bounds: [1] })
  state.with({ guest }).value = 1
  up.with({ peer: 'a' }).value = seconds
  delay.with({}).observe(seconds)
  return registry
}

void t.test('guests are put side by side, and every other series says which process it is of', t => {
  const supervisor = new MetricRegistry()
  const workerUp = supervisor.gauge({ name: 'tailgate_worker_up', help: 'Up', labels: ['worker'] })
  const linkUp = supervisor.gauge({ name: 'tailgate_link_up', help: 'Link', labels: ['peer'] })
  workerUp.with({ worker: '1' }).value = 1
  linkUp.with({ peer: 'b' }).value = NaN
  const processes = [
    { worker: 'supervisor', families: supervisor.snapshot() },
    { worker: '1', families: registryOf('shop', 0.5).snapshot() },
    { worker: '2', families: registryOf('mail', 2).snapshot() },
    { worker: '3', families: [] }
  ]
  t.same(exposition(mergedFamilies(processes)).split('\n'), [
    '# HELP tailgate_worker_up Up', '# TYPE tailgate_worker_up gauge', 'tailgate_worker_up{worker="1"} 1',
    '# HELP tailgate_link_up Link', '# TYPE tailgate_link_up gauge',
    'tailgate_link_up{worker="supervisor",peer="b"} NaN', 'tailgate_link_up{worker="1",peer="a"} 0.5',
    'tailgate_link_up{worker="2",peer="a"} 2',
    '# HELP tailgate_x X', '# TYPE tailgate_x gauge',
    'tailgate_x{guest="shop"} 1', 'tailgate_x{guest="mail"} 1',
    '# HELP tailgate_delay_seconds Delay', '# TYPE tailgate_delay_seconds histogram',
    'tailgate_delay_seconds_bucket{worker="1",le="1"} 1',
    'tailgate_delay_seconds_bucket{worker="1",le="+Inf"} 1',
    'tailgate_delay_seconds_sum{worker="1"} 0.5', 'tailgate_delay_seconds_count{worker="1"} 1',
    'tailgate_delay_seconds_bucket{worker="2",le="1"} 0',
    'tailgate_delay_seconds_bucket{worker="2",le="+Inf"} 1',
    'tailgate_delay_seconds_sum{worker="2"} 2', 'tailgate_delay_seconds_count{worker="2"} 1', ''
  ])
  t.end()
})

void t.test('what is told to another process is the same there', t => {
  const told = registryOf('shop', Infinity).snapshot()
  t.same(JSON.parse(JSON.stringify(told)), told)
  t.end()
})
