import { TailgateError } from '../../base/errors.ts'
import { invariant } from '../../base/invariant.ts'
import { lsn, type CheckpointId, type Generation, type HistoryId, type Lsn } from '../ids.ts'
import { connectionBytesEstimate, type LogMark } from './connection-index.ts'
import { LogBooks } from './log-books.ts'
import { PieceCutter, type Piece } from './pieces.ts'
import { Segment } from './segment.ts'
import type { Survivors } from './survivors.ts'

export interface TailLogLimits {
  /** How much memory is taken at a time for records. */
  readonly segmentBytes: number
  /** What the records may take in all, with {@link connectionBytesEstimate} for each connection. */
  readonly logBytes: number
}

/** A part of a segment, as it was when a walk over the tail began. */
export interface TailPart {
  readonly segment: Segment
  readonly start: number
  readonly end: number
  readonly firstLsn: Lsn
}

/**
 * The log in memory: segments of records, the base's first.
 *
 *   base: ADOPT, unacknowledged input │ records after the mark, or from the history's first lsn on
 *
 * The bytes of a segment may be put elsewhere ({@link TailLog.evict}) by a shell that has a disk; without one
 * it is a whole log store, as the simulator uses it.
 */
export class TailLog {
  readonly #limits: TailLogLimits
  readonly #books = new LogBooks()
  #base: Segment[] = []
  #segments: Segment[] = []
  #job: PruneJob | undefined
  #nextId = 1
  #memoryBytes = 0
  #recordBytes = 0

  constructor(limits: TailLogLimits) {
    this.#limits = limits
  }

  /** Whose log it is, where it stands and what a failover would replay. */
  get books(): LogBooks {
    return this.#books
  }

  get lastLsn(): Lsn {
    return this.#books.lastLsn
  }

  get base(): LogMark | undefined {
    return this.#books.base
  }

