import { isIPv4, isIPv6 } from 'node:net'
import { TailgateError } from '../base/errors.ts'

/** Ethernet's own numbers (IEEE 802 assignments): EtherTypes, and the shortest frame without its checksum. */
const etherArp = 0x0806
const etherRarp = 0x8035
const etherIpv6 = 0x86dd
const frameMin = 60
const headerBytes = 14

const broadcast = Buffer.alloc(6, 0xff)
/** ff02::1, all nodes of the link, and the Ethernet address which RFC 2464 section 7 makes of it. */
const allNodes = Buffer.from('ff020000000000000000000000000001', 'hex')
const allNodesMac = Buffer.from('333300000001', 'hex')

/**
 * The frames that say on an Ethernet that `addresses` are at `mac`: an ARP announcement for each IPv4 address
 * (RFC 5227 section 3), an unsolicited neighbour advertisement for each IPv6 address (RFC 4861 section
 * 7.2.6). Without an address, one RARP request: it tells switches the way to `mac`, and hosts nothing. Throws
 * E_ENGINE for what is not an address.
 */
export function announcementsOf(mac: string, addresses: readonly string[]): readonly Buffer[] {
  const hardware = macBytes(mac)
  if (addresses.length === 0) return [arp(etherRarp, 3, hardware, Buffer.alloc(4))]
  return addresses.map((address) => {
    if (isIPv4(address)) return arp(etherArp, 1, hardware, Buffer.from(address.split('.').map(Number)))
    if (isIPv6(address) && !address.includes('%')) return neighbourAdvertisement(hardware, ipv6Bytes(address))
    throw new TailgateError('E_ENGINE', `'${address}' is not an address that a guest can have`)
  })
}

/** The six bytes of an Ethernet address as `52:54:00:12:34:56`. Throws E_ENGINE if no host can have it. */
export function macBytes(mac: string): Buffer {
  const bytes = Buffer.from(mac.replaceAll(':', ''), 'hex')
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac) || (bytes.readUInt8(0) & 1) === 1) {
    throw new TailgateError('E_ENGINE', `'${mac}' is not the MAC address of a network card`)
  }
  return bytes
}

/**
 * ```
 *  to 6 | from 6 | type 2 | hardware 2 | protocol 2 | lengths 2 | operation 2 | sender 6+4 | target 6+4
 * ```
 * Sender and target are the same host; an announcement leaves the target's hardware address unsaid.
 */
function arp(type: number, operation: number, mac: Buffer, address: Buffer): Buffer {
  const fixed = Buffer.from([0, 1, 8, 0, 6, 4, 0, operation])
  const target = type === etherRarp ? mac : Buffer.alloc(6)
  return frame(broadcast, mac, type, [fixed, mac, address, target, address])
}

/**
 * ```
 *  Ethernet 14 | IPv6 40, hop limit 255 | type 136, code, checksum 4 | flags 4 | target 16 | option 2, 1, MAC
 * ```
 * Flags: not solicited, override what is known (RFC 4861 section 4.4).
 */
function neighbourAdvertisement(mac: Buffer, address: Buffer): Buffer {
  const body = Buffer.concat([
    Buffer.from([136, 0, 0, 0, 0x20, 0, 0, 0]), address, Buffer.from([2, 1]), mac
  ])
  const pseudo = Buffer.concat([address, allNodes, Buffer.from([0, 0, 0, body.length, 0, 0, 0, 58])])
  body.writeUInt16BE(internetChecksum(Buffer.concat([pseudo, body])), 2)
  const header = Buffer.from([0x60, 0, 0, 0, 0, body.length, 58, 255])
  return frame(allNodesMac, mac, etherIpv6, [header, address, allNodes, body])
}

function frame(to: Buffer, from: Buffer, type: number, parts: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(headerBytes)
  to.copy(header, 0)
  from.copy(header, 6)
  header.writeUInt16BE(type, 12)
  const bytes = Buffer.concat([header, ...parts])
  return bytes.length < frameMin ? Buffer.concat([bytes], frameMin) : bytes
}

/** RFC 1071, of an even number of bytes. */
function internetChecksum(bytes: Buffer): number {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

/** The sixteen bytes of an address that isIPv6() accepts: `::` and a dotted end included. */
function ipv6Bytes(text: string): Buffer {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text)
  const plain = dotted === null ? text : (dotted[1] ?? '') + [[2, 3], [4, 5]].map(([high = 0, low = 0]) =>
    (Number(dotted[high]) * 256 + Number(dotted[low])).toString(16)).join(':')
  const [head = '', tail] = plain.split('::')
  const groups = (part: string): readonly string[] => part === '' ? [] : part.split(':')
  const [before, after] = [groups(head), groups(tail ?? '')]
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0')
  return Buffer.from([...before, ...zeros, ...after].map((group) => group.padStart(4, '0')).join(''), 'hex')
}
