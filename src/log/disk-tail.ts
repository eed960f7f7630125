import { TailgateError } from '../base/errors.ts'
import type { Lsn } from '../core/ids.ts'
import type { Block } from '../core/log/block-format.ts'
import { PieceCutter, type Piece } from '../core/log/pieces.ts'
import { blocksOf, type DiskFile } from './disk-files.ts'
import { diskError, type FileSystem } from './file-system.ts'
import type { TailReader } from './log-store.ts'

/** A file as far as it was whole when the walk began. */
export interface DiskPart {
  readonly file: DiskFile
  readonly length: number
}

/**
 * Walks over the log's files as they were when the walk began. Rejects with E_LOG_CORRUPT, E_DISK and
 * E_STALE.
 */
export class DiskTailReader implements TailReader {
  readonly #files: FileSystem
  readonly #parts: readonly DiskPart[]
  /** The first lsn of the tail; what is below it in the files is in the base. */
  readonly #start: Lsn
  readonly #closed: () => Promise<void>
  readonly #cutter = new PieceCutter()
  #blocks: AsyncGenerator<Block, void> | undefined
  #isEnded = false

  constructor(files: FileSystem, parts: readonly DiskPart[], start: Lsn, closed: () => Promise<void>) {
    this.#files = files
    this.#parts = parts
    this.#start = start
    this.#closed = closed
  }

  /** The history has ended or the log was closed: what is not read yet may be gone. */
  end(): void {
    this.#isEnded = true
  }

  async next(bytesMax: number): Promise<Piece | undefined> {
    this.#blocks ??= this.#allBlocks()
    for (;;) {
      if (this.#isEnded) throw new TailgateError('E_STALE', 'the history ended while its tail was read')
      const piece = this.#cutter.next(bytesMax)
      if (piece) return piece
      const block = await this.#blocks.next().catch((error: unknown) => {
        throw this.#isEnded ? new TailgateError('E_STALE', 'the history ended while its tail was read')
          : diskError('reading the log in', this.#parts[0]?.file.path ?? '', error)
      })
      if (block.done) return undefined
      this.#cutter.load(block.value)
      this.#cutter.skipTo(this.#start)
    }
  }

  async close(): Promise<void> {
    await this.#blocks?.return()
    await this.#closed()
  }

  async* #allBlocks(): AsyncGenerator<Block, void> {
    for (const { file, length } of this.#parts) yield* blocksOf(this.#files, file, length)
  }
}
