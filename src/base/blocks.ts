import { invariant } from './invariant.ts'

/** Views of the most frequent short pieces at a block's start are made once for each length. */
const keptViewBytesMax = 1024

/** Below this, a loop is faster than the call of `set`. */
const loopBytesMax = 48

/** Memory in which pieces lie one after another until nobody holds one of them any more. */
export class Block {
  readonly #bytes: Uint8Array
  readonly #views: (Uint8Array | undefined)[] = []
  #used = 0
  /** Pieces that somebody still needs. */
  #held = 0

  constructor(length: number) {
    this.#bytes = new Uint8Array(length)
  }

  get length(): number { return this.#bytes.length }
  get room(): number { return this.#bytes.length - this.#used }

  /** Copies a piece that fits; it is held until {@link Blocks.release}. */
  put(piece: Uint8Array): Uint8Array {
    const at = this.#used
    const { length } = piece
    const view = at === 0 && length <= keptViewBytesMax
      ? this.#views[length] ??= this.#bytes.subarray(0, length)
      : this.#bytes.subarray(at, at + length)
    if (length <= loopBytesMax) for (let i = 0; i < length; i++) view[i] = piece[i] ?? 0
    else view.set(piece)
    this.#used = at + length
    this.#held++
    return view
  }

  /** One piece is not needed any more. True when that was the last: the memory begins anew. */
  drop(): boolean {
    invariant(this.#held > 0, 'a piece is dropped once')
    this.#held--
    if (this.#held > 0) return false
    this.#used = 0
    return true
  }
}

/**
 * Copies of what lies in a buffer that is used again, in few blocks which are used again themselves. Copying
 * into memory that has just been used is ten times as fast as into fresh memory, which the kernel must give
 * and clear page by page and the garbage collector must find again.
 *
 *     put ──► [ piece │ piece │ piece │ · · · ]   the present block
 *             [ piece │ · · · │ piece │ piece ]   full: free again when its last piece is dropped
 */
export class Blocks {
  readonly #blockBytes: number
  readonly #freeMax: number
  readonly #free: Block[] = []
  #present: Block

  /** Up to `freeMax` blocks that nobody needs are kept. */
  constructor(blockBytes: number, freeMax: number) {
    this.#blockBytes = blockBytes
    this.#freeMax = freeMax
    this.#present = new Block(blockBytes)
  }

  /** A block that has room for `length` bytes; one of its own for a piece longer than a block. */
  roomFor(length: number): Block {
    if (length <= this.#present.room) return this.#present
    if (length > this.#blockBytes) return new Block(length)
    this.#present = this.#free.pop() ?? new Block(this.#blockBytes)
    return this.#present
  }

  /** A piece that was put into `block` is not needed any more. */
  release(block: Block): void {
    if (!block.drop() || block === this.#present || block.length !== this.#blockBytes) return
    if (this.#free.length < this.#freeMax) this.#free.push(block)
  }
}
