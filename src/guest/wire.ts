import { TailgateError } from '../base/errors.ts'

/*
 * How Tailgate talks to the embedded guest (docs/EMBEDDED_GUEST.md). Numbers are little-endian.
 *
 *   greeting  00 'T' 'G' version kind | open:    incarnation u64, connection u64
 *                                     | attach:  incarnation u64, connection u64, received u64
 *                                     | control: incarnation u64
 *   answer    00 'T' 'G' version kind | known:   input u64, output u64
 *                                     | accepted, unknown, refused: nothing
 *   place     kind u8, connection u64, place u64    on the control connection, both ways, after `accepted`
 */

export const wireVersion = 1
const magic = [0, 0x54, 0x47] as const
const headBytes = 5

/** What follows the head of a greeting, by its kind. */
const greetingBytes: Readonly<Record<number, number>> = { 1: 16, 2: 24, 3: 8 }
export const greetingBytesMax = headBytes + 24

export type Greeting =
  | { readonly kind: 'open', readonly incarnation: bigint, readonly connection: number }
  | {
    readonly kind: 'attach', readonly incarnation: bigint, readonly connection: number
    readonly received: number
  }
  | { readonly kind: 'control', readonly incarnation: bigint }

export type Answer =
  | { readonly kind: 'accepted' | 'unknown' | 'refused' }
  | { readonly kind: 'known', readonly input: number, readonly output: number }

const answerKinds = { accepted: 0x81, known: 0x82, unknown: 0x83, refused: 0x84 } as const

/** Something read from the beginning of bytes, and how many of them it took. */
export interface Taken<T> {
  readonly value: T
  readonly bytes: number
}

function head(kind: number, bodyBytes: number): Buffer {
  const bytes = Buffer.alloc(headBytes + bodyBytes)
  bytes.set([...magic, wireVersion, kind])
  return bytes
}

/** Writes a whole number up to 2^53 as eight bytes. */
export function writeU64(target: Buffer, at: number, value: number): void {
  target.writeUInt32LE(value % 0x1_0000_0000, at)
  target.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4)
}

/** Reads one; throws E_FRAME beyond 2^53. */
export function readU64(bytes: Buffer, at: number): number {
  const value = bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 0x1_0000_0000
  if (value <= Number.MAX_SAFE_INTEGER) return value
  throw new TailgateError('E_FRAME', 'a number beyond 2^53 from the other side')
}

export function encodeGreeting(greeting: Greeting): Buffer {
  const kind = greeting.kind === 'open' ? 1 : greeting.kind === 'attach' ? 2 : 3
  const bytes = head(kind, greetingBytes[kind] ?? 0)
  bytes.writeBigUInt64LE(greeting.incarnation, headBytes)
  if (greeting.kind !== 'control') writeU64(bytes, headBytes + 8, greeting.connection)
  if (greeting.kind === 'attach') writeU64(bytes, headBytes + 16, greeting.received)
  return bytes
}

/** The kind byte after a head, or undefined if the head is not there yet. Throws E_FRAME or E_VERSION. */
function takeHead(bytes: Buffer): number | undefined {
  for (const [at, wanted] of magic.entries()) {
    if (at < bytes.length && bytes[at] !== wanted) {
      throw new TailgateError('E_FRAME', 'the other side does not speak the protocol of the embedded guest')
    }
  }
  const version = bytes[magic.length]
  if (version !== undefined && version !== wireVersion) {
    throw new TailgateError(
      'E_VERSION', `the other side speaks version ${version} of the guest's protocol, we ${wireVersion}`
    )
  }
  return bytes[headBytes - 1]
}

/** Undefined until all of it is there. Throws E_FRAME, E_VERSION. */
export function takeGreeting(bytes: Buffer): Taken<Greeting> | undefined {
  const kind = takeHead(bytes)
  if (kind === undefined) return undefined
  const body = greetingBytes[kind]
  if (body === undefined) throw new TailgateError('E_FRAME', `a greeting of the unknown kind ${kind}`)
  if (bytes.length < headBytes + body) return undefined
  const incarnation = bytes.readBigUInt64LE(headBytes)
  const taken = headBytes + body
  if (kind === 3) return { value: { kind: 'control', incarnation }, bytes: taken }
  const connection = readU64(bytes, headBytes + 8)
  if (kind === 1) return { value: { kind: 'open', incarnation, connection }, bytes: taken }
  const received = readU64(bytes, headBytes + 16)
  return { value: { kind: 'attach', incarnation, connection, received }, bytes: taken }
}

