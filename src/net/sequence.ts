/*
 * TCP's sequence numbers are 32 bits of a stream that may be longer (RFC 9293, 3.4). A *place* is the whole
 * number: how far into the stream, where the first byte is 0 and the end of the stream counts one.
 *
 *     sequence number of a place = (base + place) mod 2^32,   base = initial sequence number + 1
 */

const modulus = 2 ** 32

/** `a - b` in serial number arithmetic (RFC 1982): from -2^31 to 2^31 - 1. */
export function serialDifference(a: number, b: number): number {
  return (a - b) | 0
}

/** The sequence number of a place in the stream that begins at `base`. */
export function sequenceOf(base: number, place: number): number {
  return (base + place % modulus) % modulus
}

/** The place with this sequence number that is nearest to `expected`; never below 0. */
export function placeNearest(base: number, sequence: number, expected: number): number {
  const place = expected + serialDifference(sequence, sequenceOf(base, expected))
  return place < 0 ? place + modulus : place
}

/** The last place with this sequence number that is not beyond `last`; if there is none, the first of all. */
export function placeUpTo(base: number, sequence: number, last: number): number {
  const place = last - (sequenceOf(base, last) - sequence + modulus) % modulus
  return place < 0 ? place + modulus : place
}
