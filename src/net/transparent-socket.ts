import { isIP } from 'node:net'
import { messageOf, TailgateError } from '../base/errors.ts'
import { addressText } from './address.ts'
import { socketAddress, type Endpoint } from './ip-address.ts'
import { callFailed, closeDescriptor, codeOfCall, libc } from './libc.ts'
import { listenError } from './socket-errors.ts'
import { setBothFamilies, setReusable, setTransparent } from './socket-options.ts'
import { newSocket } from './tcp-repair.ts'

/*
 * Sockets with addresses that need not be this machine's (IP_TRANSPARENT: ip(7), the kernel's
 * networking/tproxy). Node has no call for the option, which must be there before the address is.
 *
 *     client 10.1.0.9:40000 ──► listener: any destination │ gateway │ 10.1.0.9:40000 ──► guest 10.0.0.7:6379
 */

/**
 * A socket that is bound to `local`. Others may have the same address and port for connections to elsewhere.
 * Throws E_ATTACH; the system's error name is in its context where there is one.
 */
export function transparentSocket(local: Endpoint): number {
  const family = isIP(local.address) === 6 ? 6 : 4
  const descriptor = newSocket(family)
  try {
    setTransparent(descriptor, family)
    setReusable(descriptor)
    if (family === 6) setBothFamilies(descriptor)
    const name = socketAddress(local)
    if (libc().bind(descriptor, name, name.length) !== 0) {
      throw callFailed(`${addressText(local.address, local.port)} cannot be taken`)
    }
    return descriptor
  } catch (error) {
    closeDescriptor(descriptor)
    throw error
  }
}

/** The same, to listen on: a TPROXY rule may give it connections to any address. Throws E_LISTEN. */
export function transparentListening(address: string, port: number): number {
  try {
    return transparentSocket({ address, port })
  } catch (cause) {
    const where = addressText(address, port)
    const code = codeOfCall(cause)
    if (code !== undefined && code !== 'EPERM') throw listenError(where, code, cause)
    const what = `cannot listen on ${where} for a service with source 'client'`
    throw new TailgateError('E_LISTEN', `${what}: ${messageOf(cause)}`, { cause })
  }
}
