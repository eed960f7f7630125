import { crc32 } from 'node:zlib'
import { TailgateError } from '../base/errors.ts'
import { isObject } from './qmp.ts'

/*
 * A checkpoint of a QEMU guest, as it goes from one engine to another:
 *
 *   "TGQEMU" version:u16 | frame | frame | … | frame of kind end
 *
 *   frame:  kind:u8 | length:u32 | crc:u32 | length bytes        (numbers are little-endian)
 *
 * `crc` is CRC-32 over kind, length and bytes of this frame and all before it, so a frame that is damaged,
 * left out or in another place is found where it stands, and before its bytes are used. The first frame is
 * the description, as JSON; then come QEMU's migration stream and the disks' bytes; a cut image has no end.
 */
const magic = Buffer.from('TGQEMU\x01\x00', 'latin1')
const headBytes = 9

/** An image is yielded in pieces of at most 1 MiB, one frame each. */
export const frameBytesMax = 1024 * 1024 - headBytes
/** What is in front of the first frame's bytes goes into the same piece. */
const descriptionBytesMax = 64 * 1024

export const FrameKind = { description: 1, machine: 2, disk: 3, end: 4 } as const
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind]

/** What the QEMU that loads an image must be like. */
export interface MachineDescription {
  /** The QEMU that saved it, as `7.2.22`; told to people only. */
  readonly qemu: string
  /** The machine type, with its version: `pc-i440fx-7.2-machine`. */
  readonly machine: string
  readonly memoryBytes: number
  readonly cpus: number
  /** The sizes of its disks that are in the image, in bytes, in their order. */
  readonly disks: readonly number[]
}

export interface Frame {
  readonly kind: FrameKind
  readonly bytes: Buffer
}

/** Writes the frames of one image. */
export class ImageWriter {
  #crc = 0

  /** The first piece of an image. */
  description(description: MachineDescription): Buffer {
    const frame = this.frame(FrameKind.description, [Buffer.from(JSON.stringify(description))])
    return Buffer.concat([magic, frame])
  }

  frame(kind: FrameKind, parts: readonly Uint8Array[]): Buffer {
    const head = Buffer.alloc(headBytes)
    head[0] = kind
    const frame = Buffer.concat([head, ...parts])
    frame.writeUInt32LE(frame.length - headBytes, 1)
    this.#crc = crcOf(frame.subarray(0, 5), frame.subarray(headBytes), this.#crc)
    frame.writeUInt32LE(this.#crc, 5)
    return frame
  }

  end(): Buffer {
    return this.frame(FrameKind.end, [])
  }
}

/**
 * Reads an image in pieces of any size. Throws E_IMAGE as soon as it is not whole; the source's own errors as
 * they are.
 */
export class ImageReader {
  readonly #source: AsyncIterator<Uint8Array>
  #piece: Uint8Array = new Uint8Array(0)
  #at = 0
  #crc = 0

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  async description(): Promise<MachineDescription> {
    const start = await this.#take(magic.length)
    if (start?.equals(magic) !== true) throw notWhole('it does not begin as a checkpoint of this version')
    const { kind, bytes } = await this.#frame()
    if (kind !== FrameKind.description) throw notWhole('its description is missing')
    return descriptionIn(bytes)
  }

  /** The frames after the description, without the end. Nothing may follow the end. */
  async *frames(): AsyncGenerator<Frame, void> {
    for (;;) {
      const frame = await this.#frame()
      if (frame.kind === FrameKind.end) break
      yield frame
    }
    if (await this.#take(1) !== undefined) throw notWhole('something follows its end')
  }

  /** Lets go of the source where it was not read to its end. */
  async close(): Promise<void> {
    await this.#source.return?.()
  }

  async #frame(): Promise<Frame> {
    const head = await this.#take(headBytes)
    if (head === undefined) throw notWhole('it has no end')
    const kind = head.readUInt8(0)
    const length = head.readUInt32LE(1)
    const lengthMax = kind === FrameKind.description ? descriptionBytesMax : frameBytesMax
    if (!isKind(kind) || length > lengthMax) throw notWhole('a part of it is damaged')
    const bytes = await this.#take(length) ?? Buffer.alloc(0)
    if (bytes.length < length) throw notWhole('it has no end')
    this.#crc = crcOf(head.subarray(0, 5), bytes, this.#crc)
    if (this.#crc !== head.readUInt32LE(5)) throw notWhole('a part of it is damaged')
    return { kind, bytes }
  }

  /** So many bytes; undefined at the source's end. Copies only what lies in several pieces. */
  async #take(length: number): Promise<Buffer | undefined> {
    if (length === 0) return Buffer.alloc(0)
    if (this.#at === this.#piece.length && !await this.#next()) return undefined
    if (this.#piece.length - this.#at >= length) {
      const { buffer, byteOffset } = this.#piece
      const taken = Buffer.from(buffer, byteOffset + this.#at, length)
      this.#at += length
      return taken
    }
    const bytes = Buffer.allocUnsafe(length)
    for (let filled = 0; filled < length;) {
      if (this.#at === this.#piece.length && !await this.#next()) throw notWhole('it has no end')
      const part = this.#piece.subarray(this.#at, this.#at + length - filled)
      bytes.set(part, filled)
      filled += part.length
      this.#at += part.length
    }
    return bytes
  }

  async #next(): Promise<boolean> {
    do {
      const next = await this.#source.next()
      if (next.done === true) return false
      this.#piece = next.value
      this.#at = 0
    } while (this.#piece.length === 0)
    return true
  }
}

function crcOf(head: Uint8Array, bytes: Uint8Array, before: number): number {
  return crc32(bytes, crc32(head, before))
}

function isKind(kind: number): kind is FrameKind {
  return Object.values<number>(FrameKind).includes(kind)
}

function descriptionIn(bytes: Buffer): MachineDescription {
  const value: unknown = JSON.parse(bytes.toString())
  if (isObject(value)) {
    const { qemu, machine, memoryBytes, cpus } = value
    const disks: readonly unknown[] = Array.isArray(value.disks) ? value.disks as unknown[] : [undefined]
    if (typeof qemu === 'string' && typeof machine === 'string' && typeof memoryBytes === 'number'
      && typeof cpus === 'number' && disks.every(size => typeof size === 'number')) {
      return { qemu, machine, memoryBytes, cpus, disks }
    }
  }
  throw notWhole('its description is not one')
}

function notWhole(why: string): TailgateError {
  return new TailgateError('E_IMAGE', `the checkpoint of the QEMU guest is not whole: ${why}`)
}
