import type { Command, Run } from './application.ts'
import { notAnInteger, type ReplyError } from './reply-error.ts'

export function command(
  name: string, arity: number, run: Run, flags: { immediate?: boolean, whileSubscribed?: boolean } = {}
): Command {
  const { immediate = false, whileSubscribed = false } = flags
  return { name, arity, run, immediate, whileSubscribed }
}

/** An argument whose presence the arity has guaranteed. */
export function argument(args: readonly string[], index: number): string {
  return args[index] ?? ''
}

export const integerMin = -(2n ** 63n)
export const integerMax = 2n ** 63n - 1n
const integerForm = /^(?:0|-?[1-9][0-9]{0,18})$/

/** A 64-bit integer in the one form that Redis takes: no spaces, no plus, no leading zeros. */
export function bigIntegerOf(text: string): bigint | undefined {
  if (!integerForm.test(text)) return undefined
  const value = BigInt(text)
  return value < integerMin || value > integerMax ? undefined : value
}

/** The same as a number, which is exact up to 2^53. Throws notAnInteger. */
export function integerOf(text: string, error: () => ReplyError = notAnInteger): number {
  if (text.length < 16 && integerForm.test(text)) return Number(text)
  const value = bigIntegerOf(text)
  if (value === undefined) throw error()
  return Number(value)
}

/** A range of indexes, negative ones from the end, as a half-open one inside `length`. */
export function rangeOf(first: number, last: number, length: number): { from: number, to: number } {
  const from = Math.max(0, first < 0 ? length + first : first)
  const to = Math.min(length, (last < 0 ? length + last : last) + 1)
  return { from, to: Math.max(from, to) }
}
