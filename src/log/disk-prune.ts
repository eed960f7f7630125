import { invariant } from '../base/invariant.ts'
import { noLsn, type Lsn } from '../core/ids.ts'
import { FileKind, encodeBlockHeader } from '../core/log/block-format.ts'
import type { Survivors } from '../core/log/survivors.ts'
import { blocksOf, diskHash, isEndBlock, type DiskFile } from './disk-files.ts'
import type { FileSystem, LogFile } from './file-system.ts'
import type { Mark } from './log-store.ts'

/** How many records a slice of a prune takes. */
const sliceRecords = 4096

/** What a prune reads. */
export interface PruneSource {
  readonly files: FileSystem
  /** The present base, if there is one, and the files that hold records up to the mark. */
  readonly sources: readonly DiskFile[]
  /** The first lsn that the present base does not stand for. */
  readonly start: Lsn
  /** Awaited between slices; rejects to give the prune up. */
  pause(): Promise<void>
}

/**
 * Writes what survives a prune to `mark` behind a new base's header, durably, and returns the file's length.
 */
export async function writeBase(
  handle: LogFile, seed: number, mark: Mark, survivors: Survivors, source: PruneSource
): Promise<number> {
  while (!survivors.adopt(sliceRecords)) await source.pause()
  for await (const piece of pieces(mark, survivors, source)) {
    await handle.write([encodeBlockHeader(noLsn, noLsn, [piece], seed, diskHash), piece])
  }
  await handle.write([encodeBlockHeader(mark.lsn, mark.lsn, [], seed, diskHash)])
  await handle.sync()
  return handle.length()
}

/** Scans the log up to the mark and yields what survives, as it fills up. */
async function* pieces(
  mark: Mark, survivors: Survivors, source: PruneSource
): AsyncGenerator<Uint8Array, void> {
  yield* survivors.drain()
  for (const file of source.sources) {
    const isBase = file.header.kind === FileKind.base
    for await (const block of blocksOf(source.files, file, file.length)) {
      if (isBase ? isEndBlock(block) : block.lastLsn < source.start) continue
      survivors.load(block.records, block.firstLsn, source.start)
      while (!survivors.scan(sliceRecords)) await source.pause()
      yield* survivors.drain()
      if (survivors.reached) return
      await source.pause()
    }
  }
  invariant(false, 'the mark is in one of the files', { lsn: mark.lsn })
}
