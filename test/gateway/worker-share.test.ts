import t from 'tap'
import { parseConfig } from '../../src/config/load.ts'
import type { GatewayConfig } from '../../src/config/types.ts'
import { workerShares } from '../../src/gateway/worker-share.ts'

function configOf(workers: number, guests: readonly string[], connections: number): GatewayConfig {
  const text = `name: gw
state_dir: state
metrics: 127.0.0.1:9464
workers: ${workers}
limits: { connections: ${connections} }
guests:
${guests.map((name, i) => `  - { name: ${name}, services: [{ name: x, listen: "127.0.0.1:${7000 + i}", `
    + `to: "127.0.0.1:${8000 + i}" }] }`).join('\n')}
`
  const loaded = parseConfig(text, '/etc/tailgate', { environment: {} })
  if (!loaded.ok || loaded.config.kind !== 'gateway') throw new Error(JSON.stringify(loaded))
  return loaded.config
}

void t.test('guests are dealt round robin and connections evenly', (t) => {
  const shares = workerShares(configOf(3, ['a', 'b', 'c', 'd', 'e'], 11))
  t.same(shares.map(({ guests }) => guests.map(({ name }) => name)), [['a', 'd'], ['b', 'e'], ['c']])
  t.same(shares.map(({ limits }) => limits.connections), [4, 4, 3])
  t.same(shares.map(({ metrics }) => metrics), [undefined, undefined, undefined], 'the supervisor has it')
  t.same(new Set(shares.map(({ stateDir }) => stateDir)), new Set(['/etc/tailgate/state']))
  t.end()
})

void t.test('every worker has a guest, and a connection', (t) => {
  const shares = workerShares(configOf(4, ['a', 'b', 'c', 'd'], 4))
  t.same(shares.map(({ guests, limits }) => [guests.length, limits.connections]), Array(4).fill([1, 1]))
  t.end()
})
