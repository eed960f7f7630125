import { Buffer } from 'node:buffer'
import { TailgateError } from '../base/errors.ts'

/*
 * An image of the engine `xen` is a part of one stream of `xl remus`, behind a header of ours:
 *
 *   magic 8 bytes │ stream 16 bytes │ index u32 │ 0 u32 │ what came since the image before
 *
 * The first of a stream (index 0) has xl's own header, the first pass and a checkpoint; it stands alone. Each
 * other one is of use only to a receiver that has all before it. Numbers are little-endian.
 */
const magic = Buffer.from('TGXEN001')
const streamBytes = 16
export const xenHeaderBytes = 32

/** Which part of which stream an image is. */
export interface XenPart {
  /** 32 hexadecimal digits, drawn at the beginning of each stream. */
  readonly stream: string
  readonly index: number
}

export function partHeader({ stream, index }: XenPart): Buffer {
  const header = Buffer.alloc(xenHeaderBytes)
  magic.copy(header, 0)
  header.write(stream, magic.length, streamBytes, 'hex')
  header.writeUInt32LE(index, magic.length + streamBytes)
  return header
}

/** An image of which the header was read. */
export interface OpenedPart {
  readonly part: XenPart
  /** What follows the header. */
  readonly bytes: AsyncIterable<Uint8Array>
  /** Lets go of the image, however much of it was read. */
  readonly close: () => Promise<void>
}

/** Splits an image into what its header says and the stream's bytes. Rejects with E_IMAGE. */
export async function openPart(image: AsyncIterable<Uint8Array>): Promise<OpenedPart> {
  const pieces = image[Symbol.asyncIterator]()
  const close = async (): Promise<void> => { await pieces.return?.() }
  let have = Buffer.alloc(0)
  while (have.length < xenHeaderBytes) {
    const next = await pieces.next()
    if (next.done === true) throw new TailgateError('E_IMAGE', 'the image ends within its header')
    have = Buffer.concat([have, next.value])
  }
  if (!have.subarray(0, magic.length).equals(magic)) {
    await close()
    throw new TailgateError('E_IMAGE', 'the image is not one of the engine xen')
  }
  const part = {
    stream: have.toString('hex', magic.length, magic.length + streamBytes),
    index: have.readUInt32LE(magic.length + streamBytes)
  }
  return { part, bytes: rest(have.subarray(xenHeaderBytes), pieces), close }
}

async function* rest(
  first: Uint8Array, pieces: AsyncIterator<Uint8Array>
): AsyncGenerator<Uint8Array, void> {
  if (first.length > 0) yield first
  for (let next = await pieces.next(); next.done !== true; next = await pieces.next()) yield next.value
}
