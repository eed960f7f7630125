import { Blocks, type Block } from '../../base/blocks.ts'
import type { Lsn, OutputHash } from '../ids.ts'

/** Output is kept in blocks of this size, two of the longest reads, of which so many stay for the next. */
const blockBytes = 512 * 1024
const freeBlocksMax = 16

/** One thing read from a guest that its client may not have yet. */
export interface Held<Owner> {
  readonly owner: Owner
  /** Undefined for the end or the reset of the output. Whoever takes it out of the queue uses it at once. */
  readonly bytes: Uint8Array | undefined
  readonly sign: 'data' | 'end' | 'reset'
  /** Hash of the connection's output up to and with these bytes. */
  readonly hash: OutputHash
  /** It may go when everything up to this lsn is safe. */
  readonly barrier: Lsn
}

interface Kept<Owner> extends Held<Owner> {
  readonly block: Block | undefined
}

/**
 * Output in the order in which it was read, over all connections of a guest. Barriers never fall along the
 * queue, because each is the last lsn at the time of reading; so release is popping from the front.
 */
export class HoldQueue<Owner> {
  #blocks = new Blocks(blockBytes, freeBlocksMax)
  #items: (Kept<Owner> | undefined)[] = []
  #head = 0
  #bytes = 0

  get bytes(): number { return this.#bytes }
  get length(): number { return this.#items.length - this.#head }

  /** Keeps a copy. */
  push(held: Held<Owner>): void {
    const { owner, sign, hash, barrier } = held
    if (held.bytes === undefined) {
      this.#items.push({ owner, sign, hash, barrier, bytes: undefined, block: undefined })
      return
    }
    const block = this.#blocks.roomFor(held.bytes.length)
    this.#items.push({ owner, sign, hash, barrier, bytes: block.put(held.bytes), block })
    this.#bytes += held.bytes.length
  }

  /** Takes the first one out if its barrier is at most `safe`. Its bytes are there until the next push. */
  shift(safe: Lsn): Held<Owner> | undefined {
    const first = this.#items[this.#head]
    if (first === undefined || first.barrier > safe) return undefined
    this.#items[this.#head++] = undefined
    if (first.bytes !== undefined) this.#bytes -= first.bytes.length
    if (first.block !== undefined) this.#blocks.release(first.block)
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return first
  }

  /** Takes everything out, in order, with its memory. */
  takeAll(): Held<Owner>[] {
    const all: Held<Owner>[] = []
    for (let i = this.#head; i < this.#items.length; i++) {
      const held = this.#items[i]
      if (held !== undefined) all.push(held)
    }
    this.#items = []
    this.#head = 0
    this.#bytes = 0
    this.#blocks = new Blocks(blockBytes, freeBlocksMax)
    return all
  }
}