  /** The log's segments in order, a prune's new ones last. */
  * segments(): IterableIterator<Segment> {
    yield* this.#base
    yield* this.#segments
    if (this.#job) yield* this.#job.base
  }

  /** Memory taken, in bytes. */
  get memoryBytes(): number {
    return this.#memoryBytes + this.#books.index.size * connectionBytesEstimate
  }

  /** Length of all records held, wherever they are, in bytes. */
  get recordBytes(): number {
    return this.#recordBytes
  }

  /** Forgets everything and begins a history. A prune under way ends with E_STALE. */
  begin(history: HistoryId, generation: Generation, firstLsn: Lsn): void {
    this.#job?.cancel()
    this.#job = undefined
    this.#base = []
    this.#segments = []
    this.#recount()
    this.#books.begin(history, generation, firstLsn)
  }

  /**
   * Takes the records `firstLsn`..`lastLsn`. Throws E_LOG_FULL (nothing changed) and E_LOG_CORRUPT (as
   * {@link LogBooks.follow}). The views may be kept: nobody may write to them any more.
   */
  append(firstLsn: Lsn, lastLsn: Lsn, records: readonly Uint8Array[]): void {
    this.#books.expect(firstLsn, lastLsn)
    const length = records.reduce((sum, bytes) => sum + bytes.length, 0)
    const taken = this.#recordBytes + this.#books.index.size * connectionBytesEstimate
    if (taken + length > this.#limits.logBytes) {
      throw new TailgateError('E_LOG_FULL', `the log has reached its limit of ${this.#limits.logBytes} bytes`,
        { context: { bytes: taken, limit: this.#limits.logBytes } })
    }
    const kept = Segment.keeping(this.#nextId, firstLsn, records)
    const segment = kept ?? this.#withRoom(length, firstLsn)
    this.#books.follow(firstLsn, lastLsn, kept ? kept.unsealed : segment.place(records, length))
    if (segment !== this.#segments.at(-1)) {
      this.#segments.push(segment)
      this.#memoryBytes += segment.memoryBytes
      this.#nextId++
    }
    segment.seal(length, lastLsn)
    this.#recordBytes += length
  }

  /** Whether an append may still add to `segment`. */
  isOpen(segment: Segment): boolean {
    return segment === this.#segments.at(-1) && segment.room > 0
  }

  /** Lets go of a segment's memory, whose bytes from the place `start` on were put elsewhere. */
  evict(segment: Segment, start: number): void {
    segment.evict(start)
    this.#recount()
  }

  markOf(checkpoint: CheckpointId): Lsn | undefined {
    return this.#books.markOf(checkpoint)
  }

  /**
   * Begins a prune to `mark`; only one at a time. The log changes when the job is through. Throws E_STALE for
   * a mark that the log does not hold.
   */
  prune(mark: LogMark): PruneJob {
    invariant(this.#job === undefined, 'one prune at a time')
    const survivors = this.#books.survivors(mark, this.#limits.segmentBytes)
    const sources = [...this.#base, ...this.#segments.filter(one => one.firstLsn <= mark.lsn)]
    const job = new PruneJob(survivors, sources, bytes => this.#newBase(bytes), () => {
      this.#pruned(mark, survivors, job)
    })
    this.#job = job
    return job
  }

  /** Gives up the prune under way, if one is: the log stays as it was. */
  cancelPrune(): void {
    this.#job?.cancel()
    this.#job = undefined
    this.#recount()
  }

  /** The tail as it is now, part by part. Stays right while the log goes on or is pruned. */
  tailParts(): TailPart[] {
    return [...this.#base, ...this.#segments].map(segment => ({
      segment, start: segment.start, end: segment.end, firstLsn: segment.firstLsn
    }))
  }

  /** Walks over the tail, in pieces of at most `bytesMax` bytes unless one record is longer. */
  * tail(bytesMax: number): Generator<Piece, void> {
    const cutter = new PieceCutter()
    for (const { segment, start, end, firstLsn } of this.tailParts()) {
      cutter.load({ firstLsn, records: segment.view(start, end) })
      for (let piece = cutter.next(bytesMax); piece; piece = cutter.next(bytesMax)) yield piece
    }
  }

  #withRoom(length: number, firstLsn: Lsn): Segment {
    const last = this.#segments.at(-1)
    if (last && last.room >= length) return last
    return Segment.empty(this.#nextId, Math.max(this.#limits.segmentBytes, length), firstLsn)
  }

  #pruned(mark: LogMark, survivors: Survivors, job: PruneJob): void {
    this.#job = undefined
    this.#base = job.base
    this.#segments = this.#segments.filter(segment => segment.lastLsn > mark.lsn)
    const first = this.#segments[0]
    if (first && first.firstLsn <= mark.lsn) first.dropFront(survivors.markEnd, lsn(mark.lsn + 1))
    this.#books.prunedTo(mark, survivors)
    this.#recount()
  }

  #newBase(bytes: Uint8Array): Segment {
    const segment = Segment.ofBase(this.#nextId++, bytes)
    this.#memoryBytes += segment.memoryBytes
    return segment
  }

  #recount(): void {
    this.#memoryBytes = 0
    this.#recordBytes = 0
    for (const segment of this.segments()) {
      this.#memoryBytes += segment.memoryBytes
      this.#recordBytes += segment.length
    }
  }
}

/**
 * A prune under way, done in slices between which the log may be appended to. {@link step} until it says
 * `done`; when it says `wants`, the bytes of {@link wanted} are elsewhere and must be given to {@link supply}
 * first.
 */
export class PruneJob {
  readonly #survivors: Survivors
  readonly #sources: Segment[]
  readonly #make: (bytes: Uint8Array) => Segment
  readonly #done: () => void
  readonly #base: Segment[] = []
  #adopted = false
  #loaded = false
  #isCancelled = false

  constructor(
    survivors: Survivors, sources: Segment[], make: (bytes: Uint8Array) => Segment, done: () => void
  ) {
    this.#survivors = survivors
    this.#sources = sources
    this.#make = make
    this.#done = done
  }

  /** The new base as far as it is written. */
  get base(): Segment[] {
    return this.#base
  }

  /** The segment whose bytes the next step needs. */
  get wanted(): Segment | undefined {
    return this.#sources[0]
  }

  cancel(): void {
    this.#isCancelled = true
  }

  /** Works on up to `recordsMax` records. Throws E_STALE if the history has ended meanwhile. */
  step(recordsMax: number): 'more' | 'wants' | 'done' {
    if (this.#isCancelled) throw new TailgateError('E_STALE', 'the history ended while its log was pruned')
    if (!this.#adopted) {
      this.#adopted = this.#survivors.adopt(recordsMax)
      return this.#drain()
    }
    const source = this.#sources[0]
    invariant(source !== undefined, 'the mark is in one of the segments')
    if (!this.#loaded) {
      const bytes = source.bytes
      if (!bytes) return 'wants'
      this.supply(bytes)
    }
    if (this.#survivors.scan(recordsMax)) {
      this.#loaded = false
      this.#sources.shift()
    }
    return this.#drain()
  }

  /** The content of {@link wanted}, which the log had put elsewhere. */
  supply(bytes: Uint8Array): void {
    const source = this.#sources[0]
    invariant(source?.length === bytes.length, 'the bytes of the wanted segment')
    this.#survivors.load(bytes, source.firstLsn)
    this.#loaded = true
  }

  #drain(): 'more' | 'done' {
    for (const bytes of this.#survivors.drain()) this.#base.push(this.#make(bytes))
    if (!this.#survivors.reached) return 'more'
    this.#done()
    return 'done'
  }
}
