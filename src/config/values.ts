import { isIP } from 'node:net'
import { addressText, parseAddress as splitAddress } from '../net/address.ts'
import type { Address } from './types.ts'

/**
 * The words a person writes for a value, and back. Parsers throw a RangeError whose message ends the
 * sentence "must be".
 */

const addressForms = '10.0.0.1:6379, [::1]:6379 or *:6379'
const durationUnits = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const
const sizeUnits = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 } as const

/** `200ms`, `5s`, `1.5m`, `2h` in milliseconds; the unit is never left out, and the result is whole. */
export function parseDuration(text: string): number {
  return parseQuantity(text, durationUnits, 'a duration with its unit, such as 200ms, 5s, 1m or 2h')
}

/** `64KiB`, `4GiB`, `512B` in bytes. */
export function parseSize(text: string): number {
  return parseQuantity(text, sizeUnits, 'a size with its unit, such as 64KiB, 256MiB or 4GiB')
}

export function formatDuration(ms: number): string {
  return formatQuantity(ms, durationUnits)
}

export function formatSize(bytes: number): string {
  return formatQuantity(bytes, sizeUnits)
}

/** A whole decimal number. */
export function parseCount(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new RangeError('a whole number')
  return Number(text)
}

/**
 * `host:port`, `[::1]:6379`, and `*:6379` for every interface (as `host` ''). A name is not looked up here.
 */
export function parseAddress(text: string): Address {
  const address = splitAddress(text)
  if (address === undefined) {
    throw new RangeError(`an address such as ${addressForms}, with a port up to 65535`)
  }
  if (address.host === '*' && !text.startsWith('[')) return { host: '', port: address.port }
  if (text.startsWith('[') ? isIP(address.host) !== 6 : !isHost(address.host)) {
    throw new RangeError(`an address such as ${addressForms}`)
  }
  return address
}

/** The inverse of {@link parseAddress}. */
export function formatAddress({ host, port }: Address): string {
  return addressText(host === '' ? '*' : host, port)
}

/** Whether everything sent to `host` stays on this machine. A name counts only if it is `localhost`. */
export function isLoopback(host: string): boolean {
  if (isIP(host) === 4) return host.startsWith('127.')
  return host === '::1' || host === 'localhost' || host.toLowerCase().startsWith('::ffff:127.')
}

/** Whether listening on both cannot work. Port 0 never collides. */
export function collide(a: Address, b: Address): boolean {
  if (a.port !== b.port || a.port === 0) return false
  return a.host === b.host || isEverywhere(a.host) || isEverywhere(b.host)
}

function isEverywhere(host: string): boolean {
  return host === '' || host === '0.0.0.0' || host === '::'
}

function isHost(text: string): boolean {
  if (isIP(text) === 4) return true
  // A name whose last label is all digits would be taken for a mistyped address by every resolver.
  return text.length <= 253 && /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/.test(text) && !/(^|\.)\d+$/.test(text)
}

function parseQuantity(text: string, units: Readonly<Record<string, number>>, wanted: string): number {
  const parts = /^(\d{1,16}(?:\.\d{1,6})?) ?([A-Za-z]+)$/.exec(text)
  const unit = Object.entries(units).find(([name]) => name === parts?.[2])
  if (parts === null || unit === undefined) throw new RangeError(wanted)
  const value = Number(parts[1]) * unit[1]
  if (!Number.isSafeInteger(value)) throw new RangeError(`${wanted}, and nothing finer`)
  return value
}

function formatQuantity(value: number, units: Readonly<Record<string, number>>): string {
  let best: readonly [string, number] = ['', 1]
  for (const unit of Object.entries(units)) {
    if (unit[1] === 1 || (value !== 0 && value % unit[1] === 0)) best = unit
  }
  return `${value / best[1]}${best[0]}`
}
