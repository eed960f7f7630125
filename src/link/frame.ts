import { crc32 } from 'node:zlib'
import { TailgateError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { generation, historyId, noHistory, type HistoryId } from '../core/ids.ts'
import type { Envelope } from '../core/message.ts'
import { nameBytesMax, smallPayloadBytesMax } from './limits.ts'
import { codecOf, type WireMessage } from './message-codec.ts'
import { PayloadWriter } from './payload.ts'

/*
 * A frame (docs/LINK_PROTOCOL.md has test vectors). Numbers are little-endian.
 *
 *   0         4           5        6         7             8
 *   | 'TGLK'  | version   | type   | flags   | name length | payload length |
 *   12             16           24             28            32
 *   | generation   | history    | body crc     | head crc    |
 *   | guest name | payload |
 *
 * The head has a checksum of its own, so that a damaged length is noticed before anybody waits for the bytes
 * that it promises. The body's is over name and payload.
 */
export const headBytes = 32
const magic = 0x4b4c4754
const versionAt = 4
const typeAt = 5
const flagsAt = 6
const nameLengthAt = 7
const payloadLengthAt = 8
const generationAt = 12
const historyAt = 16
const bodyCrcAt = 24
const headCrcAt = 28

/** The versions of the protocol that this program speaks. */
export const protocolVersionMin = 2
export const protocolVersionMax = 2
/** In the header of greetings, whose layout is the same in every version. */
export const greetingVersion = 0

/** The envelope of messages that are about no guest. */
export const linkEnvelope: Envelope = { guest: '', generation: generation(0), history: noHistory }

/** The fields of a frame's head, filled in by {@link readHead}. */
export interface Head {
  version: number
  type: number
  nameLength: number
  payloadLength: number
  generation: number
  historyLow: number
  historyHigh: number
  bodyCrc: number
}

export function emptyHead(): Head {
  return {
    version: 0,
    type: 0,
    nameLength: 0,
    payloadLength: 0,
    generation: 0,
    historyLow: 0,
    historyHigh: 0,
    bodyCrc: 0
  }
}

/**
 * Reads the head that starts at `at` into `head`; there must be {@link headBytes} of it. Throws E_FRAME if it
 * is damaged or none of ours. Version and type are the caller's to judge.
 */
export function readHead(bytes: Buffer, at: number, head: Head): void {
  if (bytes.readUInt32LE(at) !== magic) throw foreign(bytes, at)
  const expected = bytes.readUInt32LE(at + headCrcAt)
  if (crc32(bytes.subarray(at, at + headCrcAt)) !== expected) {
    throw new TailgateError('E_FRAME', 'the head of a frame on the link is damaged: its checksum is wrong')
  }
  if (bytes.readUInt8(at + flagsAt) !== 0) {
    throw new TailgateError('E_FRAME', 'a frame on the link has flags that this version does not know')
  }
  head.version = bytes.readUInt8(at + versionAt)
  head.type = bytes.readUInt8(at + typeAt)
  head.nameLength = bytes.readUInt8(at + nameLengthAt)
  head.payloadLength = bytes.readUInt32LE(at + payloadLengthAt)
  head.generation = bytes.readUInt32LE(at + generationAt)
  head.historyLow = bytes.readUInt32BE(at + historyAt + 4)
  head.historyHigh = bytes.readUInt32BE(at + historyAt)
  head.bodyCrc = bytes.readUInt32LE(at + bodyCrcAt)
}

/** The history whose eight bytes, big-endian, are these two numbers. */
export function historyOf(high: number, low: number): HistoryId {
  return historyId(high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0'))
}

function foreign(bytes: Buffer, at: number): TailgateError {
  const tlsRecord = bytes.readUInt8(at + 1) === 3 && [0x15, 0x16].includes(bytes.readUInt8(at))
  const hint = tlsRecord
    ? 'it looks like TLS, and this side is configured without: give both sides certificates, or neither'
    : 'something else than tailgate speaks there'
  return new TailgateError('E_FRAME', `what came on the link is no frame of ours; ${hint}`, {
    context: { bytes: bytes.toString('hex', at, at + 8) }
  })
}

/** The first part of a frame, and the slices that follow it on the wire as they are. */
export interface EncodedFrame {
  readonly head: Buffer
  readonly slices: readonly Uint8Array[]
}

const scratchBytes = headBytes + nameBytesMax + smallPayloadBytesMax

/** Makes frames. One per link: it remembers the last guest's name and history, which seldom change. */
export class FrameEncoder {
  readonly #writer = new PayloadWriter(scratchBytes)
  readonly #scratch = this.#writer.target
  readonly #scratchHead = this.#scratch.subarray(0, headCrcAt)
  #guest = ''
  #nameLength = 0
  #history: HistoryId = noHistory
  #historyHigh = 0
  #historyLow = 0

  /** `message` as a frame of `version`. A message beyond its limit is a fault of the program. */
  encode(version: number, envelope: Envelope, message: WireMessage): EncodedFrame {
    const codec = codecOf(message)
    const scratch = this.#scratch
    const writer = this.#writer
    if (envelope.guest !== this.#guest) this.#rename(envelope.guest)
    if (envelope.history !== this.#history) this.#rehistory(envelope.history)
    const bodyAt = headBytes + this.#nameLength
    writer.begin(bodyAt)
    codec.write(writer, message)
    const { at, slices } = writer
    let payloadLength = at - bodyAt
    let bodyCrc = crc32(scratch.subarray(headBytes, at))
    for (const slice of slices) {
      payloadLength += slice.length
      bodyCrc = crc32(slice, bodyCrc)
    }
    invariant(payloadLength <= codec.payloadBytesMax, 'a message beyond its limit', {
      type: message.type, payloadLength
    })
    scratch.writeUInt32LE(magic, 0)
    scratch[versionAt] = version
    scratch[typeAt] = codec.number
    scratch[flagsAt] = 0
    scratch[nameLengthAt] = this.#nameLength
    scratch.writeUInt32LE(payloadLength, payloadLengthAt)
    scratch.writeUInt32LE(envelope.generation, generationAt)
    scratch.writeUInt32BE(this.#historyHigh, historyAt)
    scratch.writeUInt32BE(this.#historyLow, historyAt + 4)
    scratch.writeUInt32LE(bodyCrc, bodyCrcAt)
    scratch.writeUInt32LE(crc32(this.#scratchHead), headCrcAt)
    return { head: Buffer.from(scratch.subarray(0, at)), slices }
  }

  /** The name stays in the scratch buffer, behind the head, until another guest's replaces it. */
  #rename(guest: string): void {
    const length = Buffer.byteLength(guest)
    invariant(length <= nameBytesMax, 'a guest name beyond its limit', { guest })
    this.#scratch.write(guest, headBytes)
    this.#nameLength = length
    this.#guest = guest
  }

  #rehistory(history: HistoryId): void {
    invariant(/^[0-9a-f]{16}$/.test(history), 'a history id that is not 16 hex digits', { history })
    this.#historyHigh = Number.parseInt(history.slice(0, 8), 16)
    this.#historyLow = Number.parseInt(history.slice(8), 16)
    this.#history = history
  }
}

/** `frame` in one piece; only for those who do not write it to a socket. */
export function flatFrame(frame: EncodedFrame): Buffer {
  return Buffer.concat([frame.head, ...frame.slices])
}
