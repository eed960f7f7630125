import { TailgateError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { writeVarint } from '../core/record-codec.ts'
import { endpointsMax, textBytesMax } from './limits.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const varintBytesMax = 8

/**
 * Writes the fields of one frame into a buffer that is used again for every frame. Long bytes are not copied:
 * they are kept as {@link slices}, which follow what was written.
 */
export class PayloadWriter {
  /** Where the fields begin; what lies before it is the caller's. */
  readonly target: Buffer
  /** The place after the last field. */
  at = 0
  /** Bytes that follow the fields in the frame, as they were given. */
  slices: readonly Uint8Array[] = []

  constructor(bytesMax: number) {
    this.target = Buffer.allocUnsafeSlow(bytesMax)
  }

  begin(at: number): void {
    this.at = at
    this.slices = []
  }

  byte(value: number): void {
    this.#room(1)
    this.target[this.at++] = value
  }

  flag(value: boolean): void {
    this.byte(value ? 1 : 0)
  }

  /** A place in the list `values`. */
  choice<T>(values: readonly T[], value: T): void {
    const place = values.indexOf(value)
    invariant(place >= 0, 'a message with a value outside its union', { value })
    this.byte(place)
  }

  number(value: number): void {
    invariant(Number.isSafeInteger(value) && value >= 0, 'a number in a message is no count', { value })
    this.#room(varintBytesMax)
    this.at = writeVarint(this.target, this.at, value)
  }

  /** Whole milliseconds, rounded. */
  millis(value: number): void {
    this.number(Math.round(value))
  }

  u32(value: number): void {
    this.#room(4)
    this.at = this.target.writeUInt32LE(value, this.at)
  }

  /** A random id of eight bytes, given as its hex digits. */
  id(value: string): void {
    invariant(/^[0-9a-f]{16}$/.test(value), 'an id that is not 16 hex digits', { value })
    this.#room(idBytes)
    this.at += this.target.write(value, this.at, 'hex')
  }

  /** A name or an address; must not be longer than its limit. */
  text(value: string, bytesMax: number = textBytesMax): void {
    const bytes = encoder.encode(value)
    invariant(bytes.length <= bytesMax, 'a message with a text beyond its limit', { value, bytesMax })
    this.#bytes(bytes)
  }

  /** Text for people, cut to its limit between two characters. */
  reason(value: string): void {
    const bytes = new Uint8Array(textBytesMax)
    this.#bytes(bytes.subarray(0, encoder.encodeInto(value, bytes).written))
  }

  endpoints(values: readonly string[]): void {
    invariant(values.length <= endpointsMax, 'a message with endpoints beyond their limit', { values })
    this.number(values.length)
    for (const value of values) this.text(value, endpointBytesMax)
  }

  #bytes(bytes: Uint8Array): void {
    this.number(bytes.length)
    this.#room(bytes.length)
    this.target.set(bytes, this.at)
    this.at += bytes.length
  }

  #room(bytes: number): void {
    invariant(this.at + bytes <= this.target.length, 'a message whose fields are beyond their limit')
  }
}

/** A random id, in bytes. */
const idBytes = 8

/** One endpoint, `host:port`, in bytes: a host name takes at most 253. */
const endpointBytesMax = 264

/** Reads the fields of one payload. Whatever the bytes are, the worst is E_FRAME; nothing beyond is read. */
export class PayloadReader {
  #bytes: Uint8Array = new Uint8Array(0)
  #at = 0
  #end = 0

  begin(bytes: Uint8Array, at: number): void {
    this.#bytes = bytes
    this.#at = at
    this.#end = bytes.length
  }

  /** Every byte must have been read. */
  finish(): void {
    if (this.#at !== this.#end) throw malformed('bytes after its last field')
    this.#bytes = nothing
  }

  byte(): number {
    const value = this.#bytes[this.#at]
    if (value === undefined) throw malformed('its fields are cut short')
    this.#at++
    return value
  }

  flag(): boolean {
    return this.choice(flags)
  }

  choice<T extends string | boolean>(values: readonly T[]): T {
    const value = values[this.byte()]
    if (value === undefined) throw malformed('a value outside its list')
    return value
  }

  number(): number {
    let value = 0
    let scale = 1
    for (let count = 0; count < varintBytesMax; count++) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break
        return value
      }
      scale *= 0x80
    }
    throw malformed('a number longer than its limit')
  }

  u32(): number {
    return (this.byte() | this.byte() << 8 | this.byte() << 16 | this.byte() << 24) >>> 0
  }

  /** A random id of eight bytes, as hex digits. */
  id(): string {
    let value = ''
    for (let count = 0; count < idBytes; count++) value += this.byte().toString(16).padStart(2, '0')
    return value
  }

  text(bytesMax: number = textBytesMax): string {
    const length = this.number()
    if (length > bytesMax) throw malformed('a text longer than its limit')
    const start = this.#at
    if (start + length > this.#end) throw malformed('its fields are cut short')
    this.#at = start + length
    return decodeText(this.#bytes.subarray(start, this.#at))
  }

  endpoints(): string[] {
    const count = this.number()
    if (count > endpointsMax) throw malformed('more endpoints than their limit')
    return Array.from({ length: count }, () => this.text(endpointBytesMax))
  }

  /** Everything that is left, as a view. */
  rest(): Uint8Array {
    const start = this.#at
    this.#at = this.#end
    return this.#bytes.subarray(start, this.#end)
  }
}

const nothing = new Uint8Array(0)
const flags = [false, true] as const

/** `bytes` as text; E_FRAME if they are not UTF-8. */
export function decodeText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes)
  } catch (cause) {
    throw malformed('a text that is not UTF-8', cause)
  }
}

/** An E_FRAME that says what is wrong with a message. */
export function malformed(what: string, cause?: unknown): TailgateError {
  return new TailgateError('E_FRAME', `a message on the link cannot be read: ${what}`, { cause })
}
