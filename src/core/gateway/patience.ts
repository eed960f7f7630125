/** In milliseconds. The first is for a guest of which nothing is known. */
const patienceMs = { first: 100, least: 4, most: 250 } as const

/**
 * How long what is awaited may take before something else is tried. What guests need for their work differs a
 * thousandfold, so it is learned from what came by itself, as a retransmission timer is (RFC 6298, 2).
 */
export class Patience {
  #mean: number | undefined
  #deviation = 0

  get ms(): number {
    if (this.#mean === undefined) return patienceMs.first
    return Math.min(patienceMs.most, Math.max(patienceMs.least, this.#mean + 4 * this.#deviation))
  }

  /** What comes so soon after something else most likely came of it. */
  get promptMs(): number { return patienceMs.least / 2 + 2 * (this.#mean ?? 0) }

  /** Something came by itself after so many milliseconds. */
  learn(ms: number): void {
    if (this.#mean === undefined) {
      this.#mean = ms
      this.#deviation = ms / 2
    } else {
      this.#deviation = 0.75 * this.#deviation + 0.25 * Math.abs(this.#mean - ms)
      this.#mean = 0.875 * this.#mean + 0.125 * ms
    }
  }
}
