import fc from 'fast-check'
import t from 'tap'
import { Histogram } from '../../bench/latency/histogram.ts'

const values = fc.array(fc.oneof(
  fc.nat(300), fc.nat(100_000), fc.integer({ min: 0, max: 0xffff_ffff })
), { minLength: 1, maxLength: 300 })
const percents = fc.oneof(
  fc.constantFrom(50, 90, 99, 99.9, 100), fc.double({ min: 0, max: 100, noNaN: true }))

function filled(all: readonly number[]): Histogram {
  const histogram = new Histogram()
  for (const value of all) histogram.record(value)
  return histogram
}

/** Nearest rank, from all values. */
function exact(all: readonly number[], percent: number): number {
  const sorted = all.toSorted((a, b) => a - b)
  return sorted[Math.max(1, Math.ceil(percent / 100 * all.length * (1 - 1e-12))) - 1] ?? Number.NaN
}

void t.test('percentiles are the exact ones, or larger by 1 part in 64 at most', (t) => {
  fc.assert(fc.property(values, percents, (all, percent) => {
    const wanted = exact(all, percent)
    const found = filled(all).percentile(percent)
    return found >= wanted && found <= wanted + wanted / 64 && (wanted >= 128 || found === wanted)
  }), { numRuns: 1000 })
  t.end()
})

void t.test('a histogram of two is that of all values, and goes through JSON', (t) => {
  fc.assert(fc.property(values, values, (one, two) => {
    const all = filled([...one, ...two])
    const sum = filled(one)
    sum.add(filled(two))
    const pairs = JSON.parse(JSON.stringify(sum.pairs())) as number[]
    const read = Histogram.fromPairs(pairs, sum.max)
    const same = [sum, read].every((other) =>
      other.count === all.count && other.max === all.max && String(other.pairs()) === String(all.pairs())
        && other.percentile(90) === all.percentile(90))
    return same && all.max === Math.max(...one, ...two)
  }))
  t.end()
})

void t.test('a percentile that falls on a rank is the value of that rank', (t) => {
  // Twenty different values, a hundred of each.
  const histogram = filled(Array.from({ length: 2000 }, (_, index) => Math.floor(index / 2) % 20))
  t.equal(histogram.percentile(5), 0)
  t.equal(histogram.percentile(90), 17)
  t.equal(filled(Array.from({ length: 2000 }, (_, index) => index === 1998 ? 50 : index === 1999 ? 60 : 1))
    .percentile(99.9), 1)
  t.end()
})

void t.test('steps rise to all values', (t) => {
  const steps = [...filled([5, 5, 200, 70_000]).steps()]
  t.same(steps, [{ value: 5, upTo: 2 }, { value: 201, upTo: 3 }, { value: 70_000, upTo: 4 }])
  t.end()
})

void t.test('what is out of range, and nothing at all', (t) => {
  const odd = filled([-3, 0.4, 1e12])
  t.equal(odd.percentile(1), 0)
  t.equal(odd.max, 0xffff_ffff)
  t.equal(odd.percentile(100), 0xffff_ffff)
  t.ok(Number.isNaN(new Histogram().percentile(50)))
  t.throws(() => Histogram.fromPairs([1728, 1], 1), RangeError)
  t.throws(() => Histogram.fromPairs([3, 0], 1), RangeError)
  t.end()
})
