import fc from 'fast-check'
import t from 'tap'
import { TailgateError } from '../../src/base/errors.ts'
import {
  encodeAnswer, encodeGreeting, PlaceKind, PlaceReader, PlaceWriter, takeAnswer, takeGreeting,
  type Answer, type Greeting
} from '../../src/guest/wire.ts'

const number = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const incarnation = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const plain = { noNullPrototype: true }
const greeting: fc.Arbitrary<Greeting> = fc.oneof(
  fc.record({ kind: fc.constant('open' as const), incarnation, connection: number }, plain),
  fc.record({
    kind: fc.constant('attach' as const), incarnation, connection: number, received: number
  }, plain),
  fc.record({ kind: fc.constant('control' as const), incarnation }, plain)
)
const answer: fc.Arbitrary<Answer> = fc.oneof(
  fc.record({ kind: fc.constantFrom('accepted' as const, 'unknown' as const, 'refused' as const) }, plain),
  fc.record({ kind: fc.constant('known' as const), input: number, output: number }, plain)
)

void t.test('the vectors of docs/EMBEDDED_GUEST.md', (t) => {
  const hex = (bytes: Buffer | undefined): string => bytes?.toString('hex') ?? ''
  const incarnation = 0x1122334455667788n
  t.equal(hex(encodeGreeting({ kind: 'open', incarnation, connection: 7 })),
    '0054470101' + '8877665544332211' + '0700000000000000')
  t.equal(hex(encodeGreeting({ kind: 'attach', incarnation, connection: 7, received: 2 ** 40 })),
    '0054470102' + '8877665544332211' + '0700000000000000' + '0000000000010000')
  t.equal(hex(encodeGreeting({ kind: 'control', incarnation })), '0054470103' + '8877665544332211')
  t.equal(hex(encodeAnswer({ kind: 'accepted' })), '0054470181')
  t.equal(hex(encodeAnswer({ kind: 'known', input: 3, output: 258 })),
    '0054470182' + '0300000000000000' + '0201000000000000')
  t.equal(hex(encodeAnswer({ kind: 'unknown' })), '0054470183')
  t.equal(hex(encodeAnswer({ kind: 'refused' })), '0054470184')
  const places = new PlaceWriter()
  places.add(PlaceKind.floor, 7, 258)
  t.equal(hex(places.take()), '03' + '0700000000000000' + '0201000000000000')
  t.equal(places.take(), undefined)
  t.end()
})

void t.test('greetings and answers are found when they are whole, and not before', (t) => {
  fc.assert(fc.property(greeting, fc.uint8Array({ maxLength: 9 }), (wanted, rest) => {
    const bytes = encodeGreeting(wanted)
    for (let n = 0; n < bytes.length; n++) t.equal(takeGreeting(bytes.subarray(0, n)), undefined)
    t.strictSame(takeGreeting(Buffer.concat([bytes, rest])), { value: wanted, bytes: bytes.length })
  }))
  fc.assert(fc.property(answer, fc.uint8Array({ maxLength: 9 }), (wanted, rest) => {
    const bytes = encodeAnswer(wanted)
    for (let n = 0; n < bytes.length; n++) t.equal(takeAnswer(bytes.subarray(0, n)), undefined)
    t.strictSame(takeAnswer(Buffer.concat([bytes, rest])), { value: wanted, bytes: bytes.length })
  }))
  t.end()
})

void t.test('places under every chunking', (t) => {
  const place = fc.tuple(fc.constantFrom(1, 2, 3, 4, 5), number, number)
  const sizes = fc.integer({ min: 1, max: 60 })
  fc.assert(fc.property(fc.array(place, { maxLength: 200 }), sizes, (places, size) => {
    const writer = new PlaceWriter()
    for (const [kind, connection, at] of places) writer.add(kind, connection, at)
    const bytes = writer.take() ?? Buffer.alloc(0)
    const reader = new PlaceReader()
    const found: [number, number, number][] = []
    for (let at = 0; at < bytes.length; at += size) {
      reader.feed(bytes.subarray(at, at + size), (...one) => found.push(one))
    }
    t.strictSame(found, places)
  }))
  t.end()
})

void t.test('other bytes are refused with a clear error, whatever they are', (t) => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), fc.boolean(), (array, ours) => {
    const bytes = ours ? Buffer.concat([Buffer.from('00544701', 'hex'), array]) : Buffer.from(array)
    for (const run of [
      () => takeGreeting(bytes), () => takeAnswer(bytes), () => new PlaceReader().feed(bytes, () => undefined)
    ]) {
      try {
        run()
      } catch (error) {
        t.ok(error instanceof TailgateError && ['E_FRAME', 'E_VERSION'].includes(error.code))
      }
    }
  }), { numRuns: 500 })
  t.throws(() => takeGreeting(Buffer.from('00544702', 'hex')), { code: 'E_VERSION' })
  t.throws(() => takeGreeting(Buffer.from('0054470109', 'hex')), { code: 'E_FRAME' })
  t.end()
})
