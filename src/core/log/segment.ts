import { invariant } from '../../base/invariant.ts'
import { lsn, noLsn, type Lsn } from '../ids.ts'

/** Shorter epochs are copied: a segment for each would cost more than the copy. In bytes. */
const keepBytesMin = 256 * 1024
/** A view is kept only if it is most of its memory; a small view would hold all of it for little. */
const keepShareMin = 0.75

/**
 * Records of a log that lie one after another in one piece of memory.
 *
 *   arena  │ dropped by a prune │ records │ room │
 *          0                  start      end
 *
 * Its bytes may be evicted to a file; places in it stay what they were.
 */
export class Segment {
  readonly id: number
  #firstLsn: Lsn
  #lastLsn: Lsn
  #arena: Uint8Array | undefined
  #start = 0
  #end: number
  /** Where the file with its evicted bytes begins, in the arena's places. */
  #evictedStart = 0

  private constructor(id: number, arena: Uint8Array, end: number, firstLsn: Lsn, lastLsn: Lsn) {
    this.id = id
    this.#arena = arena
    this.#end = end
    this.#firstLsn = firstLsn
    this.#lastLsn = lastLsn
  }

  /** A segment with room for `bytes`, whose first record will have `firstLsn`. */
  static empty(id: number, bytes: number, firstLsn: Lsn): Segment {
    return new Segment(id, new Uint8Array(bytes), 0, firstLsn, lsn(firstLsn - 1))
  }

  /** A segment of a base. */
  static ofBase(id: number, bytes: Uint8Array): Segment {
    return new Segment(id, bytes, bytes.length, noLsn, noLsn)
  }

  /** A segment made of one long view without a copy; undefined if copying is better. */
  static keeping(id: number, firstLsn: Lsn, records: readonly Uint8Array[]): Segment | undefined {
    const [bytes] = records
    if (!bytes || records.length > 1 || bytes.length < keepBytesMin) return undefined
    if (bytes.length < bytes.buffer.byteLength * keepShareMin) return undefined
    return new Segment(id, bytes, 0, firstLsn, lsn(firstLsn - 1))
  }

  /** 0 for a base. */
  get firstLsn(): Lsn {
    return this.#firstLsn
  }

  get lastLsn(): Lsn {
    return this.#lastLsn
  }

  get start(): number {
    return this.#start
  }

  get end(): number {
    return this.#end
  }

  get length(): number {
    return this.#end - this.#start
  }

  /** Bytes that can be placed. */
  get room(): number {
    return this.#arena ? this.#arena.length - this.#end : 0
  }

  /** Its records; undefined while they are evicted. */
  get bytes(): Uint8Array | undefined {
    return this.#arena?.subarray(this.#start, this.#end)
  }

  get memoryBytes(): number {
    return this.#arena?.buffer.byteLength ?? 0
  }

  /** What lies in memory but is not sealed yet. */
  get unsealed(): Uint8Array {
    invariant(this.#arena !== undefined, 'an unsealed segment is in memory')
    return this.#arena.subarray(this.#end)
  }

  /** Copies `records` behind the end and returns the copy; {@link seal} makes it count. */
  place(records: readonly Uint8Array[], length: number): Uint8Array {
    invariant(this.#arena !== undefined && this.room >= length, 'there is room for the records')
    let at = this.#end
    for (const bytes of records) {
      this.#arena.set(bytes, at)
      at += bytes.length
    }
    return this.#arena.subarray(this.#end, at)
  }

  seal(length: number, lastLsn: Lsn): void {
    this.#end += length
    this.#lastLsn = lastLsn
  }

  /** Part of its records, by places in the arena. */
  view(start: number, end: number): Uint8Array {
    invariant(this.#arena !== undefined, 'the segment is in memory')
    return this.#arena.subarray(start, end)
  }

  /** The same out of what was evicted. */
  viewOf(evicted: Uint8Array, start: number, end: number): Uint8Array {
    return evicted.subarray(start - this.#evictedStart, end - this.#evictedStart)
  }

  /** Drops the first `length` bytes; what is left begins with `firstLsn`. */
  dropFront(length: number, firstLsn: Lsn): void {
    invariant(length < this.length, 'something is left')
    this.#start += length
    this.#firstLsn = firstLsn
  }

  /** Lets go of the memory. `start` is the place of the first byte that was put elsewhere. */
  evict(start: number): void {
    this.#evictedStart = start
    this.#arena = undefined
  }
}
