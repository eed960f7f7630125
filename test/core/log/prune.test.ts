import { deepStrictEqual } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import {
  checkpointId, connectionId, generation, historyId, inputOffset, lsn, outputHash, outputOffset
} from '../../../src/core/ids.ts'
import { TailLog } from '../../../src/core/log/tail-log.ts'
import { RecordKind, type LogRecord } from '../../../src/core/record.ts'
import { RecordCursor, encodeRecord } from '../../../src/core/record-codec.ts'

/** A record with its lsn; 0 in a base. */
interface Numbered {
  readonly lsn: number
  readonly record: LogRecord
}

/** What a random history does next: the numbers are taken modulo what is possible. */
interface Move {
  readonly what: number
  readonly who: number
  readonly size: number
}

const moves = fc.array(fc.record({
  what: fc.integer({ min: 0, max: 99 }), who: fc.nat(7), size: fc.nat(40)
}), { minLength: 1, maxLength: 120, size: 'max' })

/** The state that the generator of histories keeps, in the plainest way. */
interface Peer {
  id: number
  bytes: number
  ended: boolean
  floor: number
  output: number
  taken: boolean
  closed: boolean
  guestClosed: boolean
  guestReset: boolean
}

const newPeer = (id: number, input: number, output: number, taken: boolean): Peer => ({
  id, bytes: input, ended: false, floor: input, output, taken, closed: false, guestClosed: false,
  guestReset: false
})

/** Turns moves into a history that a gateway could write, some connections adopted at its beginning. */
function historyOf(list: readonly Move[], adopted: number): LogRecord[] {
  const records: LogRecord[] = []
  const peers: Peer[] = []
  let checkpoint = 0
  for (let n = 0; n < adopted; n++) {
    const peer = newPeer(n + 1, n * 10, n, n % 2 === 0)
    peers.push(peer)
    records.push({
      kind: RecordKind.adopt, connection: connectionId(peer.id), service: n, connected: n % 2 === 0,
      input: inputOffset(peer.bytes), output: outputOffset(n), hash: outputHash(n), client: `a:${n}`,
      path: new Uint8Array(n)
    })
  }
  for (const { what, who, size } of list) {
    const peer = peers[who % Math.max(1, peers.length)]
    if (what >= 92) records.push({ kind: RecordKind.mark, checkpoint: checkpointId(++checkpoint) })
    else if (what >= 80 || !peer) {
      const id = peers.length + 1
      peers.push(newPeer(id, 0, 0, false))
      records.push({ kind: RecordKind.open, connection: connectionId(id), service: size, client: `c:${id}` })
    } else records.push(...move(peer, what, size))
  }
  return records
}

/** One record about a connection, if it is possible now. */
function move(peer: Peer, what: number, size: number): LogRecord[] {
  const connection = connectionId(peer.id)
  const inputEnd = peer.bytes + (peer.ended ? 1 : 0)
  if (!peer.taken && !peer.closed && what < 30) {
    peer.taken = true
    return [{ kind: RecordKind.connected, connection, path: new Uint8Array(size) }]
  }
  if (what < 35 && !peer.ended && !peer.closed) {
    const bytes = Uint8Array.from({ length: size }, (_, n) => (peer.bytes + n) * 7 + peer.id & 0xff)
    peer.bytes += size
    return [{ kind: RecordKind.data, connection, bytes }]
  }
  if (what < 48) {
    peer.output += peer.guestClosed ? 0 : size
    return [{
      kind: RecordKind.read, connection, output: outputOffset(peer.output), hash: outputHash(peer.output * 3)
    }]
  }
  if (what < 62) {
    peer.floor = Math.min(inputEnd, peer.floor + size * 2)
    return [{ kind: RecordKind.floor, connection, input: inputOffset(peer.floor) }]
  }
  if (what < 67 && !peer.ended && !peer.closed) {
    peer.ended = true
    return [{ kind: RecordKind.end, connection }]
  }
  if (what < 71 && !peer.closed) {
    peer.closed = true
    return [{ kind: RecordKind.reset, connection }]
  }
  if (what < 76 && !peer.guestClosed) {
    peer.guestClosed = true
    return [{ kind: RecordKind.guestEnd, connection, output: outputOffset(peer.output) }]
  }
  if (what < 80 && !peer.guestReset) {
    peer.guestReset = true
    peer.guestClosed = true
    peer.closed = true
    return [{ kind: RecordKind.guestReset, connection, output: outputOffset(peer.output) }]
  }
  return []
}

