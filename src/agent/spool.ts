/**
 * Pieces of a checkpoint between the engine, which wants to be rid of them, and a link that may be slow.
 * Bounded: who puts waits while it is full, and who takes while it is empty.
 */
export class Spool {
  #bytesMax: number
  #pieces: Uint8Array[] = []
  #bytes = 0
  #ended = false
  #wake: (() => void)[] = []

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number { return this.#bytes }

  /** From now on so much may wait; who puts may go on. */
  widen(bytesMax: number): void {
    this.#bytesMax = bytesMax
    this.#changed()
  }

  /** One piece fits however small the spool is. False when nobody wants more. */
  async put(piece: Uint8Array): Promise<boolean> {
    while (!this.#ended && this.#isFullFor(piece)) await this.#change()
    if (this.#ended) return false
    this.#pieces.push(piece)
    this.#bytes += piece.length
    this.#changed()
    return true
  }

  /** Undefined at the end. */
  async take(): Promise<Uint8Array | undefined> {
    while (!this.#ended && this.#pieces.length === 0) await this.#change()
    const piece = this.#pieces.shift()
    if (piece === undefined) return undefined
    this.#bytes -= piece.length
    this.#changed()
    return piece
  }

  /** Nothing more is put; what is there can still be taken. */
  end(): void {
    this.#ended = true
    this.#changed()
  }

  /** Nothing more is put or taken. */
  drop(): void {
    this.#pieces = []
    this.#bytes = 0
    this.end()
  }

  #isFullFor(piece: Uint8Array): boolean {
    return this.#bytes > 0 && this.#bytes + piece.length > this.#bytesMax
  }

  #change(): Promise<void> {
    return new Promise(resolve => { this.#wake.push(resolve) })
  }

  #changed(): void {
    const waiting = this.#wake
    this.#wake = []
    for (const wake of waiting) wake()
  }
}
