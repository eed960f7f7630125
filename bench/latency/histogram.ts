/** Buckets per doubling: a value is known to 1 part in 64. */
const bucketsPerDoubling = 64
const precisionBits = 6
const valueMax = 0xffff_ffff
const bucketCount = (32 - precisionBits + 1) * bucketsPerDoubling

/** The buckets of a {@link Histogram} that are not empty: index, count, index, count, ... */
export type HistogramPairs = readonly number[]

/**
 * Counts of whole numbers from 0 to 2^32 - 1 in 1728 buckets, as an HDR histogram has them: exact below 128,
 * and from there on 64 equal buckets for every doubling. Larger values count as the largest.
 *
 * ```
 * value   0 1 2 ... 127 | 128-129 130-131 ... 254-255 | 256-259 ... 508-511 | 512-519 ...
 * bucket  0 1 2 ... 127 | 128     129     ... 191     | 192     ... 255     | 256     ...
 * ```
 */
export class Histogram {
  readonly #counts = new Float64Array(bucketCount)
  #count = 0
  #max = 0

  get count(): number { return this.#count }
  /** The largest value, exactly as it was given. */
  get max(): number { return this.#max }

  /** Fractions are rounded, negative values count as 0. */
  record(value: number): void {
    const whole = Math.min(valueMax, Math.max(0, Math.round(value)))
    const bucket = bucketOf(whole)
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.#count++
    if (whole > this.#max) this.#max = whole
  }

  /**
   * The smallest recorded value that at least `percent` of all values do not exceed, too large by at most
   * 1 part in 64. NaN while nothing is recorded.
   */
  percentile(percent: number): number {
    if (this.#count === 0) return Number.NaN
    // 99.9 % of 2000 is 1998, and not the little more that the product of these numbers comes to.
    const rank = Math.max(1, Math.ceil(percent / 100 * this.#count * (1 - 1e-12)))
    let seen = 0
    for (const [bucket, count] of this.#counts.entries()) {
      seen += count
      if (seen >= rank) return Math.min(this.#max, lastOf(bucket))
    }
    return this.#max
  }

  add(other: Histogram): void {
    for (const [bucket, count] of other.#counts.entries()) {
      this.#counts[bucket] = (this.#counts[bucket] ?? 0) + count
    }
    this.#count += other.#count
    this.#max = Math.max(this.#max, other.#max)
  }

  pairs(): HistogramPairs {
    return [...this.#counts.entries()].filter(([, count]) => count > 0).flat()
  }

  /** `max` is not in the pairs: the last bucket says it only to 1 part in 64. */
  static fromPairs(pairs: HistogramPairs, max: number): Histogram {
    const histogram = new Histogram()
    for (let at = 0; at + 1 < pairs.length; at += 2) {
      const [bucket = -1, count = 0] = pairs.slice(at, at + 2)
      if (!(Number.isInteger(bucket) && bucket >= 0 && bucket < bucketCount && count > 0)) {
        throw new RangeError(`no histogram has ${count} values in bucket ${bucket}`)
      }
      histogram.#counts[bucket] = count
      histogram.#count += count
    }
    histogram.#max = max
    return histogram
  }

  /** Each bucket that is not empty: its last value, and how many values lie in it or below. */
  *steps(): Generator<{ readonly value: number, readonly upTo: number }> {
    let seen = 0
    for (const [bucket, count] of this.#counts.entries()) {
      if (count === 0) continue
      seen += count
      yield { value: Math.min(this.#max, lastOf(bucket)), upTo: seen }
    }
  }
}

function bucketOf(value: number): number {
  if (value < 2 * bucketsPerDoubling) return value
  const shift = 31 - Math.clz32(value) - precisionBits
  return shift * bucketsPerDoubling + (value >>> shift)
}

/** The largest value in a bucket. */
function lastOf(bucket: number): number {
  if (bucket < 2 * bucketsPerDoubling) return bucket
  const shift = Math.floor(bucket / bucketsPerDoubling) - 1
  return (bucket - shift * bucketsPerDoubling + 1) * 2 ** shift - 1
}
