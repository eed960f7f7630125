import { endpointOf, type Endpoint } from './ip-address.ts'
import { callFailed, libc } from './libc.ts'

/*
 * Options of sockets that Node has no call for, by the numbers of Linux (asm-generic/socket.h, in.h, in6.h,
 * netfilter_ipv4.h, ip6_tables.h).
 */

export const levelSocket = 1
const levelIp = 0
const levelIpv6 = 41

const soReuseAddress = 2
const soMark = 36
const soOriginalDestination = 80
const ipTransparent = 19
const ipv6Only = 26
const ipv6Transparent = 75

const word = Buffer.alloc(4)
const size = Buffer.alloc(4)

/** Sets an option that is one 32-bit number. Throws E_ATTACH. */
export function setNumber(
  descriptor: number, level: number, option: number, value: number, what: string
): void {
  word.writeInt32LE(value | 0)
  if (libc().setsockopt(descriptor, level, option, word, 4) !== 0) throw callFailed(`${what} cannot be set`)
}

/** Reads an option that is one 32-bit number, without a sign. Throws E_ATTACH. */
export function getNumber(descriptor: number, level: number, option: number, what: string): number {
  size.writeUInt32LE(4)
  const done = libc().getsockopt(descriptor, level, option, word, size)
  if (done !== 0) throw callFailed(`${what} cannot be read`)
  return word.readUInt32LE()
}

/** Sets an option that is a struct. Throws E_ATTACH. */
export function setBytes(
  descriptor: number, level: number, option: number, value: Uint8Array, what: string
): void {
  const done = libc().setsockopt(descriptor, level, option, value, value.length)
  if (done !== 0) throw callFailed(`${what} cannot be set`)
}

/** Reads an option that is a struct into `out`; returns how much of it the kernel filled. Throws E_ATTACH. */
export function getBytes(
  descriptor: number, level: number, option: number, out: Uint8Array, what: string
): number {
  size.writeUInt32LE(out.length)
  const done = libc().getsockopt(descriptor, level, option, out, size)
  if (done !== 0) throw callFailed(`${what} cannot be read`)
  return size.readUInt32LE()
}

/** Every packet of the socket carries `mark` from now on (SO_MARK); resets of nobody's sockets carry none. */
export function setMark(descriptor: number, mark: number): void {
  setNumber(descriptor, levelSocket, soMark, mark, 'SO_MARK')
}

export function markOf(descriptor: number): number {
  return getNumber(descriptor, levelSocket, soMark, 'SO_MARK')
}

/** Lets the socket have an address that is not this machine's (IP_TRANSPARENT, IPV6_TRANSPARENT). */
export function setTransparent(descriptor: number, family: 4 | 6): void {
  if (family === 4) setNumber(descriptor, levelIp, ipTransparent, 1, 'IP_TRANSPARENT')
  else setNumber(descriptor, levelIpv6, ipv6Transparent, 1, 'IPV6_TRANSPARENT')
}

/**
 * Lets others have the socket's address and port too, for connections to elsewhere (SO_REUSEADDR). Repair
 * mode takes it away.
 */
export function setReusable(descriptor: number): void {
  setNumber(descriptor, levelSocket, soReuseAddress, 1, 'SO_REUSEADDR')
}

/** Lets a socket that is bound to `::` take IPv4 too, whatever this machine's default is. */
export function setBothFamilies(descriptor: number): void {
  setNumber(descriptor, levelIpv6, ipv6Only, 0, 'IPV6_V6ONLY')
}

/**
 * Where the client wanted to go before a REDIRECT rule sent it here (SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST);
 * where none did, the socket's own address. `family` is that of the client, which a socket that takes both
 * shows as `::ffff:` if it is 4. Throws E_ATTACH with ENOENT where the connection is not tracked.
 */
export function originalDestination(descriptor: number, family: 4 | 6): Endpoint {
  const address = Buffer.alloc(28)
  const level = family === 4 ? levelIp : levelIpv6
  getBytes(descriptor, level, soOriginalDestination, address, 'SO_ORIGINAL_DST')
  return endpointOf(address)
}
