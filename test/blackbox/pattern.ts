import { createHash } from 'node:crypto'

/** Longer than any buffer on the way, and of a length that is no multiple of one. */
const period = createHash('shake256', { outputLength: 1_000_003 }).update('tailgate').digest()

/** Bytes `at` to `at + length` of an endless stream in which a lost, repeated or moved piece shows. */
export function patternOf(at: number, length: number): Buffer {
  const from = at % period.length
  if (from + length <= period.length) return period.subarray(from, from + length)
  const rest = from + length - period.length
  return Buffer.concat([period.subarray(from), patternOf(0, rest)])
}

/** The hash of the first `length` bytes of that stream, as hexadecimal SHA-256. */
export function patternHash(length: number): string {
  const hash = createHash('sha256')
  for (let at = 0; at < length; at += 65_536) hash.update(patternOf(at, Math.min(65_536, length - at)))
  return hash.digest('hex')
}
