import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { TailgateError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import {
  checkpointId, lsn, noLsn, type CheckpointId, type Generation, type HistoryId, type Lsn
} from '../core/ids.ts'
import {
  FileKind, blockHeaderBytes, blockRecordsBytesMax, encodeBlockHeader, fileHeaderBytes, type FileHeader
} from '../core/log/block-format.ts'
import { connectionBytesEstimate } from '../core/log/connection-index.ts'
import type { LogBooks } from '../core/log/log-books.ts'
import type { Survivors } from '../core/log/survivors.ts'
import { createFile, diskHash, fileName, type DiskFile } from './disk-files.ts'
import { writeBase } from './disk-prune.ts'
import { recover, type Recovery, type TornReport } from './disk-recovery.ts'
import { DiskTailReader } from './disk-tail.ts'
import { diskError, nodeFileSystem, type FileSystem, type LogFile } from './file-system.ts'
import type { LogStore, Mark, TailReader } from './log-store.ts'

export interface DiskLogOptions {
  /** The log's own directory; made if it is not there. */
  readonly directory: string
  /** What the log's files may take, in bytes. A prune takes more for as long as it runs. */
  readonly logBytes: number
  /** A file of records is not added to beyond this length, in bytes. */
  readonly fileBytes?: number
}

/** What opening found and mended. */
export interface RecoveryReport {
  readonly lastLsn: Lsn
  readonly torn: TornReport | undefined
  /** Files that a crash had left half made, or had kept from being removed. */
  readonly removed: readonly string[]
}

const fileBytesDefault = 32 << 20
/** Appends gather into one write up to this length, in bytes. */
const roundBytesMax = 8 << 20
/** How long the pieces of a base are, in bytes. */
const pieceBytes = 1 << 20

interface Pending {
  readonly firstLsn: Lsn
  readonly lastLsn: Lsn
  readonly records: readonly Uint8Array[]
  readonly bytes: number
  readonly payload: number
  readonly hasMark: boolean
  resolve(reached: Lsn): void
  reject(error: unknown): void
}

/**
 * The log with `durability: disk`: acknowledged when it is on the disk.
 *
 * Group commit: appends that come while a write is under way gather into the next, which is one block and one
 * writev that returns when it is durable. Because a block is durable before the next is written, a power loss
 * can tear only the last.
 *
 * `lastLsn` is the last that was accepted; what is durable is what the promises of {@link append} say. After
 * a refusal by the disk the log holds what had been acknowledged, and takes nothing until {@link begin}.
 */
export class DiskLog implements LogStore {
  readonly #directory: string
  readonly #logBytes: number
  readonly #fileBytes: number
  readonly #files: FileSystem
  readonly #books: LogBooks
  #base: DiskFile | undefined
  #chain: DiskFile[]
  /** The last file of the chain, open for writing. */
  #active: LogFile | undefined
  #sequence: number
  /** A file ends behind a mark, so that a prune to it leaves little that is not needed. */
  #isFileFull = false
  /** Everything up to here is durable. */
  #durable: Lsn
  #queue: Pending[] = []
  #round: Promise<void> | undefined
  /** Records accepted that are not durable, and their sizes. */
  #ahead = { records: 0, payload: 0, bytes: 0 }
  /** Begin, prune and close, one after another. */
  #work: Promise<void> = Promise.resolve()
  /** Grows at each {@link begin}: a prune of an earlier history gives up. */
  #age = 0
  readonly #readers = new Set<DiskTailReader>()
  /** Files that are no part of the log any more, but which a reader may need. */
  #garbage: DiskFile[] = []
  readonly recovery: RecoveryReport

  private constructor(options: DiskLogOptions, files: FileSystem, recovery: Recovery) {
    this.#directory = options.directory
    this.#logBytes = options.logBytes
    this.#fileBytes = options.fileBytes ?? fileBytesDefault
    this.#files = files
    this.#books = recovery.books
    this.#base = recovery.base
    this.#chain = recovery.chain
    this.#sequence = recovery.nextSequence
    this.#durable = recovery.books.lastLsn
    this.recovery = { lastLsn: this.#durable, torn: recovery.torn, removed: recovery.leftovers }
  }

  /**
   * Opens the log in a directory, completing or undoing what a crash had interrupted. What it then holds is
   * durable. Rejects with E_LOG_CORRUPT, E_VERSION and E_DISK.
   */
  static async open(options: DiskLogOptions, files: FileSystem = nodeFileSystem): Promise<DiskLog> {
    const { directory } = options
    try {
      await files.makeDirectory(directory)
      const recovery = await recover(files, directory)
      const log = new DiskLog(options, files, recovery)
      await log.#mend(recovery)
      return log
    } catch (error) {
      throw diskError('opening', directory, error)
    }
  }

  get history(): HistoryId {
    return this.#books.history
  }

  get generation(): Generation {
    return this.#books.generation
  }

  get lastLsn(): Lsn {
    return this.#books.failure ? this.#durable : this.#books.lastLsn
  }

  get memoryBytes(): number {
    return this.#ahead.bytes + this.#books.index.size * connectionBytesEstimate
  }

  get diskBytes(): number {
    const files = [...(this.#base ? [this.#base] : []), ...this.#chain, ...this.#garbage]
    return files.reduce((sum, file) => sum + file.length, 0)
  }

  get tailBytes(): number {
    return this.#books.tailBytes - this.#ahead.payload
  }

  get tailRecords(): number {
    return this.#books.tailRecords - this.#ahead.records
  }

  get connections(): number {
    return this.#books.connections
  }

  get base(): Mark | undefined {
    return this.#books.base
  }

  markOf(checkpoint: CheckpointId): Lsn | undefined {
    const found = this.#books.markOf(checkpoint)
    return found !== undefined && found <= this.#durable ? found : undefined
  }

  begin(history: HistoryId, generation: Generation, firstLsn: Lsn): Promise<void> {
    this.#age++
    this.#books.fail(new TailgateError('E_STALE', 'a new history is about to begin'))
    this.#endReaders()
    return this.#inTurn(() => this.#begin(history, generation, firstLsn))
  }

  append(firstLsn: Lsn, lastLsn: Lsn, records: readonly Uint8Array[]): Promise<Lsn> {
    return new Promise((resolve, reject) => {
      this.#books.expect(firstLsn, lastLsn)
      const bytes = records.reduce((sum, part) => sum + part.length, 0)
      this.#checkRoom(bytes)
      const before = this.#books.index.count.payload
      this.#books.follow(firstLsn, lastLsn, oneView(records))
      const payload = this.#books.index.count.payload - before
      const hasMark = (this.#books.index.newestMark?.lsn ?? 0) >= firstLsn
      this.#ahead.records += lastLsn - firstLsn + 1
      this.#ahead.payload += payload
      this.#ahead.bytes += bytes
      this.#queue.push({ firstLsn, lastLsn, records, bytes, payload, hasMark, resolve, reject })
      this.#round ??= this.#write()
    })
  }

  prune(mark: Mark): Promise<void> {
    const age = this.#age
    return this.#inTurn(() => this.#prune(mark, age))
  }

  tail(): TailReader {
    const start = lsn((this.#books.base?.lsn ?? 0) + 1)
    const parts = [...(this.#base ? [this.#base] : []), ...this.#chain]
      .map(file => ({ file, length: file.length }))
    const reader = new DiskTailReader(this.#files, parts, start, () => {
      this.#readers.delete(reader)
      return this.#sweep()
    })
    this.#readers.add(reader)
    return reader
  }

  async close(): Promise<void> {
    this.#age++
    this.#endReaders()
    await this.#inTurn(async () => {
      this.#books.fail(new TailgateError('E_STALE', 'the log is closed'))
      await this.#round
      await this.#active?.close()
      this.#active = undefined
    })
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const run = this.#work.then(work)
    this.#work = run.catch(() => undefined)
    return run
  }

  /** Does what {@link recover} found to do. What could be read need not have been durable: it is made so. */
  async #mend(recovery: Recovery): Promise<void> {
    const { chain, torn } = recovery
    for (const path of recovery.leftovers) await this.#files.unlink(path)
    const newest = chain.at(-1)
    if (torn && torn.file !== newest?.path) await this.#files.unlink(torn.file)
    if (newest) {
      this.#active = await this.#files.open(newest.path, 'write')
      if (torn?.file === newest.path) await this.#active.truncate(newest.length)
      await this.#active.sync()
    }
    await this.#files.syncDirectory(this.#directory)
  }

  #checkRoom(bytes: number): void {
    const taken = this.diskBytes - this.#freedByRotation() + this.memoryBytes + blockHeaderBytes
    if (bytes > blockRecordsBytesMax) {
      throw new TailgateError('E_LOG_FULL', `an epoch of ${bytes} bytes is more than a block can hold`)
    }
    if (taken + bytes <= this.#logBytes) return
    throw new TailgateError('E_LOG_FULL', `the log has reached its limit of ${this.#logBytes} bytes`,
      { context: { bytes: taken, more: bytes, limit: this.#logBytes } })
  }

  /**
   * Writes what is queued, block by block, until nothing is. It says that it has ended in the same turn in
   * which it finds nothing more, so that an append never waits for a round that does not come.
   */
  async #write(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#takeBatch()
      const [first] = batch
      const last = batch.at(-1)
      invariant(first !== undefined && last !== undefined, 'a batch holds an append')
      try {
        await this.#writeBlock(first.firstLsn, last.lastLsn, batch.flatMap(one => one.records))
      } catch (error) {
        await this.#writeFailed(error, batch)
        break
      }
      this.#durable = last.lastLsn
      for (const one of batch) {
        this.#isFileFull ||= one.hasMark
        this.#ahead.records -= one.lastLsn - one.firstLsn + 1
        this.#ahead.payload -= one.payload
        this.#ahead.bytes -= one.bytes
        one.resolve(last.lastLsn)
      }
    }
    this.#round = undefined
  }

  #takeBatch(): Pending[] {
    let bytes = 0
    let count = 0
    for (const one of this.#queue) {
      bytes += one.bytes
      if (count > 0 && bytes > roundBytesMax) break
      count++
    }
    return this.#queue.splice(0, count)
  }

  async #writeBlock(firstLsn: Lsn, lastLsn: Lsn, records: readonly Uint8Array[]): Promise<void> {
    const newest = this.#chain.at(-1)
    invariant(newest !== undefined, 'a history that takes records has a file')
    if (this.#isFileFull || newest.length >= this.#fileBytes) await this.#rotate(firstLsn)
    const file = this.#chain.at(-1)
    invariant(file !== undefined && this.#active !== undefined, 'the newest file is open')
    const header = encodeBlockHeader(firstLsn, lastLsn, records, file.seed, diskHash)
    await this.#active.writeDurably([header, ...records])
    file.length += records.reduce((sum, part) => sum + part.length, header.length)
    file.lastLsn = lastLsn
  }

  async #rotate(firstLsn: Lsn): Promise<void> {
    const { history, generation } = this.#books
    const sequence = this.#sequence++
    const header = { kind: FileKind.next, history, generation, firstLsn, checkpoint: checkpointId(0) }
    const made = await createFile(this.#files, this.#directory, sequence, 'log', header)
    const before = this.#active
    this.#active = made.handle
    this.#chain.push({
      sequence, path: made.path, header, seed: made.seed, length: fileHeaderBytes, lastLsn: lsn(firstLsn - 1)
    })
    await this.#files.syncDirectory(this.#directory)
    await before?.close()
    this.#isFileFull = false
    this.#dropUnneeded()
    await this.#sweep()
  }

  /**
   * Nothing is taken any more. What of the refused write may be in the file is cut off, if the disk still
   * can: after a failed fdatasync it could be readable without being durable.
   */
  async #writeFailed(error: unknown, batch: readonly Pending[]): Promise<void> {
    const newest = this.#chain.at(-1)
    const failure = diskError('writing to', newest?.path ?? this.#directory, error)
    this.#books.fail(failure)
    this.#books.index.forgetMarksAfter(this.#durable)
    const refused = [...batch, ...this.#queue]
    this.#queue = []
    try {
      if (newest) await this.#active?.truncate(newest.length)
      await this.#active?.sync()
    } catch {
      // The disk refuses this as well. The checksums tell what is whole when the log is opened.
    }
    for (const one of refused) one.reject(failure)
  }

  async #begin(history: HistoryId, generation: Generation, firstLsn: Lsn): Promise<void> {
    await this.#round
    const header = { kind: FileKind.begin, history, generation, firstLsn, checkpoint: checkpointId(0) }
    try {
      const file = await this.#beginFile(header)
      this.#garbage.push(...(this.#base ? [this.#base] : []), ...this.#chain)
      this.#base = undefined
      this.#chain = [file]
      this.#isFileFull = false
      await this.#sweep()
    } catch (error) {
      const failure = diskError('beginning a history in', this.#directory, error)
      this.#books.fail(failure)
      throw failure
    }
    this.#books.begin(history, generation, firstLsn)
    this.#durable = noLsn
    this.#ahead = { records: 0, payload: 0, bytes: 0 }
  }

  /** Makes the first file of a history and opens it. From the moment it has its name, it is the log. */
  async #beginFile(header: FileHeader): Promise<DiskFile> {
    const sequence = this.#sequence++
    const path = join(this.#directory, fileName(sequence, 'log'))
    const made = await createFile(this.#files, this.#directory, sequence, 'new', header)
    try {
      await this.#files.rename(made.path, path)
      await this.#files.syncDirectory(this.#directory)
    } catch (error) {
      await made.handle.close().catch(() => undefined)
      await this.#removeFailed(sequence, path)
      throw error
    }
    await this.#active?.close().catch(() => undefined)
    this.#active = made.handle
    const { firstLsn } = header
    const { seed } = made
    return { sequence, path, header, seed, length: fileHeaderBytes, lastLsn: lsn(firstLsn - 1) }
  }

  async #prune(mark: Mark, age: number): Promise<void> {
    if (this.base?.checkpoint === mark.checkpoint && this.base.lsn === mark.lsn) return
    this.#checkAge(age)
    if (this.markOf(mark.checkpoint) !== mark.lsn) {
      const what = `the log holds no mark of checkpoint ${mark.checkpoint} at lsn ${mark.lsn}`
      throw new TailgateError('E_STALE', what, { context: { ...mark } })
    }
    const survivors = this.#books.survivors(mark, pieceBytes)
    const { history, generation } = this.#books
    const { checkpoint, lsn: firstLsn } = mark
    const header: FileHeader = { kind: FileKind.base, history, generation, firstLsn, checkpoint }
    const sequence = this.#sequence++
    const path = join(this.#directory, fileName(sequence, 'base'))
    try {
      const made = await createFile(this.#files, this.#directory, sequence, 'new', header)
      const start = lsn((this.base?.lsn ?? 0) + 1)
      const chain = this.#chain.filter(file => file.lastLsn >= start)
      const sources = [...(this.#base ? [this.#base] : []), ...chain]
      const length = await writeBase(made.handle, made.seed, mark, survivors, {
        files: this.#files, sources, start, pause: () => this.#slice(age)
      }).finally(() => made.handle.close())
      this.#checkAge(age)
      await this.#files.rename(made.path, path)
      await this.#files.syncDirectory(this.#directory)
      this.#checkAge(age)
      const base = { sequence, path, header, seed: made.seed, length, lastLsn: mark.lsn }
      this.#replaceBase(base, mark, survivors)
      await this.#sweep()
    } catch (error) {
      if (this.#base?.path !== path) await this.#removeFailed(sequence, path)
      throw diskError('pruning', this.#directory, error)
    }
  }

  async #slice(age: number): Promise<void> {
    await setImmediate()
    this.#checkAge(age)
  }

  #checkAge(age: number): void {
    if (age !== this.#age) throw new TailgateError('E_STALE', 'the history ended while its log was pruned')
  }

  #replaceBase(base: DiskFile, mark: Mark, survivors: Survivors): void {
    if (this.#base) this.#garbage.push(this.#base)
    this.#base = base
    this.#books.prunedTo(mark, survivors)
    this.#dropUnneeded()
  }

  /** Takes files that end before the base's mark out of the log; the newest stays, since it is added to. */
  #dropUnneeded(): void {
    const mark = this.#books.base?.lsn ?? noLsn
    const newest = this.#chain.at(-1)
    const isNeeded = (file: DiskFile): boolean => file === newest || file.lastLsn > mark
    this.#garbage.push(...this.#chain.filter(file => !isNeeded(file)))
    this.#chain = this.#chain.filter(isNeeded)
  }

  /** What the next write will free, because it begins a file and the one before it is not needed. */
  #freedByRotation(): number {
    const newest = this.#chain.at(-1)
    const mark = this.#books.base?.lsn ?? noLsn
    return newest && this.#isFileFull && newest.lastLsn <= mark ? newest.length : 0
  }

  /** A file that did not become the log's. What stays is removed when the log is opened again. */
  async #removeFailed(sequence: number, path: string): Promise<void> {
    await this.#files.unlink(join(this.#directory, fileName(sequence, 'new'))).catch(() => undefined)
    await this.#files.unlink(path).catch(() => undefined)
  }

  /** Removes files that are no part of the log, unless somebody reads. */
  async #sweep(): Promise<void> {
    if (this.#readers.size > 0) return
    const garbage = this.#garbage
    this.#garbage = []
    for (const file of garbage) {
      await this.#files.unlink(file.path)
        .catch((error: unknown) => { throw diskError('removing', file.path, error) })
    }
  }

  #endReaders(): void {
    for (const reader of this.#readers) reader.end()
    this.#readers.clear()
  }
}

/** Records as one view, for a look at them; copied only if they came in several. */
function oneView(records: readonly Uint8Array[]): Uint8Array {
  const [only] = records
  return records.length === 1 && only ? only : Buffer.concat(records)
}
