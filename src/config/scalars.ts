import { scalar, type ScalarShape } from './shape.ts'
import type { Address } from './types.ts'
import {
  formatAddress, formatDuration, formatSize, parseAddress, parseCount, parseDuration, parseSize
} from './values.ts'

/** Any text that is not empty. */
export const text = scalar('text', (source) => {
  if (source === '') throw new RangeError('a text that is not empty')
  return source
}, same)

/** A name that also serves in certificates, metrics labels and file names. */
export const name = scalar('name', (source) => {
  if (!/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/.test(source)) {
    throw new RangeError('a name of at most 63 letters, digits, dots, dashes and underlines, none of them '
      + 'at the ends')
  }
  return source
}, same)

/** A path; a relative one starts where the configuration file is. */
export const path = scalar('path', (source) => text.parse(source), same)

/** An address to listen on. */
export const listenAddress = scalar('address', parseAddress, formatAddress)

/** An address to connect to. */
export const remoteAddress = scalar('address', (source): Address => {
  const address = parseAddress(source)
  if (address.host === '') throw new RangeError('an address to connect to, so `*` cannot stand for the host')
  if (address.port === 0) throw new RangeError('an address to connect to, so the port cannot be 0')
  return address
}, formatAddress)

/** The name of a network device (Linux: IFNAMSIZ, 16 with the 0 at its end). */
export const device = scalar('network device', (source) => {
  if (/^[^\s/:%,]{1,15}$/.test(source) && source !== '.' && source !== '..') return source
  throw new RangeError('the name of a network device: 1 to 15 characters')
}, same)

/** The hardware address of one network card, in the kernel's notation. */
export const mac = scalar('MAC address', (source) => {
  const address = source.toLowerCase()
  if (/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(address)) return address
  throw new RangeError('the MAC address of one card, as 52:54:00:12:34:56')
}, same)

export const flag = scalar('true or false', (source) => {
  if (source !== 'true' && source !== 'false') throw new RangeError('true or false')
  return source === 'true'
}, same)

export function choice<const T extends string>(...words: readonly T[]): ScalarShape<T> {
  return scalar<T>(words.join(' | '), (source) => {
    const found = words.find((word) => word === source)
    if (found === undefined) throw new RangeError(`one of ${words.join(', ')}`)
    return found
  }, same)
}

/** A duration in milliseconds; the limits are written as in a file. */
export function duration(least: string, most: string): ScalarShape<number> {
  return scalar('duration', within(parseDuration, least, most), formatDuration)
}

/** A size in bytes. */
export function size(least: string, most: string): ScalarShape<number> {
  return scalar('size', within(parseSize, least, most), formatSize)
}

export function count(least: number, most: number): ScalarShape<number> {
  return scalar('number', within(parseCount, String(least), String(most)), same)
}

function within(parse: (source: string) => number, least: string, most: string): (source: string) => number {
  const [low, high] = [parse(least), parse(most)]
  return (source) => {
    const value = parse(source)
    if (value < low || value > high) throw new RangeError(`from ${least} to ${most}`)
    return value
  }
}

function same<T>(value: T): T {
  return value
}
