import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Target } from './sockets.ts'

/** An address and a port as one text: `10.0.0.1:80`, `[fe80::1]:80`. IPv4 in IPv6 clothes loses them. */
export function addressText(address: string, port: number): string {
  const mapped = address.startsWith('::ffff:') && address.includes('.')
  const plain = mapped ? address.slice('::ffff:'.length) : address
  return plain.includes(':') ? `[${plain}]:${port}` : `${plain}:${port}`
}

/**
 * The other way round; undefined for anything that is not `host:port` or `[host]:port` with a port up to
 * 65535.
 */
export function parseAddress(text: string): { readonly host: string, readonly port: number } | undefined {
  const parts = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  if (parts === null) return undefined
  const host = parts[1] ?? parts[2] ?? ''
  const port = Number(parts[3])
  return port > 65535 ? undefined : { host, port }
}

/** Where connections to `host` and `port` go. */
export function targetOf(host: string, port: number): Target {
  return { host, port, family: isIP(host), text: addressText(host, port) }
}

/**
 * The address behind a name: the first one that the system's resolver gives. Addresses pass as they are.
 */
export async function resolveHost(
  host: string
): Promise<{ readonly address: string, readonly family: number }> {
  const family = isIP(host)
  return family !== 0 ? { address: host, family } : lookup(host)
}

/**
 * The address to listen on for `host`, which is '' for every interface: both families where this machine
 * has IPv6, else IPv4 only.
 */
export function anyHost(host: string): string {
  if (host !== '') return host
  const addresses = Object.values(networkInterfaces()).flat()
  return addresses.some((entry) => entry?.family === 'IPv6') ? '::' : '0.0.0.0'
}
