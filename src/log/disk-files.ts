import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { TailgateError } from '../base/errors.ts'
import type { Hash, Lsn } from '../core/ids.ts'
import { outputHash } from '../core/ids.ts'
import {
  FileKind, blockSeed, encodeFileHeader, fileHeaderBytes, readBlock, type Block, type FileHeader
} from '../core/log/block-format.ts'
import type { FileSystem, LogFile } from './file-system.ts'

/** The checksum of the log's files. */
export const diskHash: Hash = (bytes, previous) => outputHash(crc32(bytes, previous))

/** How much of a file is read at a time, unless a block is longer. */
const windowBytes = 1 << 20

/** One file of a log on disk, as far as it is whole and durable. */
export interface DiskFile {
  /** Grows with every file that is made; the order of the log's files. */
  readonly sequence: number
  readonly path: string
  readonly header: FileHeader
  readonly seed: number
  length: number
  lastLsn: Lsn
}

/** What the name of a file in a log's directory says; undefined for one that is not the log's. */
export function parseName(name: string): { readonly sequence: number, readonly kind: string } | undefined {
  const found = /^(\d{10})\.(log|base|new)$/.exec(name)
  return found ? { sequence: Number(found[1]), kind: found[2] ?? '' } : undefined
}

/** The name of the file numbered `sequence`. `new`: one that becomes a file of the log when it is renamed. */
export function fileName(sequence: number, kind: 'log' | 'base' | 'new'): string {
  return `${sequence.toString().padStart(10, '0')}.${kind}`
}

/**
 * Makes a file that holds its header, durably but for its name. The caller renames it or syncs the directory.
 *
 * The header is durable before any block is written: behind a damaged header there is never anything valid.
 */
export async function createFile(
  files: FileSystem, directory: string, sequence: number, kind: 'log' | 'new', header: FileHeader
): Promise<{ readonly handle: LogFile, readonly seed: number, readonly path: string }> {
  const path = join(directory, fileName(sequence, kind))
  const handle = await files.create(path)
  try {
    const bytes = encodeFileHeader(header, diskHash)
    await handle.write([bytes])
    await handle.sync()
    return { handle, seed: blockSeed(bytes), path }
  } catch (error) {
    await handle.close().catch(() => undefined)
    throw error
  }
}

/** Where a file stops making sense. */
export interface Damage {
  readonly at: number
  readonly reason: string
}

/** Yields the blocks in the first `fileBytes` bytes of a file; returns where it is damaged, if it is. */
export async function* readBlocks(
  file: LogFile, fileBytes: number, seed: number
): AsyncGenerator<Block, Damage | undefined> {
  let at = fileHeaderBytes
  let window: Uint8Array = new Uint8Array(0)
  let windowAt = at
  while (at < fileBytes) {
    const reading = readBlock(window.subarray(at - windowAt), at, fileBytes, seed, diskHash)
    if (reading.type === 'damaged') return { at, reason: reading.reason }
    if (reading.type === 'short') {
      window = await file.read(at, Math.min(fileBytes - at, Math.max(reading.need, windowBytes)))
      windowAt = at
      if (window.length < reading.need) return { at, reason: 'a file shorter than it was' }
      continue
    }
    yield reading.block
    at = reading.block.end
  }
  return undefined
}

/** Yields the blocks of one file of an open log. Throws E_LOG_CORRUPT: what was durable must be whole. */
export async function* blocksOf(
  files: FileSystem, file: DiskFile, length: number
): AsyncGenerator<Block, void> {
  const handle = await files.open(file.path, 'read')
  try {
    const damage = yield* readBlocks(handle, length, file.seed)
    if (damage) throw corruptFile(file.path, damage.reason, damage.at)
  } finally {
    await handle.close()
  }
}

/** Whether a block is the one that ends a base. */
export function isEndBlock(block: Block): boolean {
  return block.records.length === 0
}

/** Whether a file's kind is one with which a log begins. */
export function isRoot(header: FileHeader): boolean {
  return header.kind === FileKind.begin || header.kind === FileKind.base
}

export function corruptFile(path: string, what: string, at: number, cause?: unknown): TailgateError {
  const sentence = `${path}: ${what} at byte ${at}`
  return new TailgateError('E_LOG_CORRUPT', sentence, { cause, context: { file: path, at } })
}
