import { TailgateError } from '../../base/errors.ts'
import {
  checkpointId, generation as generationOf, historyId, lsn, outputHash,
  type CheckpointId, type Generation, type Hash, type HistoryId, type Lsn
} from '../ids.ts'

/*
 * The log on disk (docs/LOG_FORMAT.md has test vectors). Numbers are little-endian.
 *
 *   file    header | block | block | …
 *   header  magic 8 | version u16 | kind u16 | reserved u32 | history 8 | generation u64 | first lsn u64
 *           | checkpoint u64 | reserved 12 | crc u32                                        64 bytes
 *   block   length u32 | first lsn u64 | last lsn u64 | crc u32 | records               24 bytes and records
 *
 * A header's crc is over the bytes before it. A block's is over the 20 bytes before it and the records,
 * continued from the crc of its file's header, so that a block of another file is never taken for one of this
 * file.
 *
 * A writer puts one block in the file and waits until it is durable before it writes the next. So what a
 * power loss can damage is one block at the very end, whose extent is bounded, and nothing valid ever follows
 * it.
 */

/** What a file of the log holds. */
export const FileKind = {
  /** Records from the first of a history on. */
  begin: 1,
  /** Records that go on where the file before ended. */
  next: 2,
  /** What a prune left of the log before a mark. It ends with an end block. */
  base: 3
} as const

export type FileKind = (typeof FileKind)[keyof typeof FileKind]

export interface FileHeader {
  readonly kind: FileKind
  readonly history: HistoryId
  readonly generation: Generation
  /** The first record's lsn. Of a base: the mark's. */
  readonly firstLsn: Lsn
  /** Of a base: the mark's checkpoint; else 0. */
  readonly checkpoint: CheckpointId
}

/** Records that were written, and are checked, together. */
export interface Block {
  /** Where the block begins and ends in its file. */
  readonly start: number
  readonly end: number
  /** 0 for the records of a base. */
  readonly firstLsn: Lsn
  readonly lastLsn: Lsn
  /** A view. */
  readonly records: Uint8Array
}

/** What lies at a place of a file: a block, the need for more bytes from that place on, or neither. */
export type BlockReading =
  | { readonly type: 'block', readonly block: Block }
  | { readonly type: 'short', readonly need: number }
  | { readonly type: 'damaged', readonly reason: string }

/** Where the part of a file that holds no whole block begins. */
export interface TornTail {
  readonly at: number
  readonly bytes: number
  readonly reason: string
}

// TGLOG, and three bytes that a transfer as text would change.
const magic = Uint8Array.of(0x54, 0x47, 0x4c, 0x4f, 0x47, 0x0d, 0x0a, 0x1a)
const formatVersion = 1
export const fileHeaderBytes = 64
const fileCrcAt = fileHeaderBytes - 4
export const blockHeaderBytes = 24
const blockCrcAt = blockHeaderBytes - 4
/** The longest content of a block, in bytes. */
export const blockRecordsBytesMax = 64 << 20
/** What the search for a block behind damage may spend on checksums, as a multiple of the bytes searched. */
const searchEffortMax = 64

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** A file's first bytes. */
export function encodeFileHeader(header: FileHeader, hash: Hash): Uint8Array {
  const bytes = new Uint8Array(fileHeaderBytes)
  const fields = view(bytes)
  bytes.set(magic)
  fields.setUint16(8, formatVersion, true)
  fields.setUint16(10, header.kind, true)
  fields.setBigUint64(16, BigInt(`0x${header.history}`))
  fields.setBigUint64(24, BigInt(header.generation), true)
  fields.setBigUint64(32, BigInt(header.firstLsn), true)
  fields.setBigUint64(40, BigInt(header.checkpoint), true)
  fields.setUint32(fileCrcAt, hash(bytes.subarray(0, fileCrcAt), outputHash(0)), true)
  return bytes
}

/**
 * Reads a file's first bytes. Throws E_LOG_CORRUPT; E_VERSION for a format that this program does not know.
 */
export function decodeFileHeader(bytes: Uint8Array, hash: Hash): FileHeader {
  if (bytes.length < fileHeaderBytes) throw corrupt('a file header cut short')
  if (magic.some((byte, place) => bytes[place] !== byte)) throw corrupt('not a file of a log')
  const fields = view(bytes)
  if (fields.getUint32(fileCrcAt, true) !== hash(bytes.subarray(0, fileCrcAt), outputHash(0))) {
    throw corrupt('a damaged file header')
  }
  const version = fields.getUint16(8, true)
  if (version !== formatVersion) {
    throw new TailgateError('E_VERSION', `the log has format ${version}; this program reads ${formatVersion}`)
  }
  const kind = fields.getUint16(10, true)
  if (kind !== FileKind.begin && kind !== FileKind.next && kind !== FileKind.base) {
    throw corrupt('an unknown kind of file')
  }
  return {
    kind,
    history: historyId(fields.getBigUint64(16).toString(16).padStart(16, '0')),
    generation: generationOf(readNumber(fields, 24)),
    firstLsn: lsn(readNumber(fields, 32)),
    checkpoint: checkpointId(readNumber(fields, 40))
  }
}

