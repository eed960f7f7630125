import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { Comparison } from '../../../src/core/gateway/comparison.ts'
import { outputHash, outputOffset, type Hash, type OutputHash } from '../../../src/core/ids.ts'

const hash: Hash = (bytes, previous) => outputHash(crc32(bytes, previous))
const of = (bytes: Uint8Array): OutputHash => hash(bytes, outputHash(0))
const place = outputOffset

/** Gives `bytes` to a comparison in pieces that end at `cuts`. */
function feed(comparison: Comparison, bytes: Uint8Array, cuts: readonly number[]): void {
  const ends = [...new Set(cuts.map(cut => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  let at = 0
  for (const end of [...ends, bytes.length]) {
    if (end > at) comparison.push(bytes.slice(at, end))
    at = Math.max(at, end)
  }
}

void t.test('equal output is equal however it is cut, and a flipped bit anywhere is seen', t => {
  fc.assert(fc.property(
    fc.uint8Array({ minLength: 1, maxLength: 60 }), fc.array(fc.nat()), fc.array(fc.nat(), { minLength: 1 }),
    fc.nat(),
    (bytes, cuts, places, flip) => {
      const known = [...new Set(places.map(p => p % (bytes.length + 1)))].sort((a, b) => a - b)
      const run = (output: Uint8Array): Comparison => {
        const comparison = new Comparison(hash, place(0), undefined)
        for (const p of known) comparison.expect(place(p), of(bytes.subarray(0, p)))
        feed(comparison, output, cuts)
        return comparison
      }
      const same = run(bytes)
      const other = bytes.slice()
      const at = flip % bytes.length
      other[at] = (other[at] ?? 0) ^ 1
      const seen = at < (known.at(-1) ?? 0)
      return !same.differs && same.unverifiedBytes === 0 && run(other).differs === seen
    }
  ))
  t.end()
})

void t.test('with an unknown hash at the start, bytes before the first known place stay unverified', t => {
  const bytes = new TextEncoder().encode('0123456789')
  const comparison = new Comparison(hash, place(2), undefined)
  comparison.expect(place(5), of(bytes.subarray(0, 5)))
  comparison.expect(place(8), of(bytes.subarray(0, 8)))
  comparison.push(new TextEncoder().encode('XXX56789'))
  t.equal(comparison.differs, false, 'what nobody knows is not called different')
  t.equal(comparison.unverifiedBytes, 3, 'nor equal')
  t.equal(comparison.regenerated, 10)
  t.same(comparison.takeRest().map(rest => new TextDecoder().decode(rest)), ['89'])
  t.end()
})

void t.test('a known hash at the start makes everything after it comparable', t => {
  const bytes = new TextEncoder().encode('0123456789')
  const comparison = new Comparison(hash, place(2), of(bytes.subarray(0, 2)))
  comparison.push(new TextEncoder().encode('234X'))
  comparison.expect(place(6), of(bytes.subarray(0, 6)))
  t.equal(comparison.differs, true)
  t.end()
})

void t.test('the end of the stream counts one', t => {
  const comparison = new Comparison(hash, place(3), undefined)
  t.equal(comparison.regenerated, 3)
  comparison.finish('ended')
  t.equal(comparison.regenerated, 4)
  t.end()
})
