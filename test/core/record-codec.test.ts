import { deepStrictEqual, ok } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { TailgateError } from '../../src/base/errors.ts'
import {
  checkpointId, connectionId, inputOffset, outputHash, outputOffset
} from '../../src/core/ids.ts'
import { RecordKind, type LogRecord } from '../../src/core/record.ts'
import {
  RecordCursor, encodeRecord, recordBytesMax, recordDataBytesMax, recordHeaderBytesMax, writeDataHead,
  writeRead, writeRecord, writeVarint
} from '../../src/core/record-codec.ts'
import { vectorsOf } from './vectors.ts'

const number = fc.oneof(fc.maxSafeNat(), fc.nat(300))
const hash = fc.integer({ min: 0, max: 0xffffffff }).map(outputHash)
const connection = number.map(connectionId)
const path = fc.uint8Array({ maxLength: 512 })
const client = fc.string({ unit: 'grapheme', maxLength: 40 })
  .filter(text => new TextEncoder().encode(text).length <= 512)
const bytes = fc.uint8Array({ maxLength: 2000 })
const output = number.map(outputOffset)
const input = number.map(inputOffset)

const plain = { noNullPrototype: true }

const anyRecord: fc.Arbitrary<LogRecord> = fc.oneof(
  fc.record({
    kind: fc.constant(RecordKind.adopt), connection, service: number, connected: fc.boolean(),
    input, output, hash, client, path
  }, plain),
  fc.record({ kind: fc.constant(RecordKind.open), connection, service: number, client }, plain),
  fc.record({ kind: fc.constant(RecordKind.connected), connection, path }, plain),
  fc.record({ kind: fc.constant(RecordKind.data), connection, bytes }, plain),
  fc.record({ kind: fc.constantFrom(RecordKind.end, RecordKind.reset), connection }, plain),
  fc.record({ kind: fc.constant(RecordKind.read), connection, output, hash }, plain),
  fc.record({ kind: fc.constantFrom(RecordKind.guestEnd, RecordKind.guestReset), connection, output }, plain),
  fc.record({ kind: fc.constant(RecordKind.floor), connection, input }, plain),
  fc.record({ kind: fc.constant(RecordKind.mark), checkpoint: number.map(checkpointId) }, plain)
)

function recordsIn(bytes: Uint8Array): LogRecord[] {
  const cursor = new RecordCursor(bytes)
  const records: LogRecord[] = []
  while (cursor.next()) records.push(cursor.record())
  return records
}

/**
 * The code of the error that reading `bytes` ends with, or what was read. Anything but our errors passes
 * through.
 */
function reading(bytes: Uint8Array): LogRecord[] | string {
  try {
    return recordsIn(bytes)
  } catch (error) {
    if (error instanceof TailgateError) return error.code
    throw error
  }
}

/** A record out of the document: its byte fields are hexadecimal there. */
function fromVector(json: string): unknown {
  return JSON.parse(json, (name, value: unknown) =>
    (name === 'path' || name === 'bytes') && typeof value === 'string'
      ? Uint8Array.from(Buffer.from(value, 'hex')) : value)
}

void t.test('the vectors of the document', t => {
  const kinds = new Set<number>()
  for (const line of vectorsOf('LOG_FORMAT.md', 'records').flat()) {
    const [hex = '', json = ''] = line.split(/ (.*)/)
    const bytes = Uint8Array.from(Buffer.from(hex, 'hex'))
    const [record, ...more] = recordsIn(bytes)
    t.strictSame(record, fromVector(json), line)
    t.equal(more.length, 0)
    if (!record) continue
    t.equal(Buffer.from(encodeRecord(record)).toString('hex'), hex)
    kinds.add(record.kind)
  }
  t.strictSame([...kinds].sort((a, b) => a - b), Object.values(RecordKind), 'every kind has one')
  for (const line of vectorsOf('LOG_FORMAT.md', 'damage').flat()) {
    const [hex = '', reason = ''] = line.split(/ (.*)/)
    t.equal(reading(Buffer.from(hex, 'hex')), 'E_LOG_CORRUPT', reason)
  }
  t.end()
})

void t.test('what is written is read, record after record, with the cursor at their bounds', t => {
  fc.assert(fc.property(fc.array(anyRecord, { maxLength: 20 }), records => {
    const parts = records.map(encodeRecord)
    const bytes = Uint8Array.from(Buffer.concat(parts))
    deepStrictEqual(recordsIn(bytes), records)
    const cursor = new RecordCursor()
    cursor.reset(bytes)
    let place = 0
    for (const part of parts) {
      ok(cursor.next())
      deepStrictEqual([cursor.start, cursor.end], [place, place + part.length])
      place = cursor.end
    }
    ok(!cursor.next())
  }))
  t.pass()
  t.end()
})

