import { deserialize, serialize } from 'node:v8'
import { crc32 } from 'node:zlib'
import { TailgateError } from '../base/errors.ts'
import type { ApplicationState } from './application.ts'
import type { StreamState } from './guest-stream.ts'

/*
 * An image:  'TGIM' | version u32 | length of the body u64 | its crc32 u32 | crc32 of all before u32 | body
 */

export const imageVersion = 1
const magic = 0x4d494754
const headerBytes = 24

/** The whole state of a guest that stands still. */
export interface GuestState {
  readonly application: ApplicationState
  /** In the order in which they were opened; tables of the application name them by their place here. */
  readonly streams: readonly StreamState[]
}

/** The image as pieces of at most `pieceBytes`. */
export function encodeImage(state: GuestState, pieceBytes: number): Buffer[] {
  const body = serialize(state)
  const header = Buffer.alloc(headerBytes)
  header.writeUInt32LE(magic, 0)
  header.writeUInt32LE(imageVersion, 4)
  header.writeBigUInt64LE(BigInt(body.length), 8)
  header.writeUInt32LE(crc32(body), 16)
  header.writeUInt32LE(crc32(header.subarray(0, 20)), 20)
  const pieces = [header]
  for (let at = 0; at < body.length; at += pieceBytes) pieces.push(body.subarray(at, at + pieceBytes))
  return pieces
}

/** Throws E_IMAGE for anything that is not the whole of one image. */
export function decodeImage(image: Buffer): GuestState {
  if (image.length < headerBytes) throw torn('it ends before its header does')
  if (image.readUInt32LE(0) !== magic) throw torn('it does not begin as one')
  if (image.readUInt32LE(20) !== crc32(image.subarray(0, 20))) {
    throw torn('the checksum of its header is wrong')
  }
  const version = image.readUInt32LE(4)
  if (version !== imageVersion) throw torn(`it has version ${version}, this guest reads ${imageVersion}`)
  const body = image.subarray(headerBytes)
  const length = image.readBigUInt64LE(8)
  if (BigInt(body.length) !== length) {
    throw torn(`it should have ${length} bytes of state and has ${body.length}`)
  }
  if (crc32(body) !== image.readUInt32LE(16)) throw torn('its checksum is wrong')
  try {
    return deserialize(body) as GuestState
  } catch (error) {
    throw torn('it cannot be read by this version of Node', error)
  }
}

function torn(why: string, cause?: unknown): TailgateError {
  return new TailgateError('E_IMAGE', `the image of the embedded guest is not usable: ${why}`, { cause })
}
