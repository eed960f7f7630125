import type { Millis } from '../core/ids.ts'

/** setTimeout takes no more, in milliseconds; a later time is reached in steps. */
const stepMsMax = 2 ** 31 - 1

/** One timer for whatever the core wants next. */
export class Alarm {
  readonly #now: () => Millis
  readonly #ring: (lateMs: number) => void
  #timer: NodeJS.Timeout | undefined
  #at: Millis | undefined

  /** `ring` is told how much later than set it comes, in milliseconds. */
  constructor(now: () => Millis, ring: (lateMs: number) => void) {
    this.#now = now
    this.#ring = ring
  }

  /** Rings at `at`, or not at all; what was set before is forgotten. */
  set(at: Millis | undefined): void {
    if (at === this.#at && this.#timer !== undefined) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#at = at
    if (at === undefined) return
    // A timer may come a fraction of a millisecond early, and the core would find nothing due.
    const waitMs = Math.min(Math.max(0, Math.ceil(at - this.#now())), stepMsMax)
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#ring(Math.max(0, this.#now() - at))
    }, waitMs)
  }
}