/** What the checksums of a file's blocks continue from. */
export function blockSeed(fileHeader: Uint8Array): number {
  return view(fileHeader).getUint32(fileCrcAt, true)
}

/** A block's header for `records`, which follow it in the file. */
export function encodeBlockHeader(
  firstLsn: Lsn, lastLsn: Lsn, records: readonly Uint8Array[], seed: number, hash: Hash
): Uint8Array {
  const bytes = new Uint8Array(blockHeaderBytes)
  const fields = view(bytes)
  fields.setUint32(0, records.reduce((sum, part) => sum + part.length, 0), true)
  fields.setBigUint64(4, BigInt(firstLsn), true)
  fields.setBigUint64(12, BigInt(lastLsn), true)
  let crc = hash(bytes.subarray(0, blockCrcAt), outputHash(seed))
  for (const part of records) crc = hash(part, crc)
  fields.setUint32(blockCrcAt, crc, true)
  return bytes
}

/**
 * Reads the block that begins at the place `at` of a file. `bytes` are the file's from there on, as many as
 * there are at hand; `fileBytes` is how long the file is.
 */
export function readBlock(
  bytes: Uint8Array, at: number, fileBytes: number, seed: number, hash: Hash
): BlockReading {
  const left = fileBytes - at
  if (left < blockHeaderBytes) return { type: 'damaged', reason: 'a block header cut short' }
  if (bytes.length < blockHeaderBytes) return { type: 'short', need: blockHeaderBytes }
  const fields = view(bytes)
  const length = fields.getUint32(0, true)
  if (length > blockRecordsBytesMax) return { type: 'damaged', reason: 'a block longer than its limit' }
  const size = blockHeaderBytes + length
  if (left < size) return { type: 'damaged', reason: 'a block cut short' }
  if (bytes.length < size) return { type: 'short', need: size }
  const records = bytes.subarray(blockHeaderBytes, size)
  const crc = hash(records, hash(bytes.subarray(0, blockCrcAt), outputHash(seed)))
  if (fields.getUint32(blockCrcAt, true) !== crc) return { type: 'damaged', reason: 'a wrong checksum' }
  const firstLsn = lsn(readNumber(fields, 4))
  const lastLsn = lsn(readNumber(fields, 12))
  return { type: 'block', block: { start: at, end: at + size, firstLsn, lastLsn, records } }
}

/**
 * Whether damage at the beginning of `rest`, the last bytes of a file, may be a torn tail: it is no longer
 * than one block, and no valid block of this file lies in it. Damage that is in doubt is not a torn tail.
 */
export function isTorn(rest: Uint8Array, seed: number, hash: Hash): boolean {
  if (rest.length > blockHeaderBytes + blockRecordsBytesMax) return false
  let effort = rest.length * searchEffortMax
  for (let at = 1; at + blockHeaderBytes <= rest.length; at++) {
    const length = plausibleLength(rest, at)
    if (length === undefined) continue
    effort -= length
    if (effort < 0) return false
    if (readBlock(rest.subarray(at), at, rest.length, seed, hash).type === 'block') return false
  }
  return true
}

/**
 * Yields the blocks of a whole file and returns its torn tail, if it has one. Throws E_LOG_CORRUPT for damage
 * that is followed by valid blocks, or that cannot be there because `isNewest` is false.
 */
export function* scan(
  file: Uint8Array, isNewest: boolean, hash: Hash
): Generator<Block, TornTail | undefined> {
  decodeFileHeader(file, hash)
  const seed = blockSeed(file)
  let at = fileHeaderBytes
  while (at < file.length) {
    const reading = readBlock(file.subarray(at), at, file.length, seed, hash)
    if (reading.type !== 'block') {
      const reason = reading.type === 'damaged' ? reading.reason : 'a block cut short'
      if (!isNewest || !isTorn(file.subarray(at), seed, hash)) throw corrupt(`${reason} at byte ${at}`, at)
      return { at, bytes: file.length - at, reason }
    }
    yield reading.block
    at = reading.block.end
  }
  return undefined
}

/**
 * The length that a block at `at` would have, or undefined if there can be none: cheap to ask at every place.
 */
function plausibleLength(bytes: Uint8Array, at: number): number | undefined {
  // The upper bytes of both lsns are zero in a log that fits in 2^48 records.
  if (bytes[at + 10] !== 0 || bytes[at + 11] !== 0) return undefined
  if (bytes[at + 18] !== 0 || bytes[at + 19] !== 0) return undefined
  const fields = view(bytes)
  const length = fields.getUint32(at, true)
  if (at + blockHeaderBytes + length > bytes.length) return undefined
  const firstLsn = fields.getBigUint64(at + 4, true)
  const lastLsn = fields.getBigUint64(at + 12, true)
  return lastLsn >= firstLsn && lastLsn - firstLsn <= BigInt(length) ? length : undefined
}

function readNumber(fields: DataView, at: number): number {
  const value = fields.getBigUint64(at, true)
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw corrupt('a number beyond its limit', at)
  return Number(value)
}

function corrupt(what: string, at = 0): TailgateError {
  return new TailgateError('E_LOG_CORRUPT', what, { context: { at } })
}