void t.test('a record takes no more than it is said to take, and can be written at any place', t => {
  fc.assert(fc.property(anyRecord, fc.nat(50), (record, at) => {
    const target = new Uint8Array(at + recordBytesMax(record))
    const end = writeRecord(target, at, record)
    ok(end <= target.length)
    deepStrictEqual(target.slice(at, end), encodeRecord(record).slice())
    deepStrictEqual(target.subarray(0, at), new Uint8Array(at))
  }))
  t.pass()
  t.end()
})

void t.test('the writers of the hot path write what writeRecord writes', t => {
  fc.assert(fc.property(connection, output, hash, bytes, (connection, output, hash, bytes) => {
    const target = new Uint8Array(recordHeaderBytesMax + bytes.length)
    const read = writeRead(target, 0, connection, output, hash)
    const record: LogRecord = { kind: RecordKind.read, connection, output, hash }
    deepStrictEqual(target.slice(0, read), encodeRecord(record).slice())
    const head = writeDataHead(target, 0, connection, bytes.length)
    target.set(bytes, head)
    const data = encodeRecord({ kind: RecordKind.data, connection, bytes })
    deepStrictEqual(target.slice(0, head + bytes.length), data.slice())
  }))
  t.pass()
  t.end()
})

void t.test('the longest DATA is read, and one byte more is not', t => {
  const bytes = new Uint8Array(recordDataBytesMax)
  const longest = encodeRecord({ kind: RecordKind.data, connection: connectionId(1), bytes })
  t.equal(recordsIn(longest).length, 1)
  const longer = new Uint8Array(recordDataBytesMax + recordHeaderBytesMax)
  writeDataHead(longer, 0, 1, recordDataBytesMax + 1)
  t.equal(reading(longer), 'E_LOG_CORRUPT')
  t.end()
})

void t.test('records cut anywhere: whole ones, or E_LOG_CORRUPT', t => {
  fc.assert(fc.property(fc.array(anyRecord, { minLength: 1, maxLength: 5 }), fc.nat(), (records, cut) => {
    const parts = records.map(encodeRecord)
    const bytes = Buffer.concat(parts)
    const length = cut % bytes.length
    const ends = parts.map((_, n) => parts.slice(0, n + 1).reduce((sum, part) => sum + part.length, 0))
    const result = reading(Uint8Array.from(bytes.subarray(0, length)))
    const isWhole = length === 0 || ends.includes(length)
    deepStrictEqual(result, isWhole ? records.slice(0, ends.indexOf(length) + 1) : 'E_LOG_CORRUPT')
  }))
  t.pass()
  t.end()
})

void t.test('random and mutated bytes: records or E_LOG_CORRUPT, never beyond the bytes', t => {
  const mutated = fc.tuple(
    fc.array(anyRecord, { minLength: 1, maxLength: 4 }),
    fc.array(fc.record({ at: fc.nat(), to: fc.nat(255) }), { minLength: 1, maxLength: 6 })
  ).map(([records, changes]) => {
    const bytes = Uint8Array.from(Buffer.concat(records.map(encodeRecord)))
    for (const { at, to } of changes) bytes[at % bytes.length] = to
    return bytes
  })
  let read = 0
  let refused = 0
  fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), mutated), bytes => {
    // What lies behind the bytes must not be seen: a view in the midst of larger memory.
    const around = new Uint8Array(bytes.length + 200).fill(0x04)
    around.set(bytes, 100)
    const view = around.subarray(100, 100 + bytes.length)
    const result = reading(view)
    deepStrictEqual(result, reading(bytes.slice()))
    if (typeof result === 'string') {
      deepStrictEqual(result, 'E_LOG_CORRUPT')
      refused++
      return
    }
    read++
    // Varints may be written longer than they need be, so what is read may be shorter when written again.
    deepStrictEqual(recordsIn(Buffer.concat(result.map(encodeRecord))).length, result.length)
  }), { numRuns: 2000 })
  t.ok(read > 50 && refused > 500, 'both happen', { read, refused })
  t.end()
})

void t.test('varints keep every safe integer', t => {
  const target = new Uint8Array(16)
  const values = [
    0, 1, 127, 128, 16383, 16384, 2 ** 31, 2 ** 32, 2 ** 49 - 1, 2 ** 49, Number.MAX_SAFE_INTEGER
  ]
  for (const value of values) {
    target[0] = RecordKind.end
    const end = writeVarint(target, 1, value)
    const cursor = new RecordCursor(target.subarray(0, end))
    t.ok(cursor.next())
    t.equal(cursor.connection, value)
  }
  t.end()
})