export function encodeAnswer(answer: Answer): Buffer {
  const bytes = head(answerKinds[answer.kind], answer.kind === 'known' ? 16 : 0)
  if (answer.kind === 'known') {
    writeU64(bytes, headBytes, answer.input)
    writeU64(bytes, headBytes + 8, answer.output)
  }
  return bytes
}

/** Undefined until all of it is there. Throws E_FRAME, E_VERSION. */
export function takeAnswer(bytes: Buffer): Taken<Answer> | undefined {
  const kind = takeHead(bytes)
  switch (kind) {
    case undefined: return undefined
    case answerKinds.accepted: return { value: { kind: 'accepted' }, bytes: headBytes }
    case answerKinds.unknown: return { value: { kind: 'unknown' }, bytes: headBytes }
    case answerKinds.refused: return { value: { kind: 'refused' }, bytes: headBytes }
    case answerKinds.known: {
      if (bytes.length < headBytes + 16) return undefined
      const [input, output] = [readU64(bytes, headBytes), readU64(bytes, headBytes + 8)]
      return { value: { kind: 'known', input, output }, bytes: headBytes + 16 }
    }
    default: throw new TailgateError('E_FRAME', `an answer of the unknown kind ${kind}`)
  }
}

/** What a place on the control connection says. */
export const PlaceKind = {
  /** To the guest: output up to here has been read; the guest need not keep it. */
  acknowledged: 1,
  /**
   * To the guest: the client reset the connection; this is where its input had come to. From the guest: it
   * has taken that, and all input before it.
   */
  clientReset: 2,
  /** From the guest, as what follows: input up to here is in the guest's memory. */
  floor: 3,
  /** The guest ended its output, whose last byte lies before this place. */
  end: 4,
  /** The guest reset the connection. */
  reset: 5
} as const

export type PlaceKind = (typeof PlaceKind)[keyof typeof PlaceKind]

const placeBytes = 17

/** Gathers places, so that those of a turn leave in one write. */
export class PlaceWriter {
  #buffer = Buffer.allocUnsafe(64 * placeBytes)
  #used = 0

  add(kind: PlaceKind, connection: number, place: number): void {
    if (this.#used + placeBytes > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(this.#buffer.length * 2)
      this.#buffer.copy(grown, 0, 0, this.#used)
      this.#buffer = grown
    }
    this.#buffer[this.#used] = kind
    writeU64(this.#buffer, this.#used + 1, connection)
    writeU64(this.#buffer, this.#used + 9, place)
    this.#used += placeBytes
  }

  /** A copy of what was gathered, or undefined. */
  take(): Buffer | undefined {
    if (this.#used === 0) return undefined
    const bytes = Buffer.from(this.#buffer.subarray(0, this.#used))
    this.#used = 0
    return bytes
  }
}

/** Reads places out of any portions. */
export class PlaceReader {
  #rest: Buffer = Buffer.alloc(0)

  /** Calls `each` for every whole place; does not keep `bytes`. Throws E_FRAME. */
  feed(bytes: Uint8Array, each: (kind: PlaceKind, connection: number, place: number) => void): void {
    const all = this.#rest.length === 0
      ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
      : Buffer.concat([this.#rest, bytes])
    let at = 0
    for (; at + placeBytes <= all.length; at += placeBytes) {
      const kind = all.readUInt8(at)
      if (kind < PlaceKind.acknowledged || kind > PlaceKind.reset) {
        throw new TailgateError('E_FRAME', `a place of the unknown kind ${kind}`)
      }
      each(kind as PlaceKind, readU64(all, at + 1), readU64(all, at + 9))
    }
    this.#rest = Buffer.from(all.subarray(at))
  }
}
