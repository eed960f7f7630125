import { X509Certificate } from 'node:crypto'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { TailgateError, messageOf } from '../base/errors.ts'
import type { HostName } from '../core/ids.ts'
import { believe, type LinkSelf } from './greeting.ts'
import type { LinkConnection, LinkEvents } from './link.ts'
import { defaultLinkLimits, type LinkLimits } from './limits.ts'
import { plainAddress } from './loopback.ts'
import { brokenBy, SocketLink } from './socket-link.ts'
import { certifies, checkOwnName, namesIn, type TlsMaterial } from './tls-material.ts'

export interface DialOptions {
  readonly self: LinkSelf
  /** The name that the other side must have. */
  readonly expected: HostName
  /** Name or address, without brackets. */
  readonly host: string
  readonly port: number
  /** What differs from {@link defaultLinkLimits}. */
  readonly limits?: Partial<LinkLimits>
  /** Gives up dialing; without effect once the link is up. */
  readonly signal?: AbortSignal
}

/**
 * Dials `host` and exchanges hellos. `up` is called when the link is up, before the promise resolves;
 * messages go to what it returns, from the first one on, and so does the end of the link.
 *
 * Rejects with E_CONFIG (plain link to an address that is not a loopback one, own certificate for another
 * name), E_AUTH, E_VERSION, E_FRAME (something else listens there), E_TIMEOUT, E_LINK_LOST (nobody there).
 */
export async function connectLink(
  options: DialOptions, up: (link: LinkConnection) => LinkEvents
): Promise<LinkConnection> {
  const { self, host, signal } = options
  if (self.tls !== undefined) checkOwnName(self.tls, self.name)
  const address = self.tls === undefined ? await plainAddress(host) : host
  if (signal?.aborted === true) throw abandoned(options)
  return new Promise((resolve, reject) => {
    const socket = self.tls === undefined
      ? connectTcp({ host: address, port: options.port })
      : dialTls(self.tls, options)
    const abort = () => socket.destroy(abandoned(options))
    signal?.addEventListener('abort', abort, { once: true })
    const failed = (error: TailgateError) => {
      signal?.removeEventListener('abort', abort)
      reject(located(error, options))
    }
    greetWhenConnected(socket, options, failed, link => {
      signal?.removeEventListener('abort', abort)
      resolve(link)
      return up(link)
    })
  })
}

/** Makes a link of `socket` the moment it is connected: nothing can happen to it that nobody hears. */
function greetWhenConnected(
  socket: Socket, options: DialOptions, failed: (error: TailgateError) => void,
  up: (link: LinkConnection) => LinkEvents
): void {
  const { self, expected } = options
  const limits = { ...defaultLinkLimits, ...options.limits }
  const late = new TailgateError('E_TIMEOUT', `no connection within ${limits.handshakeMs} ms`)
  const timer = setTimeout(() => socket.destroy(late), limits.handshakeMs)
  const broken = (cause: Error) => {
    clearTimeout(timer)
    failed(dialError(cause))
  }
  socket.on('error', broken)
  socket.once(self.tls === undefined ? 'connect' : 'secureConnect', () => {
    clearTimeout(timer)
    socket.off('error', broken)
    new SocketLink(socket, {
      self, limits, failed, up, dialed: true, believe: hello => believe(hello, socket, expected)
    })
  })
}

function dialTls(tls: TlsMaterial, { host, port, expected }: DialOptions): Socket {
  return connectTls({
    host,
    port,
    ca: tls.ca,
    cert: tls.cert,
    key: tls.key,
    minVersion: 'TLSv1.3',
    // The address that is dialed says nothing about who answers; the name that must be there does.
    ...(isIP(expected) === 0 ? { servername: expected } : {}),
    checkServerIdentity: (_host, certificate) => wrongName(new X509Certificate(certificate.raw), expected)
  })
}

function wrongName(certificate: X509Certificate, expected: HostName): TailgateError | undefined {
  if (certifies(certificate, expected)) return undefined
  return new TailgateError('E_AUTH',
    `the certificate there is for ${namesIn(certificate)}, and ${expected} should be there`,
    { context: { expected } })
}

/** OpenSSL's verdicts on the other side's certificate are error codes without a prefix of their own. */
const certificateErrors = /^(CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_|ERR_TLS_|EPROTO)/

function dialError(cause: Error): TailgateError {
  if (cause instanceof TailgateError) return cause
  const code = (cause as NodeJS.ErrnoException).code ?? ''
  if (!certificateErrors.test(code)) return brokenBy(cause, true)
  return new TailgateError('E_AUTH', `TLS with the other side failed: ${messageOf(cause)} (${code})`, {
    cause
  })
}

function located(error: TailgateError, options: DialOptions): TailgateError {
  const { host, port } = options
  return new TailgateError(error.code, `link to ${place(options)}: ${error.message}`, {
    cause: error.cause, context: { ...error.context, host, port }
  })
}

function abandoned(options: DialOptions): TailgateError {
  return new TailgateError('E_LINK_LOST', `dialing ${place(options)} was given up`)
}

function place({ expected, host, port }: DialOptions): string {
  return `${expected} at ${host.includes(':') ? `[${host}]` : host}:${port}`
}
