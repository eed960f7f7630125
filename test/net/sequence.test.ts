import fc from 'fast-check'
import t from 'tap'
import { placeNearest, placeUpTo, sequenceOf, serialDifference } from '../../src/net/sequence.ts'

const sequence = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const place = fc.integer({ min: 0, max: 2 ** 45 })

void t.test('a place is found again from anywhere near, over any number of wraps', (t) => {
  // Exactly half way round either direction is as near (RFC 1982, 3.2).
  const near = fc.integer({ min: 1 - 2 ** 31, max: 2 ** 31 - 1 })
  fc.assert(fc.property(sequence, place, near, (base, at, off) => {
    const expected = Math.max(0, at + off)
    return placeNearest(base, sequenceOf(base, at), expected) === at
  }))
  t.end()
})

void t.test('or from a last place that is less than 4 GiB further on', (t) => {
  fc.assert(fc.property(sequence, place, fc.integer({ min: 0, max: 2 ** 32 - 1 }), (base, at, tail) =>
    placeUpTo(base, sequenceOf(base, at), at + tail) === at))
  t.end()
})

void t.test('differences are signed, and turn over half way round', (t) => {
  t.equal(serialDifference(1, 2 ** 32 - 1), 2)
  t.equal(serialDifference(2 ** 32 - 1, 1), -2)
  t.equal(serialDifference(2 ** 31, 0), -(2 ** 31))
  fc.assert(fc.property(sequence, fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), (from, by) =>
    serialDifference((from + by + 2 ** 32) % 2 ** 32, from) === by))
  t.equal(sequenceOf(2 ** 32 - 1, 2 ** 33 + 1), 0)
  t.end()
})
