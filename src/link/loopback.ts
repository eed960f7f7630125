import { lookup } from 'node:dns/promises'
import { BlockList, isIP, isIPv6 } from 'node:net'
import { TailgateError, messageOf } from '../base/errors.ts'

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

const mappedPrefix = '::ffff:'

/** Whether `address`, an IP address in text, never leaves the machine. */
export function isLoopback(address: string): boolean {
  const mapped = address.toLowerCase().startsWith(mappedPrefix)
  const plain = mapped ? address.slice(mappedPrefix.length) : address
  if (isIP(plain) === 0) return false
  return loopback.check(plain, isIPv6(plain) ? 'ipv6' : 'ipv4')
}

/**
 * The address behind `host` for a link without TLS. E_CONFIG if it is not a loopback address; E_LINK_LOST if
 * the name is not known (now: a name server can recover).
 */
export async function plainAddress(host: string): Promise<string> {
  const address = isIP(host) === 0 ? await resolve(host) : host
  if (isLoopback(address)) return address
  throw plainRefused(host)
}

/** An E_CONFIG for a plain link that would leave the machine. */
export function plainRefused(host: string): TailgateError {
  const where = host === '' ? 'every interface' : host
  return new TailgateError('E_CONFIG',
    `a link without TLS is for loopback addresses only, and ${where} is not one: `
    + 'make certificates with `tailgate certs` and name them under tls: in both configurations',
    { context: { host } })
}

async function resolve(host: string): Promise<string> {
  try {
    return (await lookup(host)).address
  } catch (cause) {
    throw new TailgateError('E_LINK_LOST', `the host name ${host} is not known: ${messageOf(cause)}`, {
      cause, context: { host }
    })
  }
}
