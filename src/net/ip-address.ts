import { isIP } from 'node:net'
import { invariant } from '../base/invariant.ts'

/** An address and a port; the address is written as Node writes it, without brackets. */
export interface Endpoint {
  readonly address: string
  readonly port: number
}

/** AF_INET and AF_INET6 on Linux. */
export const inet = 2
export const inet6 = 10

const dot = 0x2e
const zero = 0x30

/** The bytes of an address in network order: four, or sixteen. */
export function addressBytes(address: string): Uint8Array {
  const family = isIP(address)
  if (family === 4) return fourBytes(address)
  invariant(family === 6, 'an address is in numbers', { address })
  const plain = address.split('%')[0] ?? ''
  const [head = '', tail] = plain.split('::')
  const before = groups(head)
  const after = tail === undefined ? [] : groups(tail)
  const between = new Array<number>(16 - before.length - after.length).fill(0)
  return Uint8Array.from([...before, ...between, ...after])
}

/** Asked for at every connection that can be resumed, so without an array in between. */
function fourBytes(address: string): Uint8Array {
  const bytes = new Uint8Array(4)
  let at = 0
  for (let i = 0; i < address.length; i++) {
    const code = address.charCodeAt(i)
    if (code === dot) at++
    else bytes[at] = (bytes[at] ?? 0) * 10 + code - zero
  }
  return bytes
}

function groups(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number)
    const value = parseInt(group, 16)
    return [value >> 8, value & 255]
  })
}

/** The text of four or sixteen bytes, as Node would write it. */
export function addressOfBytes(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const parts = Array.from({ length: 8 }, (_, n) => view.getUint16(n * 2).toString(16))
  // The URL parser writes the canonical form (RFC 5952).
  return new URL(`http://[${parts.join(':')}]`).hostname.slice(1, -1)
}

/** A `sockaddr_in` or `sockaddr_in6` (ip(7), ipv6(7)). */
export function socketAddress({ address, port }: Endpoint): Buffer {
  const bytes = addressBytes(address)
  const out = Buffer.alloc(bytes.length === 4 ? 16 : 28)
  out.writeUInt16LE(bytes.length === 4 ? inet : inet6, 0)
  out.writeUInt16BE(port, 2)
  out.set(bytes, bytes.length === 4 ? 4 : 8)
  return out
}

/** The other way round. */
export function endpointOf(socketAddress: Buffer): Endpoint {
  const isFour = socketAddress.readUInt16LE(0) === inet
  const bytes = isFour ? socketAddress.subarray(4, 8) : socketAddress.subarray(8, 24)
  return { address: addressOfBytes(bytes), port: socketAddress.readUInt16BE(2) }
}
