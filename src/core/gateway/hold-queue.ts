import type { Lsn, OutputHash } from '../ids.ts'

/** One thing read from a guest that its client may not have yet. */
export interface Held<Owner> {
  readonly owner: Owner
  /** Undefined for the end or the reset of the output. */
  readonly bytes: Uint8Array | undefined
  readonly sign: 'data' | 'end' | 'reset'
  /** Hash of the connection's output up to and with these bytes. */
  readonly hash: OutputHash
  /** It may go when everything up to this lsn is safe. */
  readonly barrier: Lsn
}

/**
 * Output in the order in which it was read, over all connections of a guest. Barriers never fall along the
 * queue, because each is the last lsn at the time of reading; so release is popping from the front.
 */
export class HoldQueue<Owner> {
  #items: (Held<Owner> | undefined)[] = []
  #head = 0
  #bytes = 0

  get bytes(): number { return this.#bytes }
  get length(): number { return this.#items.length - this.#head }

  push(held: Held<Owner>): void {
    this.#items.push(held)
    this.#bytes += held.bytes?.length ?? 0
  }

  /** Takes the first one out if its barrier is at most `safe`. */
  shift(safe: Lsn): Held<Owner> | undefined {
    const first = this.#items[this.#head]
    if (first === undefined || first.barrier > safe) return undefined
    this.#items[this.#head++] = undefined
    this.#bytes -= first.bytes?.length ?? 0
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return first
  }

  /** Takes everything out, in order. */
  takeAll(): Held<Owner>[] {
    const all: Held<Owner>[] = []
    for (let i = this.#head; i < this.#items.length; i++) {
      const held = this.#items[i]
      if (held !== undefined) all.push(held)
    }
    this.#items = []
    this.#head = 0
    this.#bytes = 0
    return all
  }
}
