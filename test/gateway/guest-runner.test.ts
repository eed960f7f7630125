import t from 'tap'
import { TcpAttach } from '../../src/attach/tcp.ts'
import { parseConfig } from '../../src/config/load.ts'
import type { GatewayConfig } from '../../src/config/types.ts'
import type { GatewayReport } from '../../src/core/gateway/port.ts'
import { GatewayStates } from '../../src/gateway/gateway-state.ts'
import { GuestRunner } from '../../src/gateway/guest-runner.ts'
import { NetSockets } from '../../src/net/net-sockets.ts'
import { silentLogger } from '../../src/observe/logger.ts'
import { deafSide } from '../core/gateway/bare-path.ts'

const file = `
name: gw1
state_dir: state
guests:
  - name: shop
    hosts:
      - { name: host-a, link: 127.0.0.1:7400 }
      - { name: host-b, link: 127.0.0.1:7401 }
    services:
      - { name: redis, listen: *:6379, to: 10.0.0.5:6379 }
`

function read(text: string): GatewayConfig {
  const loaded = parseConfig(text, '/etc/tailgate', { environment: {} })
  if (!loaded.ok || loaded.config.kind !== 'gateway') throw new Error('not a gateway file')
  return loaded.config
}

void t.test('a shutdown tells of the end of connections, also of those that wait for a guest', async t => {
  const config = read(file)
  const [guest] = config.guests
  if (guest === undefined) throw new Error('the file has a guest')
  const reports: GatewayReport[] = []
  const failures: unknown[] = []
  const runner = new GuestRunner({
    config, guest, logger: silentLogger, states: new GatewayStates(t.testdir()), resumption: undefined,
    newAttach: () => new TcpAttach({ sockets: new NetSockets(), connectMs: 5000 }),
    send: () => undefined, report: about => { reports.push(about) }, tickLate: () => undefined,
    fail: error => { failures.push(error) }
  })
  const told: string[] = []
  runner.core.accept(0, { ...deafSide, reset: () => { told.push('reset') } }, '192.0.2.7:40001')
  await runner.stop()
  t.same(told, ['reset'])
  t.match(reports.filter(({ type }) => type === 'connection-end'), [{ ending: 'shutdown' }])
  t.same(failures, [])
})
