import { setImmediate } from 'node:timers/promises'
import { TailgateError } from '../base/errors.ts'
import type { CheckpointId, Generation, HistoryId, Lsn } from '../core/ids.ts'
import { PieceCutter, type Piece } from '../core/log/pieces.ts'
import type { Segment } from '../core/log/segment.ts'
import { TailLog, type PruneJob, type TailPart } from '../core/log/tail-log.ts'
import { nodeFileSystem, type FileSystem } from './file-system.ts'
import type { LogStore, Mark, TailReader } from './log-store.ts'
import { Spill } from './spill.ts'

export interface MemoryLogOptions {
  /** Where segments go when memory is full; made if it is not there. Its *.spill files are the log's own. */
  readonly directory: string
  /** What records may take in memory before the oldest go to files, in bytes. */
  readonly memoryBytes: number
  /** What the log may take in all, in bytes. */
  readonly logBytes: number
  /** How much memory is taken at a time, in bytes. */
  readonly segmentBytes?: number
}

const segmentBytesDefault = 4 << 20
/** Records in a slice of a prune: well below a millisecond or two of work. */
const sliceRecords = 4096

/**
 * The log with `durability: memory`: acknowledged when it is in memory. What does not fit is spilled to
 * files; they make the log larger, not durable, and are of no use after a restart.
 *
 * An append that finds memory full resolves when older records have been spilled, so a slow disk slows the
 * gateway down instead of using memory without bound.
 */
export class MemoryLog implements LogStore {
  readonly #options: MemoryLogOptions
  readonly #log: TailLog
  readonly #spill: Spill
  #spilling: Promise<void> | undefined
  #pruning: Promise<void> = Promise.resolve()
  /** Grows at each {@link begin}: work of an earlier one must not touch the present one. */
  #age = 0
  /** Open ones; their segments stay. */
  readonly #readers = new Set<MemoryTailReader>()

  private constructor(options: MemoryLogOptions, files: FileSystem) {
    const { logBytes, memoryBytes, segmentBytes = segmentBytesDefault } = options
    this.#options = options
    this.#log = new TailLog({ logBytes, segmentBytes: Math.ceil(Math.min(segmentBytes, memoryBytes / 4)) })
    this.#spill = new Spill(options.directory, files, memoryBytes / 4)
  }

  /** An empty log. Rejects with E_DISK. */
  static async open(options: MemoryLogOptions, files: FileSystem = nodeFileSystem): Promise<MemoryLog> {
    const log = new MemoryLog(options, files)
    await log.#spill.open()
    return log
  }

  get history(): HistoryId {
    return this.#log.books.history
  }

  get generation(): Generation {
    return this.#log.books.generation
  }

  get lastLsn(): Lsn {
    return this.#log.lastLsn
  }

  get memoryBytes(): number {
    return this.#log.memoryBytes + this.#spill.memoryBytes
  }

  get diskBytes(): number {
    return this.#spill.diskBytes
  }

  get tailBytes(): number {
    return this.#log.books.tailBytes
  }

  get tailRecords(): number {
    return this.#log.books.tailRecords
  }

  get connections(): number {
    return this.#log.books.connections
  }

  get base(): Mark | undefined {
    return this.#log.base
  }

  async begin(history: HistoryId, generation: Generation, firstLsn: Lsn): Promise<void> {
    this.#age++
    this.#endReaders()
    this.#log.begin(history, generation, firstLsn)
    await this.#spilling?.catch(() => undefined)
    await this.#sweep()
  }

