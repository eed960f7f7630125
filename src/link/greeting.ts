import { TLSSocket } from 'node:tls'
import type { Socket } from 'node:net'
import { TailgateError } from '../base/errors.ts'
import { hostName, type HostName } from '../core/ids.ts'
import { protocolVersionMax, protocolVersionMin } from './frame.ts'
import type { LinkPeer } from './link.ts'
import { isLoopback } from './loopback.ts'
import type { LinkMessage } from './message-codec.ts'
import { certifies, namesIn, type TlsMaterial } from './tls-material.ts'

export type Hello = Extract<LinkMessage, { type: 'hello' }>

/** Who this side is. */
export interface LinkSelf {
  readonly name: HostName
  readonly role: LinkPeer['role']
  /** Undefined for plain links, which both ends must have on loopback addresses. */
  readonly tls: TlsMaterial | undefined
}

export function helloOf(self: LinkSelf): Hello {
  return {
    type: 'hello',
    versionMin: protocolVersionMin,
    versionMax: protocolVersionMax,
    role: self.role,
    name: self.name
  }
}

/** The newest version that both sides speak; E_VERSION if there is none. */
export function agreeVersion(
  ours: Pick<Hello, 'versionMin' | 'versionMax'>, theirs: Pick<Hello, 'versionMin' | 'versionMax'>
): number {
  const version = Math.min(ours.versionMax, theirs.versionMax)
  if (version >= Math.max(ours.versionMin, theirs.versionMin)) return version
  throw new TailgateError('E_VERSION',
    `this side speaks versions ${ours.versionMin} to ${ours.versionMax} of the link protocol and the other `
    + `side ${theirs.versionMin} to ${theirs.versionMax}: install releases that have a version in common`,
    { context: { ours: [ours.versionMin, ours.versionMax], theirs: [theirs.versionMin, theirs.versionMax] } })
}

/**
 * The peer that `hello` names, if it may be believed: its certificate is for that name (which TLS has already
 * checked to be issued by our CA and valid), or both ends are loopback addresses. E_AUTH otherwise.
 *
 * @param expected the name that the other side must have; undefined where any will do
 */
export function believe(hello: Hello, socket: Socket, expected: HostName | undefined): LinkPeer {
  if (socket instanceof TLSSocket) checkCertificate(hello.name, socket)
  else if (!isPlainAllowed(socket)) {
    throw new TailgateError('E_AUTH',
      `a link without TLS came from ${String(socket.remoteAddress)}, which is not a loopback address`,
      { context: { remote: socket.remoteAddress, local: socket.localAddress } })
  }
  if (expected !== undefined && hello.name !== expected) {
    throw new TailgateError('E_AUTH', `the other side is ${hello.name}, and ${expected} should be there`, {
      context: { name: hello.name, expected }
    })
  }
  return { name: hostName(hello.name), role: hello.role }
}

/** Whether both ends of a plain connection are loopback addresses. */
export function isPlainAllowed(socket: Socket): boolean {
  return isLoopback(socket.remoteAddress ?? '') && isLoopback(socket.localAddress ?? '')
}

function checkCertificate(name: string, socket: TLSSocket): void {
  const certificate = socket.getPeerX509Certificate()
  if (!socket.authorized || certificate === undefined) {
    throw new TailgateError('E_AUTH', `the other side says it is ${name} and has no certificate of our CA`, {
      context: { name }
    })
  }
  if (certifies(certificate, name)) return
  throw new TailgateError('E_AUTH',
    `the other side says it is ${name}, and its certificate is for ${namesIn(certificate)}`,
    { context: { name } })
}