/**
 * What must survive a prune, computed from the whole history and nothing else: for each connection look at
 * all its records before the mark, once per question. Slow and plain on purpose.
 */
function survivorsOf(
  whole: readonly LogRecord[], markLsn: number
): { adopts: LogRecord[], rest: LogRecord[] } {
  const before = whole.slice(0, markLsn - 1)
  const adopts: LogRecord[] = []
  const from = new Map<number, number>()
  const floors = new Map<number, number>()
  for (const first of before) {
    if (first.kind !== RecordKind.open && first.kind !== RecordKind.adopt) continue
    const own = before.filter(one => one.kind !== RecordKind.mark && one.connection === first.connection)
    const has = (kind: number): boolean => own.some(one => one.kind === kind)
    const start = first.kind === RecordKind.adopt ? first.input : 0
    const bytes = own.reduce((sum, one) => sum + (one.kind === RecordKind.data ? one.bytes.length : 0), 0)
    const logged = start + bytes + (has(RecordKind.end) ? 1 : 0)
    const floor = own.reduce((last: number, one) => one.kind === RecordKind.floor ? one.input : last, start)
    const bothEnded = has(RecordKind.end) && has(RecordKind.guestEnd)
    const connected = has(RecordKind.connected) || (first.kind === RecordKind.adopt && first.connected)
    const neverTaken = has(RecordKind.reset) && !connected
    if (has(RecordKind.guestReset) || (neverTaken || bothEnded) && floor >= logged) continue
    const read = own.findLast(one => one.kind === RecordKind.read || one.kind === RecordKind.adopt)
    const named = own.findLast(one => one.kind === RecordKind.connected || one.kind === RecordKind.adopt)
    const input = Math.min(floor, start + bytes)
    from.set(first.connection, input)
    floors.set(first.connection, floor)
    const known = read?.kind === RecordKind.read || read?.kind === RecordKind.adopt ? read : undefined
    adopts.push({
      kind: RecordKind.adopt, connection: first.connection, service: first.service, client: first.client,
      connected,
      input: inputOffset(input), output: known?.output ?? outputOffset(0), hash: known?.hash ?? outputHash(0),
      path: named?.kind === RecordKind.connected || named?.kind === RecordKind.adopt
        ? named.path : new Uint8Array(0)
    })
  }
  return { adopts, rest: needed(before, from, floors) }
}

function needed(
  before: readonly LogRecord[], from: ReadonlyMap<number, number>, floors: ReadonlyMap<number, number>
): LogRecord[] {
  const rest: LogRecord[] = []
  const places = new Map<number, number>()
  for (const record of before) {
    if (record.kind === RecordKind.mark) continue
    const low = from.get(record.connection)
    if (low === undefined) continue
    const place = places.get(record.connection) ?? 0
    if (record.kind === RecordKind.adopt) places.set(record.connection, record.input)
    if (record.kind === RecordKind.data) {
      places.set(record.connection, place + record.bytes.length)
      const bytes = record.bytes.filter((_, n) => place + n >= low)
      if (bytes.length > 0) rest.push({ ...record, bytes })
    }
    if (record.kind === RecordKind.end) {
      rest.push(record)
      const floor = floors.get(record.connection) ?? 0
      const acknowledged = floor >= place + 1
      if (acknowledged) {
        rest.push({ kind: RecordKind.floor, connection: record.connection, input: inputOffset(floor) })
      }
    }
    if (record.kind === RecordKind.reset || record.kind === RecordKind.guestEnd) rest.push(record)
  }
  return rest
}

function records(piece: { firstLsn: number, records: Uint8Array }): Numbered[] {
  const cursor = new RecordCursor(piece.records)
  const found: Numbered[] = []
  for (let at = piece.firstLsn; cursor.next(); at += piece.firstLsn > 0 ? 1 : 0) {
    found.push({ lsn: at, record: cursor.record() })
  }
  return found
}

