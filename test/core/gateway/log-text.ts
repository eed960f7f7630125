import { crc32 } from 'node:zlib'
import { connectionId, inputOffset, outputHash, outputOffset } from '../../../src/core/ids.ts'
import { encodeRecord, RecordCursor } from '../../../src/core/record-codec.ts'
import { RecordKind, type LogRecord } from '../../../src/core/record.ts'
import { bytesOf, textOf } from './sides.ts'

/** The records that lie one after another in `bytes`. */
export function decodeRecords(bytes: Uint8Array): LogRecord[] {
  const records: LogRecord[] = []
  const cursor = new RecordCursor(bytes)
  while (cursor.next()) records.push(cursor.record())
  return records
}

export function encodeRecords(records: readonly LogRecord[]): Uint8Array {
  return new Uint8Array(Buffer.concat(records.map(encodeRecord)))
}

/** A record in one line: its kind, its connection, and what else there is to know of it. */
export function recordText(record: LogRecord): string {
  switch (record.kind) {
    case RecordKind.adopt:
      return `adopt ${record.connection} in ${record.input} out ${record.output}`
        + (record.connected ? '' : ' not connected')
    case RecordKind.open: return `open ${record.connection}`
    case RecordKind.connected: return `connected ${record.connection}`
    case RecordKind.data: return `data ${record.connection} ${textOf(record.bytes)}`
    case RecordKind.end: return `end ${record.connection}`
    case RecordKind.reset: return `reset ${record.connection}`
    case RecordKind.read: return `read ${record.connection} to ${record.output}`
    case RecordKind.guestEnd: return `guest end ${record.connection} at ${record.output}`
    case RecordKind.guestReset: return `guest reset ${record.connection} at ${record.output}`
    case RecordKind.floor: return `floor ${record.connection} at ${record.input}`
    case RecordKind.mark: return `mark ${record.checkpoint}`
  }
}

/** Records of a tail, written by hand. */
export const open = (id: number): LogRecord =>
  ({ kind: RecordKind.open, connection: connectionId(id), service: 0, client: '' })

export const connected = (id: number): LogRecord =>
  ({ kind: RecordKind.connected, connection: connectionId(id), path: new Uint8Array(0) })

export const data = (id: number, text: string): LogRecord =>
  ({ kind: RecordKind.data, connection: connectionId(id), bytes: bytesOf(text) })

export const end = (id: number): LogRecord => ({ kind: RecordKind.end, connection: connectionId(id) })

export const reset = (id: number): LogRecord => ({ kind: RecordKind.reset, connection: connectionId(id) })

/** All that had been read of this connection was `said`. */
export const read = (id: number, said: string): LogRecord => ({
  kind: RecordKind.read, connection: connectionId(id), output: outputOffset(said.length),
  hash: outputHash(crc32(said))
})

export const guestEnd = (id: number, output: number): LogRecord =>
  ({ kind: RecordKind.guestEnd, connection: connectionId(id), output: outputOffset(output) })

export const guestReset = (id: number, output: number): LogRecord =>
  ({ kind: RecordKind.guestReset, connection: connectionId(id), output: outputOffset(output) })

export const floor = (id: number, input: number): LogRecord =>
  ({ kind: RecordKind.floor, connection: connectionId(id), input: inputOffset(input) })

/** Where a connection stood when the guest stood still: its input, and all that had been read of it. */
export const adopt = (id: number, input: number, said: string, isConnected = true): LogRecord => ({
  kind: RecordKind.adopt, connection: connectionId(id), service: 0, connected: isConnected,
  input: inputOffset(input), output: outputOffset(said.length), hash: outputHash(crc32(said)),
  client: '', path: new Uint8Array(0)
})
