/**
 * What happens with a stream, in order, between whoever reads it and one who follows: pieces of it, and
 * events between them. Its end is told at once: what was still waiting is of no use then.
 */
export class Course<T extends object | string> {
  readonly #waiting: (Uint8Array | T)[] = []
  #bytes = 0
  #events = 0
  #wake: (() => void) | undefined
  #failure: Error | undefined

  /** Bytes that wait. */
  get bytes(): number { return this.#bytes }
  get over(): boolean { return this.#failure !== undefined }
  /** Why nothing more is told. */
  get failure(): Error | undefined { return this.#failure }

  add(next: Uint8Array | T): void {
    if (next instanceof Uint8Array) this.#bytes += next.length
    else this.#events++
    this.#waiting.push(next)
    this.#wake?.()
  }

  /** Nothing more is told; only the first reason counts. */
  end(failure: Error): void {
    this.#failure ??= failure
    this.#wake?.()
  }

  /** What comes next. Rejects with why nothing more comes. */
  async next(): Promise<Uint8Array | T> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure
      const next = this.#waiting.shift()
      if (next instanceof Uint8Array) this.#bytes -= next.length
      else if (next !== undefined) this.#events--
      if (next !== undefined) return next
      await this.#added()
    }
  }

  /** Resolves when the next event waits, or more than `bytesMax` bytes do, or nothing more is told. */
  async filled(bytesMax: number): Promise<void> {
    while (!this.over && this.#events === 0 && this.#bytes <= bytesMax) await this.#added()
  }

  #added(): Promise<void> {
    return new Promise(resolve => { this.#wake = resolve })
  }
}
