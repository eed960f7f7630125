import { TailgateError } from '../base/errors.ts'
import { unreachable } from '../base/invariant.ts'
import { checkpointId, connectionId, inputOffset, outputHash, outputOffset } from './ids.ts'
import { RecordKind, type AdoptRecord, type LogRecord } from './record.ts'

/*
 * A record on the wire and on disk (docs/LOG_FORMAT.md has test vectors):
 *
 *   kind u8 | connection varint | the kind's own fields
 *
 * Varints are LEB128, at most 8 bytes, so up to 2^53 - 1. Hashes are four bytes, little-endian.
 */

/** The longest varint that still is a safe integer. */
const varintBytesMax = 8
/** More than any record's fields take beside its bytes and strings. */
export const recordHeaderBytesMax = 64
/** The longest DATA payload in one record, in bytes. */
export const recordDataBytesMax = 1 << 20
/** The longest client address or path in a record, in bytes. */
const recordTextBytesMax = 512

const adoptConnected = 1

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Writes `value` at `at` and returns the place after it. */
export function writeVarint(target: Uint8Array, at: number, value: number): number {
  let rest = value
  while (rest >= 0x80) {
    target[at++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  target[at++] = rest
  return at
}

function writeHash(target: Uint8Array, at: number, hash: number): number {
  target[at] = hash & 0xff
  target[at + 1] = (hash >>> 8) & 0xff
  target[at + 2] = (hash >>> 16) & 0xff
  target[at + 3] = hash >>> 24
  return at + 4
}

function writeBytes(target: Uint8Array, at: number, bytes: Uint8Array): number {
  const start = writeVarint(target, at, bytes.length)
  target.set(bytes, start)
  return start + bytes.length
}

/** An upper bound of the encoded length of `record`, in bytes. */
export function recordBytesMax(record: LogRecord): number {
  switch (record.kind) {
    case RecordKind.adopt: return recordHeaderBytesMax + record.client.length * 3 + record.path.length
    case RecordKind.open: return recordHeaderBytesMax + record.client.length * 3
    case RecordKind.connected: return recordHeaderBytesMax + record.path.length
    case RecordKind.data: return recordHeaderBytesMax + record.bytes.length
    case RecordKind.end: case RecordKind.reset: case RecordKind.read: case RecordKind.guestEnd:
    case RecordKind.guestReset: case RecordKind.floor: case RecordKind.mark:
      return recordHeaderBytesMax
    default: return unreachable(record)
  }
}

/**
 * Writes the head of a DATA record at `at`; the caller copies `length` bytes to the place returned.
 * This is the hot path: it makes no object.
 */
export function writeDataHead(target: Uint8Array, at: number, connection: number, length: number): number {
  target[at] = RecordKind.data
  return writeVarint(target, writeVarint(target, at + 1, connection), length)
}

/** Writes a READ record at `at` and returns the place after it. Hot path: it makes no object. */
export function writeRead(
  target: Uint8Array, at: number, connection: number, output: number, hash: number
): number {
  target[at] = RecordKind.read
  return writeHash(target, writeVarint(target, writeVarint(target, at + 1, connection), output), hash)
}

/** Writes `record` at `at` (there must be {@link recordBytesMax} of room) and returns the place after it. */
export function writeRecord(target: Uint8Array, at: number, record: LogRecord): number {
  target[at] = record.kind
  const connection = record.kind === RecordKind.mark ? 0 : record.connection
  const body = writeVarint(target, at + 1, connection)
  switch (record.kind) {
    case RecordKind.adopt: return writeAdopt(target, body, record)
    case RecordKind.open:
      return writeBytes(target, writeVarint(target, body, record.service), encoder.encode(record.client))
    case RecordKind.connected: return writeBytes(target, body, record.path)
    case RecordKind.data: return writeBytes(target, body, record.bytes)
    case RecordKind.end: case RecordKind.reset: return body
    case RecordKind.read: return writeHash(target, writeVarint(target, body, record.output), record.hash)
    case RecordKind.guestEnd: case RecordKind.guestReset: return writeVarint(target, body, record.output)
    case RecordKind.floor: return writeVarint(target, body, record.input)
    case RecordKind.mark: return writeVarint(target, body, record.checkpoint)
    default: return unreachable(record)
  }
}

function writeAdopt(target: Uint8Array, at: number, record: AdoptRecord): number {
  let place = writeVarint(target, at, record.service)
  target[place++] = record.connected ? adoptConnected : 0
  place = writeVarint(target, place, record.input)
  place = writeVarint(target, place, record.output)
  place = writeHash(target, place, record.hash)
  place = writeBytes(target, place, encoder.encode(record.client))
  return writeBytes(target, place, record.path)
}

/** `record` as bytes of its own. */
export function encodeRecord(record: LogRecord): Uint8Array {
  const target = new Uint8Array(recordBytesMax(record))
  return target.subarray(0, writeRecord(target, 0, record))
}

/**
 * Walks over encoded records without making an object for each: after {@link next} its fields describe the
 * record, of which only those that its kind has are meaningful. Whoever wants an object calls {@link record}.
 *
 * Damaged bytes end in E_LOG_CORRUPT, whatever they are; nothing is read beyond `bytes`.
 */
export class RecordCursor {
  kind: RecordKind = RecordKind.mark
  /** 0 for MARK. */
  connection = 0
  /** The record's first byte, and the place after its last. */
  start = 0
  end = 0
  /** OPEN, ADOPT. */
  service = 0
  /** ADOPT. */
  connected = false
  /** ADOPT, FLOOR: input offset. */
  input = 0
  /** ADOPT, READ, GUEST_END, GUEST_RESET: output offset. */
  output = 0
  /** ADOPT, READ. */
  hash = 0
  /** MARK. */
  checkpoint = 0
  /** DATA: where the payload lies. CONNECTED, ADOPT: the path. */
  bytesStart = 0
  bytesEnd = 0
  /** OPEN, ADOPT: where the client's address lies. */
  #clientStart = 0
  #clientEnd = 0
  #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array = new Uint8Array(0)) {
    this.#bytes = bytes
  }

  /** Starts over at the first record of other bytes. */
  reset(bytes: Uint8Array, at = 0): void {
    this.#bytes = bytes
    this.#at = at
  }

  /** Moves to the next record; false at the end of the bytes. Throws E_LOG_CORRUPT on a damaged record. */
  next(): boolean {
    if (this.#at >= this.#bytes.length) return false
    this.start = this.#at
    this.kind = this.#byte() as RecordKind
    this.connection = this.#varint()
    this.#fields()
    this.end = this.#at
    return true
  }

  /** The present record as an object; its bytes are views of the underlying ones. */
  record(): LogRecord {
    const connection = connectionId(this.connection)
    switch (this.kind) {
      case RecordKind.adopt: return {
        kind: this.kind, connection, service: this.service, connected: this.connected,
        input: inputOffset(this.input), output: outputOffset(this.output), hash: outputHash(this.hash),
        client: this.#client(), path: this.payload()
      }
      case RecordKind.open:
        return { kind: this.kind, connection, service: this.service, client: this.#client() }
      case RecordKind.connected: return { kind: this.kind, connection, path: this.payload() }
      case RecordKind.data: return { kind: this.kind, connection, bytes: this.payload() }
      case RecordKind.end: case RecordKind.reset: return { kind: this.kind, connection }
      case RecordKind.read: return {
        kind: this.kind, connection, output: outputOffset(this.output), hash: outputHash(this.hash)
      }
      case RecordKind.guestEnd: case RecordKind.guestReset:
        return { kind: this.kind, connection, output: outputOffset(this.output) }
      case RecordKind.floor: return { kind: this.kind, connection, input: inputOffset(this.input) }
      case RecordKind.mark: return { kind: this.kind, checkpoint: checkpointId(this.checkpoint) }
      default: return unreachable(this.kind)
    }
  }

  /** DATA: the input. CONNECTED, ADOPT: the path. A view, not a copy. */
  payload(): Uint8Array {
    return this.#bytes.subarray(this.bytesStart, this.bytesEnd)
  }

  #fields(): void {
    switch (this.kind) {
      case RecordKind.data: return this.#payload(recordDataBytesMax)
      case RecordKind.read:
        this.output = this.#varint()
        this.hash = this.#hash()
        return
      case RecordKind.end: case RecordKind.reset: return
      case RecordKind.floor: this.input = this.#varint(); return
      case RecordKind.guestEnd: case RecordKind.guestReset: this.output = this.#varint(); return
      case RecordKind.mark: this.checkpoint = this.#varint(); return
      case RecordKind.connected: return this.#payload(recordTextBytesMax)
      case RecordKind.open:
        this.service = this.#varint()
        return this.#text()
      case RecordKind.adopt: return this.#adopt()
      default: throw this.#corrupt('an unknown kind of record')
    }
  }

  #adopt(): void {
    this.service = this.#varint()
    const flags = this.#byte()
    if (flags > adoptConnected) throw this.#corrupt('unknown flags')
    this.connected = flags === adoptConnected
    this.input = this.#varint()
    this.output = this.#varint()
    this.hash = this.#hash()
    this.#text()
    this.#payload(recordTextBytesMax)
  }

  #text(): void {
    this.#payload(recordTextBytesMax)
    this.#clientStart = this.bytesStart
    this.#clientEnd = this.bytesEnd
  }

  #client(): string {
    return decoder.decode(this.#bytes.subarray(this.#clientStart, this.#clientEnd))
  }

  #payload(limit: number): void {
    const length = this.#varint()
    if (length > limit) throw this.#corrupt('a record longer than its limit')
    this.bytesStart = this.#at
    this.bytesEnd = this.#at + length
    if (this.bytesEnd > this.#bytes.length) throw this.#corrupt('a record cut short')
    this.#at = this.bytesEnd
  }

  #byte(): number {
    const value = this.#bytes[this.#at++]
    if (value === undefined) throw this.#corrupt('a record cut short')
    return value
  }

  #hash(): number {
    const at = this.#at
    const bytes = this.#bytes
    if (at + 4 > bytes.length) throw this.#corrupt('a record cut short')
    this.#at = at + 4
    return (this.#octet(at) | this.#octet(at + 1) << 8 | this.#octet(at + 2) << 16
      | this.#octet(at + 3) << 24) >>> 0
  }

  #octet(at: number): number {
    return this.#bytes[at] ?? 0
  }

  #varint(): number {
    let value = 0
    let scale = 1
    for (let count = 0; count < varintBytesMax; count++) {
      const byte = this.#byte()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break
        return value
      }
      scale *= 0x80
    }
    throw this.#corrupt('a number longer than its limit')
  }

  #corrupt(what: string): TailgateError {
    return new TailgateError('E_LOG_CORRUPT', `${what} at byte ${this.#at}`, { context: { at: this.#at } })
  }
}
