import { isIP } from 'node:net'
import { TailgateError } from '../base/errors.ts'
import { addressText } from '../net/address.ts'
import type { Endpoint } from '../net/ip-address.ts'
import { transparentSocket } from '../net/transparent-socket.ts'

/*
 * Guest-facing sockets with the address and port of their clients (a service with source `client`).
 */

/** The socket to connect with to a guest of this family. Throws E_ATTACH. */
export function clientSocket(family: 4 | 6, from: Endpoint): number {
  if (isIP(from.address) !== family) {
    const what = `the guest's address is of IPv${family} and its client's is not`
    throw new TailgateError('E_ATTACH', what, { context: { code: 'EAFNOSUPPORT' } })
  }
  return transparentSocket(from)
}

/**
 * A dial from a client's address that failed, as E_ATTACH with a sentence on what that address has to do with
 * it. Its context has a `source` unless it is the guest that refused or is not there.
 */
export function sourceError(error: TailgateError, endpoint: string, from: Endpoint): TailgateError {
  const code = typeof error.context.code === 'string' ? error.context.code : ''
  const remedy = remedies[code]
  if (remedy === undefined) return error
  const source = addressText(from.address, from.port)
  const message = `${endpoint} cannot be connected to from ${source}: ${remedy}`
  return new TailgateError('E_ATTACH', message, { cause: error, context: { source, code } })
}

/** By the system's error name. */
const remedies: Readonly<Record<string, string>> = {
  EADDRINUSE: 'a socket of this machine has that address and port; move listeners out of the range that '
    + 'clients take their ports from',
  EADDRNOTAVAIL: 'an earlier connection between the same two is still ending here (TIME-WAIT)',
  EPERM: 'the right is missing; give this process the capability cap_net_admin',
  EACCES: 'a rule of this machine forbids it; see its packet filter and routes',
  EINVAL: 'that address cannot be connected from; see ip route get to the guest from it',
  EAFNOSUPPORT: 'one is of IPv4, the other of IPv6; give each family a service of its own',
  ETIMEDOUT: "no answer came; the guest's way to its clients must lead through this machine, see "
    + 'docs/REDIRECT.md'
}
