import t from 'tap'
import { DataPath } from '../../../src/core/gateway/data-path.ts'
import { LogWriter } from '../../../src/core/gateway/log-writer.ts'
import type { GatewayPort } from '../../../src/core/gateway/port.ts'
import type { GuestSettings, HostSettings } from '../../../src/core/gateway/settings.ts'
import { outputHash } from '../../../src/core/ids.ts'
import type { StreamEvents, StreamSide } from '../../../src/core/stream.ts'

const side: StreamSide = {
  backlog: 0, write: () => undefined, end: () => undefined, reset: () => undefined,
  abandon: () => undefined, pause: () => undefined, resume: () => undefined
}

/** How many connections are remembered after `count` have come and gone in order. */
function rememberedAfter(count: number, floorsFromBacklog: boolean): number {
  const writer = new LogWriter({
    epochBytes: 4096, inFlightBytes: 4096, allocate: bytes => new Uint8Array(bytes),
    gathering: () => undefined, send: () => undefined
  })
  const guests: StreamEvents[] = []
  const port: Pick<GatewayPort, 'report' | 'hash' | 'allocate' | 'acknowledge' | 'open'> = {
    report: () => undefined, hash: () => outputHash(0), allocate: bytes => new Uint8Array(bytes),
    acknowledge: () => undefined,
    open: (_connection, _service, events, done) => {
      guests.push(events)
      done({ ok: true, path: { side, path: new Uint8Array(0) } })
    }
  }
  const settings: Partial<GuestSettings> = {
    hosts: Array<HostSettings>(2), services: [{ name: 's', release: 'immediate' }],
    connections: 10, connectionBytes: 4096, heldBytes: 4096,
    floorsFromBacklog
  }
  const path = new DataPath(settings as GuestSettings, port as GatewayPort, writer)
  path.thaw()
  for (let i = 0; i < count; i++) {
    const client = path.accept(0, side, '')
    client?.data(new Uint8Array(10))
    client?.end()
    guests.at(-1)?.end()
  }
  return path.connections.size + [...path.floors.lingering].length
}

void t.test('a guest that is never restored leaves nothing to remember of a connection that is over', t => {
  t.equal(rememberedAfter(50, true), 0)
  t.equal(rememberedAfter(50, false), 50, 'another waits for the guest to acknowledge its input')
  t.end()
})
