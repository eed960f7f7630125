import type { Test } from 'tap'
import { TailgateError, type ErrorCode } from '../../src/base/errors.ts'
import {
  checkpointId, connectionId, generation, historyId, inputOffset, lsn, noHistory, outputHash, outputOffset,
  type Lsn
} from '../../src/core/ids.ts'
import { RecordKind, type LogRecord } from '../../src/core/record.ts'
import { RecordCursor, encodeRecord } from '../../src/core/record-codec.ts'
import type { Piece } from '../../src/core/log/pieces.ts'
import type { LogStore } from '../../src/log/log-store.ts'

/** What the suite needs of an implementation. */
export interface StoreUnderTest {
  readonly name: string
  /** An empty log that holds at most `logBytes`, at least 256 KiB. */
  open(t: Test, logBytes: number): Promise<LogStore>
}

export const history = historyId('00112233445566ff')

export const open = (connection: number, client = '10.0.0.1:4000'): LogRecord =>
  ({ kind: RecordKind.open, connection: connectionId(connection), service: 0, client })
export const connected = (connection: number, path = Uint8Array.of(7, 8)): LogRecord =>
  ({ kind: RecordKind.connected, connection: connectionId(connection), path })
export const data = (connection: number, text: string | Uint8Array): LogRecord => ({
  kind: RecordKind.data, connection: connectionId(connection),
  bytes: typeof text === 'string' ? new TextEncoder().encode(text) : text
})
export const end = (connection: number): LogRecord =>
  ({ kind: RecordKind.end, connection: connectionId(connection) })
export const reset = (connection: number): LogRecord =>
  ({ kind: RecordKind.reset, connection: connectionId(connection) })
export const read = (connection: number, output: number, hash = 1): LogRecord => ({
  kind: RecordKind.read, connection: connectionId(connection),
  output: outputOffset(output), hash: outputHash(hash)
})
export const guestEnd = (connection: number, output: number): LogRecord =>
  ({ kind: RecordKind.guestEnd, connection: connectionId(connection), output: outputOffset(output) })
export const guestReset = (connection: number, output: number): LogRecord =>
  ({ kind: RecordKind.guestReset, connection: connectionId(connection), output: outputOffset(output) })
export const floor = (connection: number, input: number): LogRecord =>
  ({ kind: RecordKind.floor, connection: connectionId(connection), input: inputOffset(input) })
export const mark = (checkpoint: number): LogRecord =>
  ({ kind: RecordKind.mark, checkpoint: checkpointId(checkpoint) })

/** Appends `records` after what the log holds; an empty log's first lsn is 1 unless told. */
export function put(store: LogStore, records: readonly LogRecord[], first = store.lastLsn + 1): Promise<Lsn> {
  return store.append(lsn(first), lsn(first + records.length - 1), records.map(encodeRecord))
}

/** Records as the tests compare them: with their lsn, 0 for the base. */
export interface Told {
  readonly lsn: number
  readonly record: LogRecord
}

/** The records of one piece. */
export function recordsOf(piece: Piece): Told[] {
  const cursor = new RecordCursor(piece.records)
  const told: Told[] = []
  for (let at: number = piece.firstLsn; cursor.next(); at += piece.firstLsn > 0 ? 1 : 0) {
    told.push({ lsn: at, record: cursor.record() })
  }
  return told
}

/** The whole tail. Checks that pieces keep their length and go on where the one before ended. */
export async function tailOf(t: Test, store: LogStore, bytesMax = 64): Promise<Told[]> {
  const reader = store.tail()
  const told: Told[] = []
  let inBase = true
  let next: number | undefined
  for (let piece = await reader.next(bytesMax); piece; piece = await reader.next(bytesMax)) {
    if (piece.firstLsn !== 0) inBase = false
    if (next !== undefined && piece.firstLsn !== next) t.fail('a piece goes on where the one before ended')
    const records = recordsOf(piece)
    told.push(...records)
    const isCut = piece.records.length <= bytesMax || records.length === 1
    if (!isCut) t.fail('a piece is no longer than asked, or one record')
    next = inBase ? undefined : piece.firstLsn + records.length
  }
  await reader.close()
  return told
}

