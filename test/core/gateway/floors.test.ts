import t from 'tap'
import { connectionId, historyId, inputOffset } from '../../../src/core/ids.ts'
import type { StreamEvents } from '../../../src/core/stream.ts'
import { barePath, deafSide, type BarePath } from './bare-path.ts'

interface Rig extends BarePath {
  /** A client comes, and sends ten bytes. */
  connect(): StreamEvents
  beginHistory(): void
  /** Whether a mark would be refused, were it asked for now. */
  refuses(): boolean
}

function rig(): Rig {
  const bare = barePath(false)
  const { path, writer } = bare
  return {
    ...bare,
    connect: () => {
      const client = path.accept(0, deafSide, '')
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
