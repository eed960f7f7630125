import t from 'tap'
import { DataPath } from '../../../src/core/gateway/data-path.ts'
import { LogWriter } from '../../../src/core/gateway/log-writer.ts'
import type { GatewayPort } from '../../../src/core/gateway/port.ts'
import type { GuestSettings, HostSettings } from '../../../src/core/gateway/settings.ts'
import { connectionId, historyId, inputOffset, outputHash } from '../../../src/core/ids.ts'
import type { StreamEvents, StreamSide } from '../../../src/core/stream.ts'

const side: StreamSide = {
  backlog: 0, write: () => undefined, end: () => undefined, reset: () => undefined,
  abandon: () => undefined, pause: () => undefined, resume: () => undefined
}

interface Rig {
  readonly path: DataPath
  /** The guest's ends of the connections, in the order in which they were opened. */
  readonly guests: readonly StreamEvents[]
  /** A client comes, and sends ten bytes. */
  connect(): StreamEvents
  beginHistory(): void
  /** Whether a mark would be refused, were it asked for now. */
  refuses(): boolean
}

function rig(): Rig {
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
    floorsFromBacklog: false
  }
  const path = new DataPath(settings as GuestSettings, port as GatewayPort, writer)
  path.thaw()
  return {
    path, guests,
    connect: () => {
      const client = path.accept(0, side, '')
      if (client === undefined) throw new RangeError('there is room for every client')
      client.data(new Uint8Array(10))
      return client
    },
    beginHistory: () => {
      writer.begin(historyId('00000000000000a1'))
      path.adoptAll()
    },
    refuses: () => path.floors.unacknowledgedBefore() !== undefined
  }
}

void t.test('input from before the history, of a client that has reset since, keeps one mark back', t => {
  const { path, connect, beginHistory, refuses } = rig()
  const client = connect()
  path.floors.note(connectionId(1), inputOffset(4))
  beginHistory()
  t.equal(refuses(), true, 'its end is on its way to the guest')
  client.reset()
  t.equal(path.connections.size, 0)
  t.equal(refuses(), true, 'and may arrive after the mark although the connection is over')
  t.equal(refuses(), false, 'by the next mark the guest has what arrived of it')
  t.end()
})

void t.test('a reset keeps no mark back if nothing from before the history can be on its way', t => {
  const { path, guests, connect, beginHistory, refuses } = rig()
  const [acknowledged, refused] = [connect(), connect()]
  beginHistory()
  path.floors.note(connectionId(1), inputOffset(10))
  acknowledged.reset()
  guests[1]?.reset()
  refused.reset()
  t.equal(refuses(), false, 'the guest has all of it, or has reset the connection itself')
  connect().reset()
  t.equal(refuses(), false, 'the log holds what the guest may still get')
  t.end()
})

void t.test('input of a guest that is gone keeps no mark of the restored one back', t => {
  const { path, connect, beginHistory, refuses } = rig()
  const client = connect()
  beginHistory()
  client.reset()
  path.abandonGuestSides()
  t.equal(refuses(), false)
  t.end()
})
