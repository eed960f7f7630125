/**
 * Numbers as a person reads them. Every reader-facing text of ours (status, plan, demo) goes through these.
 */

const byteUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** Bytes with a binary unit and at most one decimal: `0 B`, `1.2 MiB`. */
export function bytesText(bytes: number): string {
  let value = bytes
  let unit = 0
  while (unit < byteUnits.length - 1 && Math.abs(value) >= 1024) {
    value /= 1024
    unit++
  }
  return `${oneDecimal(value, unit === 0)} ${byteUnits[unit] ?? 'B'}`
}

/** A duration in milliseconds, in the unit that suits it: `0.4 ms`, `2.1 s`, `3 min 5 s`, `2 h 0 min`. */
export function durationText(ms: number): string {
  if (ms < 10) return `${oneDecimal(ms, false)} ms`
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 59_950) return `${oneDecimal(ms / 1000, false)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
  return `${Math.floor(minutes / 1440)} d ${Math.floor(minutes % 1440 / 60)} h`
}

/** A count with its noun: `1 record`, `2 records`. */
export function countText(count: number, noun: string): string {
  return `${groupDigits(count)} ${noun}${count === 1 ? '' : 's'}`
}

/** A whole number with a space between groups of three digits, from five digits on: `1234`, `12 345`. */
export function groupDigits(n: number): string {
  const text = String(Math.round(n))
  return text.length < 5 ? text : text.replace(/\B(?=(\d{3})+$)/g, ' ')
}

function oneDecimal(value: number, whole: boolean): string {
  if (whole) return String(Math.round(value))
  const text = value.toFixed(1)
  return text.endsWith('.0') ? text.slice(0, -2) : text
}