/** Asserts that `promise` rejects with one of our errors. */
export async function rejectsWith(t: Test, promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  const error: unknown = await promise.then(() => undefined, (reason: unknown) => reason)
  if (error instanceof TailgateError) t.equal(error.code, code, error.message)
  else t.fail(`should have rejected with ${code}`, { error })
}

const at = (first: number, records: readonly LogRecord[]): Told[] =>
  records.map((record, place) => ({ lsn: first === 0 ? 0 : first + place, record }))

/** The suite that every log store passes. */
export function complies(t: Test, under: StoreUnderTest): void {
  const begun = async (t: Test, logBytes = 8 << 20): Promise<LogStore> => {
    const store = await under.open(t, logBytes)
    await store.begin(history, generation(3), lsn(1))
    return store
  }

  void t.test('a new log is empty and takes nothing before a history begins', async t => {
    const store = await under.open(t, 1 << 20)
    t.equal(store.history, noHistory)
    t.equal(store.lastLsn, 0)
    t.same(await tailOf(t, store), [])
    await rejectsWith(t, put(store, [open(1)]), 'E_STALE')
  })

  void t.test('what is appended comes back in order', async t => {
    const store = await begun(t)
    t.equal(await put(store, [open(1), connected(1), data(1, 'hello')]), 3)
    t.equal(await put(store, [read(1, 10), data(1, 'world')]), 5)
    t.same([store.history, store.generation, store.lastLsn], [history, 3, 5])
    t.same([store.tailBytes, store.tailRecords, store.connections], [10, 5, 0])
    t.same(await tailOf(t, store),
      at(1, [open(1), connected(1), data(1, 'hello'), read(1, 10), data(1, 'world')]))
  })

  void t.test('records may come in pieces that cut them anywhere', async t => {
    const store = await begun(t)
    const bytes = Buffer.concat([open(1), data(1, 'abc')].map(encodeRecord))
    await store.append(lsn(1), lsn(2), [...bytes].map(byte => Uint8Array.of(byte)))
    t.same(await tailOf(t, store), at(1, [open(1), data(1, 'abc')]))
  })

  void t.test('a history may begin at any lsn, with connections adopted', async t => {
    const store = await under.open(t, 1 << 20)
    await store.begin(history, generation(1), lsn(500))
    t.equal(store.lastLsn, 0, 'an empty log')
    const adopt: LogRecord = {
      kind: RecordKind.adopt, connection: connectionId(9), service: 2, connected: true, client: 'c:1',
      input: inputOffset(77), output: outputOffset(5), hash: outputHash(6), path: Uint8Array.of(1)
    }
    await rejectsWith(t, put(store, [open(1)], 1), 'E_LOG_CORRUPT')
    await put(store, [adopt, data(9, 'x')], 500)
    t.equal(store.lastLsn, 501)
    t.same(await tailOf(t, store), at(500, [adopt, data(9, 'x')]))
  })

  void t.test('appends under way together all resolve, and cover each other in order', async t => {
    const store = await begun(t)
    const acked = await Promise.all(Array.from({ length: 50 }, (_, n) =>
      put(store, n === 0 ? [open(1)] : [data(1, `${n}`)], n + 1)))
    acked.forEach((reached, n) => t.ok(reached >= n + 1 && reached <= 50))
    t.equal((await tailOf(t, store)).length, 50)
  })

  void t.test('a hole or an overlap is refused and changes nothing', async t => {
    const store = await begun(t)
    await put(store, [open(1), data(1, 'a')])
    await rejectsWith(t, put(store, [data(1, 'b')], 4), 'E_LOG_CORRUPT')
    await rejectsWith(t, put(store, [data(1, 'b')], 2), 'E_LOG_CORRUPT')
    await rejectsWith(t, store.append(lsn(3), lsn(2), []), 'E_LOG_CORRUPT')
    await put(store, [data(1, 'b')])
    t.same(await tailOf(t, store), at(1, [open(1), data(1, 'a'), data(1, 'b')]))
  })

  void t.test('records that cannot be read or be true are refused whole; what was held stays', async t => {
    for (const bad of [
      [Uint8Array.of(99, 1)], [encodeRecord(data(2, 'unknown'))], [encodeRecord(open(1))],
      [encodeRecord(read(1, 1))], [encodeRecord(floor(1, 1))], [encodeRecord(data(1, 'cut')).subarray(0, 3)],
      [encodeRecord(data(1, 'x')), encodeRecord(data(1, 'one record too many'))]
    ]) {
      const store = await begun(t)
      await put(store, [open(1), data(1, 'abc'), floor(1, 3), read(1, 4)])
      await rejectsWith(t, store.append(lsn(5), lsn(5), bad), 'E_LOG_CORRUPT')
      t.equal(store.lastLsn, 4)
      t.equal((await tailOf(t, store)).length, 4)
      await rejectsWith(t, put(store, [data(1, 'good')]), 'E_LOG_CORRUPT')
      await store.begin(history, generation(4), lsn(1))
      t.equal(await put(store, [open(1)]), 1, 'a new history is taken')
    }
  })

  void t.test('at its limit the log refuses, keeps what it had, and takes more after a prune', async t => {
    const store = await begun(t, 256 * 1024)
    await put(store, [open(1)])
    let position = 0
    const chunk = new Uint8Array(10_000)
    for (;;) {
      const refused: unknown = await put(store, [data(1, chunk)])
        .then(() => undefined, (error: unknown) => error)
      if (refused) {
        t.match(refused, { code: 'E_LOG_FULL' })
        break
      }
      position += chunk.length
    }
    t.ok(position > 100_000 && position <= 256 * 1024)
    const held = store.lastLsn
    t.equal((await tailOf(t, store, 4096)).length, held)
    await put(store, [floor(1, position), mark(1)])
    await store.prune({ checkpoint: checkpointId(1), lsn: lsn(held + 2) })
    await put(store, [data(1, chunk)])
    t.same([store.tailBytes, store.tailRecords, store.connections], [chunk.length, 1, 1])
  })

  void t.test('a prune keeps what a replay from the mark needs, and the records after it', async t => {
    const store = await begun(t)
    await put(store, [
      open(1), connected(1, Uint8Array.of(1, 2, 3)), data(1, 'abcdef'), read(1, 5, 55), floor(1, 4),
      open(2), data(2, 'gone'), guestReset(2, 0), open(3), data(3, 'keep'), end(3), mark(7)
    ])
    t.equal(store.markOf(checkpointId(7)), 12)
    t.equal(store.markOf(checkpointId(8)), undefined)
    await put(store, [data(1, 'gh'), read(2, 1)])
    await store.prune({ checkpoint: checkpointId(7), lsn: lsn(12) })
    t.same(store.base, { checkpoint: 7, lsn: 12 })
    t.equal(store.markOf(checkpointId(7)), 12)
    const adopt = (connection: number, input: number, isConnected: boolean, path: Uint8Array): LogRecord => ({
      kind: RecordKind.adopt, connection: connectionId(connection), service: 0, connected: isConnected,
      client: '10.0.0.1:4000', path, input: inputOffset(input),
      output: outputOffset(isConnected ? 5 : 0), hash: outputHash(isConnected ? 55 : 0)
    })
    t.same(await tailOf(t, store), [
      ...at(0, [adopt(1, 4, true, Uint8Array.of(1, 2, 3)), adopt(3, 0, false, new Uint8Array(0)),
        data(1, 'ef'), data(3, 'keep'), end(3)]),
      ...at(13, [data(1, 'gh'), read(2, 1)])
    ])
    t.same([store.tailBytes, store.tailRecords, store.connections], [8, 5, 2])
  })

  void t.test('a second prune treats the base as it treats the rest', async t => {
    const store = await begun(t)
    await put(store, [open(1), data(1, 'abcdef'), floor(1, 2), mark(1)])
    await store.prune({ checkpoint: checkpointId(1), lsn: lsn(4) })
    await put(store, [data(1, 'gh'), floor(1, 5), mark(2), data(1, 'ij')])
    await store.prune({ checkpoint: checkpointId(2), lsn: lsn(7) })
    const told = (await tailOf(t, store)).slice(1)
    t.same(told, [...at(0, [data(1, 'f'), data(1, 'gh')]), ...at(8, [data(1, 'ij')])])
    await store.prune({ checkpoint: checkpointId(2), lsn: lsn(7) })
    t.same((await tailOf(t, store)).slice(1), told, 'the same prune again does nothing')
    await rejectsWith(t, store.prune({ checkpoint: checkpointId(1), lsn: lsn(4) }), 'E_STALE')
    await rejectsWith(t, store.prune({ checkpoint: checkpointId(9), lsn: lsn(8) }), 'E_STALE')
  })

  void t.test('appends go on while a prune is under way', async t => {
    const store = await begun(t)
    const records = Array.from({ length: 20_000 }, (_, n) => n % 2 ? data(1, 'x') : read(1, n))
    await put(store, [open(1), ...records, mark(1)])
    const pruned = store.prune({ checkpoint: checkpointId(1), lsn: lsn(20_002) })
    let after = 0
    let isDone = false
    const done = pruned.then(() => { isDone = true })
    while (!isDone) {
      await put(store, [data(1, 'y')])
      after++
      await new Promise(resolve => { setImmediate(resolve) })
    }
    await done
    const told = await tailOf(t, store)
    t.equal(told.filter(one => one.lsn === 0).length, 10_001, 'ADOPT, and input no floor covers')
    t.same(told.filter(one => one.lsn > 0), at(20_003, Array.from({ length: after }, () => data(1, 'y'))))
    t.ok(after > 1, 'the prune let appends through')
  })

  void t.test('a new history forgets the old one, and ends its prune and its readers', async t => {
    const store = await begun(t)
    await put(store, [open(1), data(1, 'abc'), mark(1)])
    const reader = store.tail()
    const pruned = store.prune({ checkpoint: checkpointId(1), lsn: lsn(3) })
    const outcome = pruned.then(() => 'done', (error: unknown) => error)
    await store.begin(historyId('ffffffffffffffff'), generation(4), lsn(10))
    const how = await outcome
    if (how !== 'done') t.match(how, { code: 'E_STALE' })
    await rejectsWith(t, reader.next(100), 'E_STALE')
    await reader.close()
    t.same([store.history, store.generation, store.lastLsn], ['ffffffffffffffff', 4, 0])
    t.equal(store.base, undefined)
    t.equal(store.markOf(checkpointId(1)), undefined)
    await put(store, [open(1)], 10)
    t.same(await tailOf(t, store), at(10, [open(1)]))
  })

  void t.test('a reader sees the tail as it was when it began', async t => {
    const store = await begun(t)
    const chunk = new Uint8Array(3000)
    await put(store, [open(1)])
    for (let n = 0; n < 60; n++) await put(store, [data(1, chunk.fill(n).slice())])
    await put(store, [floor(1, 60 * 3000), mark(1)])
    const reader = store.tail()
    const first = await reader.next(5000)
    t.equal(first?.firstLsn, 1)
    await store.prune({ checkpoint: checkpointId(1), lsn: lsn(63) })
    let payload = 0
    const cursor = new RecordCursor()
    for (let piece = first; piece; piece = await reader.next(5000)) {
      cursor.reset(piece.records)
      while (cursor.next()) {
        if (cursor.kind === RecordKind.data) payload += cursor.payload().length
      }
    }
    t.equal(payload, 60 * 3000)
    await reader.close()
    t.equal((await tailOf(t, store)).length, 1, 'what the prune left is one ADOPT')
  })
}
