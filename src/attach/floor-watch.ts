import type { TcpSide } from './tcp-side.ts'

/** How often acknowledgements are asked for, in milliseconds ... */
const everyMs = 20
/** ... and for how many sides at a time. One costs about a microsecond. */
const sliceSides = 512

/**
 * Asks the kernel now and then what the guest has acknowledged, of those sides only that were given input
 * that it has not. The floors that a mark logs were so asked for before it: while the guest stands still
 * nothing more is acknowledged, and nothing is left to ask.
 */
export class FloorWatch {
  readonly #told: (side: TcpSide, floor: number) => void
  /** In the order in which they are asked for. */
  readonly #waiting = new Set<TcpSide>()
  #timer: NodeJS.Timeout | undefined

  constructor(told: (side: TcpSide, floor: number) => void) {
    this.#told = told
  }

  add(side: TcpSide): void {
    this.#waiting.add(side)
    // Whoever waits keeps the process alive by its socket.
    this.#timer ??= setInterval(() => this.#look(), everyMs).unref()
  }

  remove(side: TcpSide): void {
    this.#waiting.delete(side)
  }

  close(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#waiting.clear()
  }

  #look(): void {
    if (this.#waiting.size === 0) this.close()
    let left = Math.min(this.#waiting.size, sliceSides)
    for (const side of this.#waiting) {
      if (left-- === 0) return
      const floor = side.floor()
      this.#waiting.delete(side)
      if (floor === undefined) continue
      // Those that still wait go to the end of the row.
      if (floor < side.places.input) this.#waiting.add(side)
      this.#told(side, floor)
    }
  }
}
