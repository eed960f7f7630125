import { open, type FileHandle } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { TailgateError } from '../base/errors.ts'
import { checkpointId, generation, historyId, lsn } from '../core/ids.ts'
import type { ImageInfo } from '../core/agent/port.ts'

/*
 * A whole checkpoint on disk:
 *
 *   image | info as JSON | length of the JSON u32 | CRC-32 of the JSON u32 | magic 8 bytes
 *
 * What describes it stands at the end, because length and CRC are known only there. Numbers are
 * little-endian.
 */
const magic = Buffer.from('TGIMAGE1')
const trailerBytes = 4 + 4 + magic.length
const infoBytesMax = 4096
/** How much of an image is read at a time, in bytes. */
const pieceBytes = 1 << 20

/** What stands behind the image in its file. */
export function imageTrailer(info: ImageInfo): Buffer {
  const json = Buffer.from(JSON.stringify(info))
  const trailer = Buffer.alloc(trailerBytes)
  trailer.writeUInt32LE(json.length, 0)
  trailer.writeUInt32LE(crc32(json), 4)
  magic.copy(trailer, 8)
  return Buffer.concat([json, trailer])
}

/** What a file holds, by its trailer; undefined for one that is not an image of ours, or not all of it. */
export async function readImageInfo(path: string): Promise<ImageInfo | undefined> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    if (size < trailerBytes) return undefined
    const trailer = await readAt(file, size - trailerBytes, trailerBytes)
    if (!trailer.subarray(8).equals(magic)) return undefined
    const length = trailer.readUInt32LE(0)
    if (length > infoBytesMax || length > size - trailerBytes) return undefined
    const json = await readAt(file, size - trailerBytes - length, length)
    if (crc32(json) !== trailer.readUInt32LE(4)) return undefined
    const info = infoOf(JSON.parse(json.toString()))
    return info?.bytes === size - trailerBytes - length ? info : undefined
  } finally {
    await file.close()
  }
}

/** Reads the image. Throws E_IMAGE at its end if it is not what was stored. */
export async function* readImage(path: string, info: ImageInfo): AsyncGenerator<Uint8Array, void> {
  const file = await open(path, 'r')
  try {
    let crc = 0
    for (let at = 0; at < info.bytes; at += pieceBytes) {
      const piece = await readAt(file, at, Math.min(pieceBytes, info.bytes - at))
      crc = crc32(piece, crc)
      yield piece
    }
    if (crc !== info.crc) throw notWhole(info)
  } finally {
    await file.close()
  }
}

/** An E_IMAGE for an image whose bytes are not those that were stored. */
export function notWhole(info: ImageInfo): TailgateError {
  return new TailgateError('E_IMAGE', `checkpoint ${info.checkpoint} has changed since it was stored`, {
    context: { checkpoint: info.checkpoint }
  })
}

async function readAt(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length)
  let have = 0
  while (have < length) {
    const { bytesRead } = await file.read(bytes, have, length - have, at + have)
    if (bytesRead === 0) throw new TailgateError('E_IMAGE', `the file ends at byte ${at + have}`)
    have += bytesRead
  }
  return bytes
}

/** JSON that carries our CRC was written by us; its fields are checked all the same. */
function infoOf(value: unknown): ImageInfo | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { checkpoint, mark, history, generation: number, bytes, crc } = value as Record<string, unknown>
  const numbers = [checkpoint, mark, number, bytes, crc]
  if (!numbers.every(n => Number.isSafeInteger(n) && Number(n) >= 0)) return undefined
  if (typeof history !== 'string') return undefined
  return {
    checkpoint: checkpointId(Number(checkpoint)), mark: lsn(Number(mark)), history: historyId(history),
    generation: generation(Number(number)), bytes: Number(bytes), crc: Number(crc)
  }
}