const tail = (log: TailLog, bytesMax: number): Numbered[] => [...log.tail(bytesMax)].flatMap(records)

function logOf(segmentBytes: number): TailLog {
  const log = new TailLog({ segmentBytes, logBytes: 1 << 24 })
  log.begin(historyId('00000000000000aa'), generation(1), lsn(1))
  return log
}

void t.test('a prune keeps just what the whole history says a replay needs', t => {
  let pruned = 0
  let withInput = 0
  fc.assert(fc.property(moves, fc.nat(3), fc.array(fc.nat(3)), fc.integer({ min: 16, max: 400 }), fc.nat(30),
    (list, adopted, choices, segmentBytes, slice) => {
      const whole = historyOf(list, adopted)
      const marks = whole.flatMap((record, n) => record.kind === RecordKind.mark
        ? [{ checkpoint: record.checkpoint, lsn: lsn(n + 1) }] : [])
      const log = logOf(segmentBytes)
      let fed = 0
      const feed = (to: number): void => {
        for (; fed < to; fed++) {
          const record = whole[fed]
          if (record) log.append(lsn(fed + 1), lsn(fed + 1), [encodeRecord(record)])
        }
      }
      for (const [n, mark] of marks.entries()) {
        // Some checkpoints never count, and some count when much more has been logged.
        const choice = choices[n % Math.max(1, choices.length)] ?? 0
        if (choice === 0) continue
        feed(Math.min(whole.length, mark.lsn + choice * 5))
        // A mark with many newer ones is forgotten: its checkpoint came too late.
        if (log.markOf(mark.checkpoint) === undefined) continue
        const job = log.prune(mark)
        while (job.step(slice + 1) !== 'done') feed(Math.min(whole.length, fed + 1))
        const told = tail(log, 64)
        const { adopts, rest } = survivorsOf(whole, mark.lsn)
        const after = whole.slice(mark.lsn, fed)
          .map((record, place) => ({ lsn: mark.lsn + 1 + place, record }))
        deepStrictEqual(told, [...[...adopts, ...rest].map(record => ({ lsn: 0, record })), ...after])
        const payload = told.reduce((sum, { record }) =>
          sum + (record.kind === RecordKind.data ? record.bytes.length : 0), 0)
        deepStrictEqual([log.books.tailBytes, log.books.tailRecords, log.books.connections],
          [payload, told.length - adopts.length, adopts.length])
        pruned++
        if (rest.some(record => record.kind === RecordKind.data)) withInput++
      }
    }), { numRuns: 300 })
  t.ok(pruned > 300 && withInput > 100, 'the histories are worth the name', { pruned, withInput })
  t.end()
})

void t.test('what a prune leaves tells an index what it knew at the mark', t => {
  let runs = 0
  const last: LogRecord = { kind: RecordKind.mark, checkpoint: checkpointId(999) }
  fc.assert(fc.property(moves, fc.nat(3), (list, adopted) => {
    const whole = [...historyOf(list, adopted), last]
    const log = logOf(4096)
    for (const [n, record] of whole.entries()) log.append(lsn(n + 1), lsn(n + 1), [encodeRecord(record)])
    const job = log.prune({ checkpoint: checkpointId(999), lsn: lsn(whole.length) })
    while (job.step(1000) !== 'done');
    const known = [...log.books.index.connections()].map(bare)
    const again = logOf(4096)
    again.books.beginAt(historyId('00000000000000aa'), generation(1),
      { checkpoint: checkpointId(999), lsn: lsn(whole.length) })
    for (const piece of log.tail(1 << 20)) again.books.followBase(piece.records)
    deepStrictEqual([...again.books.index.connections()].map(bare), known)
    deepStrictEqual(figures(again), figures(log))
    runs++
  }), { numRuns: 150 })
  t.equal(runs, 150)
  t.end()
})

function figures({ books }: TailLog): number[] {
  return [books.tailBytes, books.tailRecords, books.connections]
}

/** The part of a connection's state that the log says, without how the index keeps it. */
function bare(state: object): object {
  const kept = Object.entries(state).filter(([name]) => !['born', 'age', 'outputEnd'].includes(name))
  return Object.fromEntries(kept)
}
