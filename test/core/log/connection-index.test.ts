import t from 'tap'
import { checkpointId, connectionId, lsn } from '../../../src/core/ids.ts'
import { ConnectionIndex, isFinished, type ConnectionState } from '../../../src/core/log/connection-index.ts'
import type { LogRecord } from '../../../src/core/record.ts'
import { RecordCursor, encodeRecord } from '../../../src/core/record-codec.ts'
import {
  connected, data, end, floor, guestEnd, guestReset, mark, open, read, reset
} from '../../log/compliance.ts'

function follow(index: ConnectionIndex, records: readonly LogRecord[], first = 1): void {
  for (const [n, record] of records.entries()) {
    const cursor = new RecordCursor(encodeRecord(record))
    cursor.next()
    index.follow(cursor, first + n)
  }
}

function after(records: readonly LogRecord[]): ConnectionState {
  const index = new ConnectionIndex()
  follow(index, [open(1), ...records])
  const state = index.state(connectionId(1))
  if (!state) throw new Error('connection 1 is known')
  return state
}

void t.test('the index knows how a connection stands', t => {
  const path = Uint8Array.of(5)
  const state = after([connected(1, path), data(1, 'abc'), read(1, 7, 8), floor(1, 2), end(1)])
  t.match(state, {
    connected: true, path, input: 4, floor: 2, output: 7, hash: 8, ended: true, reset: false,
    guestEnded: false, guestReset: false, client: '10.0.0.1:4000'
  })
  t.equal(after([data(1, 'ab'), floor(1, 99)]).floor, 2, 'a floor is never above what is logged')
  t.end()
})

void t.test('what cannot be true is damage', t => {
  const wrong: Record<string, LogRecord[]> = {
    'input of an unknown connection': [data(2, 'x')],
    'the end of an unknown connection': [end(2)],
    'a second OPEN': [open(1)],
    'a second CONNECTED': [connected(1), connected(1)],
    'input after the end': [end(1), data(1, 'x')],
    'a second end': [end(1), end(1)],
    'input after a reset': [reset(1), data(1, 'x')],
    'a second reset': [reset(1), reset(1)],
    'input after the guest reset': [guestReset(1, 0), data(1, 'x')],
    'output going back': [read(1, 5), read(1, 4)],
    'output after its end': [guestEnd(1, 5), read(1, 7)],
    'an end before the output': [read(1, 5), guestEnd(1, 3)],
    'a second end of the guest': [guestEnd(1, 0), guestEnd(1, 0)],
    'an end after the guest reset': [guestReset(1, 0), guestEnd(1, 0)],
    'a floor going back': [data(1, 'abc'), floor(1, 2), floor(1, 1)],
    'a checkpoint going back': [mark(3), mark(3)]
  }
  for (const [what, records] of Object.entries(wrong)) {
    t.throws(() => after(records), { code: 'E_LOG_CORRUPT' }, what)
  }
  t.end()
})

void t.test('what is late about a connection that is gone is passed over', t => {
  t.doesNotThrow(() => after([
    read(2, 5), floor(2, 5), reset(2), guestEnd(2, 5), guestReset(2, 5), connected(2),
    reset(1), guestReset(1, 0)
  ]))
  t.doesNotThrow(() => after([read(1, 5), guestEnd(1, 5), read(1, 6), floor(1, 0), read(1, 6)]))
  t.end()
})

void t.test('finished: both sides are through and the guest has everything', t => {
  const cases: [boolean, LogRecord[]][] = [
    [false, []], [false, [data(1, 'a'), floor(1, 1)]],
    [true, [guestReset(1, 0)]], [true, [data(1, 'a'), guestReset(1, 0)]],
    [true, [reset(1)]], [false, [data(1, 'a'), reset(1)]], [true, [data(1, 'a'), reset(1), floor(1, 1)]],
    [false, [end(1), floor(1, 1)]], [false, [guestEnd(1, 0)]],
    [false, [end(1), guestEnd(1, 0)]], [true, [end(1), guestEnd(1, 0), floor(1, 1)]],
    [false, [data(1, 'ab'), end(1), guestEnd(1, 0), floor(1, 2)]],
    [true, [data(1, 'ab'), end(1), guestEnd(1, 0), floor(1, 3)]]
  ]
  for (const [finished, records] of cases) {
    t.equal(isFinished(after(records)), finished, JSON.stringify(records))
  }
  t.end()
})

void t.test('a view of a mark stays as the mark was, whatever follows', t => {
  const index = new ConnectionIndex()
  follow(index, [open(1), data(1, 'a'), mark(1), data(1, 'b'), open(2), mark(2), data(1, 'c'), data(2, 'd')])
  const view = index.at({ checkpoint: checkpointId(1), lsn: lsn(3) })
  const later = index.at({ checkpoint: checkpointId(2), lsn: lsn(6) })
  const inputs = (one: typeof view): number[][] =>
    [...one?.connections() ?? []].map(state => [state.connection, state.input])
  t.strictSame(inputs(view), [[1, 1]])
  t.strictSame(inputs(later), [[1, 2], [2, 0]])
  follow(index, [data(1, 'e'), end(2)], 9)
  t.strictSame(inputs(view), [[1, 1]])
  index.prunedTo({ checkpoint: checkpointId(1), lsn: lsn(3) })
  t.strictSame(inputs(later), [[1, 2], [2, 0]])
  t.equal(index.markOf(checkpointId(1)), undefined)
  t.end()
})

void t.test('only the newest few marks are remembered', t => {
  const index = new ConnectionIndex()
  follow(index, Array.from({ length: 20 }, (_, n) => mark(n + 1)))
  t.equal(index.markOf(checkpointId(1)), undefined)
  t.equal(index.markOf(checkpointId(20)), 20)
  t.equal(index.at({ checkpoint: checkpointId(20), lsn: lsn(19) }), undefined, 'another lsn is another mark')
  t.end()
})

void t.test('the mark of a view is remembered, and as it was, however many follow', t => {
  const index = new ConnectionIndex()
  follow(index, [open(1), open(2), data(1, 'a'), mark(1)])
  const view = index.at({ checkpoint: checkpointId(1), lsn: lsn(4) })
  for (let n = 2; n < 30; n++) {
    follow(index, [...n === 5 ? [data(1, 'b')] : [], ...n === 20 ? [data(2, 'c')] : [], mark(n)], n * 10)
  }
  t.strictSame([...view?.connections() ?? []].map(state => [state.connection, state.input]), [[1, 1], [2, 0]])
  index.prunedTo({ checkpoint: checkpointId(1), lsn: lsn(4) })
  t.equal(index.markOf(checkpointId(1)), undefined)
  t.not(index.markOf(checkpointId(29)), undefined)
  t.end()
})