  append(firstLsn: Lsn, lastLsn: Lsn, records: readonly Uint8Array[]): Promise<Lsn> {
    try {
      this.#log.append(firstLsn, lastLsn, records)
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)))
    }
    if (this.#log.memoryBytes <= this.#options.memoryBytes) return Promise.resolve(lastLsn)
    return this.#makeRoom().then(() => lastLsn)
  }

  markOf(checkpoint: CheckpointId): Lsn | undefined {
    return this.#log.markOf(checkpoint)
  }

  prune(mark: Mark): Promise<void> {
    const run = this.#pruning.then(() => this.#prune(mark))
    this.#pruning = run.catch(() => undefined)
    return run
  }

  tail(): TailReader {
    const reader = new MemoryTailReader(this.#log.tailParts(), this.#spill, () => {
      this.#readers.delete(reader)
      return this.#sweep()
    })
    this.#readers.add(reader)
    return reader
  }

  async close(): Promise<void> {
    this.#age++
    this.#endReaders()
    this.#log.cancelPrune()
    await this.#spilling?.catch(() => undefined)
    await this.#pruning
    await this.#spill.keepOnly(new Set())
  }

  async #prune(mark: Mark): Promise<void> {
    if (this.base?.checkpoint === mark.checkpoint && this.base.lsn === mark.lsn) return
    const age = this.#age
    const job = this.#log.prune(mark)
    try {
      await this.#run(job)
    } catch (error) {
      if (age === this.#age) this.#log.cancelPrune()
      throw error
    }
    if (age === this.#age) await this.#sweep()
  }

  async #run(job: PruneJob): Promise<void> {
    for (;;) {
      const progress = job.step(sliceRecords)
      if (progress === 'done') return
      const { wanted } = job
      if (progress === 'wants' && wanted) {
        const { start, end } = wanted
        job.supply(wanted.viewOf(await this.#spill.get(wanted.id), start, end))
      }
      if (this.#log.memoryBytes > this.#options.memoryBytes) await this.#makeRoom()
      await setImmediate()
    }
  }

  /** Resolves when memory is within its limit again; one loop works for all who wait. */
  async #makeRoom(): Promise<void> {
    while (this.#log.memoryBytes > this.#options.memoryBytes && this.#oldestInMemory()) {
      this.#spilling ??= this.#spillOldest().finally(() => { this.#spilling = undefined })
      await this.#spilling
    }
  }

  async #spillOldest(): Promise<void> {
    const age = this.#age
    while (age === this.#age && this.#log.memoryBytes > this.#options.memoryBytes) {
      const segment = this.#oldestInMemory()
      const bytes = segment?.bytes
      // What is left is being written to; it is at most one segment.
      if (!segment || !bytes) return
      const { start } = segment
      try {
        await this.#spill.put(segment.id, bytes)
      } catch (error) {
        if (error instanceof TailgateError && age === this.#age) this.#log.books.fail(error)
        throw error
      }
      if (age === this.#age) this.#log.evict(segment, start)
    }
  }

  /** The oldest segment in memory that nothing is added to any more. */
  #oldestInMemory(): Segment | undefined {
    for (const segment of this.#log.segments()) {
      if (segment.bytes && !this.#log.isOpen(segment)) return segment
    }
    return undefined
  }

  /** Removes the files of segments that the log has dropped and no reader needs. */
  async #sweep(): Promise<void> {
    const ids = new Set<number>()
    for (const segment of this.#log.segments()) ids.add(segment.id)
    for (const reader of this.#readers) {
      for (const id of reader.segmentIds()) ids.add(id)
    }
    await this.#spill.keepOnly(ids)
  }

  #endReaders(): void {
    for (const reader of this.#readers) reader.end()
    this.#readers.clear()
  }
}

/** Walks over the log as it was when the walk began. */
class MemoryTailReader implements TailReader {
  readonly #parts: TailPart[]
  readonly #spill: Spill
  readonly #closed: () => Promise<void>
  readonly #cutter = new PieceCutter()
  #isEnded = false

  constructor(parts: TailPart[], spill: Spill, closed: () => Promise<void>) {
    this.#parts = parts
    this.#spill = spill
    this.#closed = closed
  }

  segmentIds(): number[] {
    return this.#parts.map(part => part.segment.id)
  }

  /** The history has ended or the log was closed: what is not read yet may be gone. */
  end(): void {
    this.#isEnded = true
  }

  async next(bytesMax: number): Promise<Piece | undefined> {
    for (;;) {
      if (this.#isEnded) throw new TailgateError('E_STALE', 'the history ended while its tail was read')
      const piece = this.#cutter.next(bytesMax)
      if (piece) return piece
      const part = this.#parts[0]
      if (!part) return undefined
      const { segment, start, end, firstLsn } = part
      const records = segment.bytes
        ? segment.view(start, end)
        : segment.viewOf(await this.#spill.get(segment.id), start, end)
      this.#cutter.load({ firstLsn, records })
      this.#parts.shift()
    }
  }

  close(): Promise<void> {
    return this.#closed()
  }
}
