/**
 * The guest's only source of chance (xorshift32, Marsaglia 2003). Its whole state is one number that is part
 * of the snapshot, so that a restored guest draws what the first one would have drawn.
 */
export class Random {
  /** Never 0, from which the sequence would not move. */
  state: number

  constructor(state = 0x9e3779b9) {
    this.state = state
  }

  /** A whole number from 0 up to, not including, `limit`. */
  below(limit: number): number {
    let x = this.state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.state = x >>> 0
    return Math.floor(this.state / 0x1_0000_0000 * limit)
  }
}
