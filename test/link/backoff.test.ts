import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { backoffMs, defaultBackoff } from '../../src/link/backoff.ts'

void t.test('it doubles up to its limit', t => {
  const waits = [1, 2, 3, 4, 5, 6, 7, 8, 1000].map(attempt => backoffMs(defaultBackoff, attempt, 0))
  t.strictSame(waits, [25, 50, 100, 200, 400, 800, 1000, 1000, 1000])
  t.equal(backoffMs(defaultBackoff, 1, 0.5), 37.5)
  t.end()
})

void t.test('it is never more than its limit nor less than half of what it grew to', t => {
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
  fc.assert(fc.property(fc.integer({ min: 1, max: 5000 }), random, (attempt, share) => {
    const wait = backoffMs(defaultBackoff, attempt, share)
    assert.ok(wait <= defaultBackoff.lastMs && wait >= defaultBackoff.firstMs / 2)
    assert.ok(backoffMs(defaultBackoff, attempt + 1, share) >= wait)
  }))
  t.pass('in 100 cases')
  t.end()
})

void t.test('there is no attempt before the first', t => {
  t.throws(() => backoffMs(defaultBackoff, 0, 0), { name: 'InvariantError' })
  t.throws(() => backoffMs(defaultBackoff, 1, 1), { name: 'InvariantError' })
  t.end()
})
