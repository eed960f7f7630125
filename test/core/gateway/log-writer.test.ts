import t from 'tap'
import { LogWriter, type Epoch, type ReadNote } from '../../../src/core/gateway/log-writer.ts'
import { connectionId, historyId, lsn } from '../../../src/core/ids.ts'
import { RecordCursor } from '../../../src/core/record-codec.ts'
import { RecordKind } from '../../../src/core/record.ts'

const history = historyId('00000000000000aa')

function writerOf(limits: { epochBytes?: number, inFlightBytes?: number } = {}): {
  writer: LogWriter, sent: Epoch[], gathered: { times: number }
} {
  const sent: Epoch[] = []
  const gathered = { times: 0 }
  const writer = new LogWriter({
    epochBytes: limits.epochBytes ?? 1 << 20, inFlightBytes: limits.inFlightBytes ?? 1 << 20,
    gathering: () => { gathered.times++ },
    send: (_history, epoch) => sent.push(epoch)
  })
  return { writer, sent, gathered }
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

function kindsOf(epoch: Epoch | undefined): number[] {
  const kinds: number[] = []
  for (const slice of epoch?.records ?? []) {
    const cursor = new RecordCursor(slice)
    while (cursor.next()) kinds.push(cursor.kind)
  }
  return kinds
}

void t.test('the first event after an idle moment asks to leave; what comes while it is out gathers', t => {
  const { writer, sent, gathered } = writerOf()
  t.equal(writer.begin(history), 1)
  writer.data(1, bytes('a'))
  t.equal(gathered.times, 1)
  writer.flush()
  t.equal(sent.length, 1)
  writer.data(1, bytes('b'))
  writer.data(2, bytes('c'))
  writer.flush()
  t.equal(sent.length, 1, 'an acknowledgement is outstanding')
  t.equal(writer.acknowledge(lsn(1)), true)
  writer.flush()
  t.match(sent[1], { firstLsn: 2, lastLsn: 3 })
  t.end()
})

void t.test('an epoch that is full leaves though others are out', t => {
  const { writer, sent } = writerOf({ epochBytes: 64 })
  writer.begin(history)
  writer.data(1, new Uint8Array(100))
  writer.data(1, new Uint8Array(100))
  t.same(sent.map(({ lastLsn }) => lastLsn), [1, 2])
  t.end()
})

void t.test('input that was logged does not change when its buffer is used again', t => {
  const { writer, sent } = writerOf()
  writer.begin(history)
  const buffer = bytes('first')
  writer.data(1, buffer)
  buffer.fill(0)
  writer.flush()
  const cursor = new RecordCursor(sent[0]?.records[0])
  cursor.next()
  t.equal(new TextDecoder().decode(cursor.payload()), 'first')
  t.end()
})

void t.test('memory is written again only when all in it is committed', t => {
  const { writer, sent } = writerOf({ epochBytes: 64 * 1024, inFlightBytes: 1 << 24 })
  writer.begin(history)
  const piece = new Uint8Array(64 * 1024)
  for (let i = 1; i <= 40; i++) {
    writer.data(1, piece.fill(i))
    // The backup is some epochs behind.
    if (i > 8) writer.acknowledge(sent[i - 9]?.lastLsn ?? lsn(0))
    for (const epoch of sent.slice(Math.max(0, i - 8))) {
      const cursor = new RecordCursor(epoch.records[0])
      cursor.next()
      t.ok(cursor.payload().every(byte => byte === epoch.firstLsn), `epoch ${epoch.firstLsn} after ${i}`)
    }
  }
  t.ok(new Set(sent.map(({ records }) => records[0]?.buffer)).size <= 4, 'few arenas serve all epochs')
  t.end()
})

void t.test('what was read stands before the next event, once each, in the order of the first read', t => {
  const { writer, sent } = writerOf()
  writer.begin(history)
  const note = (id: number): ReadNote => ({ id, outputReceived: 10 * id, outputHash: id, readNoted: false })
  const [one, two] = [note(1), note(2)]
  writer.noteRead(two)
  writer.noteRead(one)
  writer.noteRead(two)
  t.equal(writer.lastLsn, 0, 'a read alone is no event')
  writer.data(1, bytes('x'))
  writer.flush()
  t.same(kindsOf(sent[0]), [RecordKind.read, RecordKind.read, RecordKind.data])
  const cursor = new RecordCursor(sent[0]?.records[0])
  cursor.next()
  t.match(cursor, { connection: 2, output: 20, hash: 2 })
  t.end()
})

void t.test('a link that comes back goes on where the backup stands', t => {
  const { writer, sent } = writerOf({ epochBytes: 32 })
  writer.begin(history)
  writer.data(1, new Uint8Array(40))
  writer.data(1, new Uint8Array(40))
  writer.unlink()
  writer.data(1, new Uint8Array(40))
  t.equal(sent.length, 2)
  t.equal(writer.resume(lsn(1)), true)
  t.same(sent.slice(2).map(({ firstLsn }) => firstLsn), [2, 3], 'what the backup lacks')
  t.equal(writer.committed, 1)
  t.end()
})

void t.test('a backup that stands elsewhere cannot be gone on with', t => {
  const { writer } = writerOf()
  writer.begin(history)
  writer.data(1, bytes('a'))
  writer.data(1, bytes('b'))
  writer.flush()
  writer.unlink()
  t.equal(writer.resume(lsn(1)), false, 'in the middle of an epoch')
  t.equal(writer.resume(lsn(7)), false, 'ahead of the log')
  t.end()
})

void t.test('an acknowledgement of what was never logged stops the process', t => {
  const { writer } = writerOf()
  writer.begin(history)
  writer.data(1, bytes('a'))
  writer.flush()
  t.throws(() => writer.acknowledge(lsn(2)), { name: 'InvariantError' })
  t.end()
})

void t.test('without a history everything counts as committed and nothing is kept', t => {
  const { writer, sent } = writerOf()
  writer.data(1, new Uint8Array(2 << 10))
  writer.append({ kind: RecordKind.end, connection: connectionId(1) })
  writer.flush()
  t.match(writer, { committed: 2, unacknowledgedBytes: 0, running: false })
  t.equal(sent.length, 0)
  t.end()
})

void t.test('a log at its limit is congested until enough is acknowledged', t => {
  const { writer } = writerOf({ inFlightBytes: 100 })
  writer.begin(history)
  writer.data(1, new Uint8Array(120))
  t.equal(writer.congested, true)
  writer.flush()
  writer.acknowledge(writer.lastLsn)
  t.equal(writer.congested, false)
  t.end()
})
