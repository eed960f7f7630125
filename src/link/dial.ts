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
  const { self, expected, signal } = options
  const limits = { ...defaultLinkLimits, ...options.limits }
  const socket = await openSocket(options, limits)
  return new Promise((resolve, reject) => {
    const abort = () => socket.destroy(abandoned(options))
    signal?.addEventListener('abort', abort, { once: true })
    const link = new SocketLink(socket, {
      self,
      limits,
      believe: hello => believe(hello, socket, expected),
      up(link) {
        signal?.removeEventListener('abort', abort)
        resolve(link)
        return up(link)
      },
      failed(error) {
        signal?.removeEventListener('abort', abort)
        reject(located(error, options))
      }
    })
    if (signal?.aborted === true) link.close()
  })
}

/** A connected socket, with TLS where we have certificates. */
async function openSocket(options: DialOptions, limits: LinkLimits): Promise<Socket> {
  const { self, host, port, signal } = options
  if (signal?.aborted === true) throw abandoned(options)
  if (self.tls === undefined) {
    const socket = connectTcp({ host: await plainAddress(host), port })
    return connected(socket, 'connect', options, limits)
  }
  checkOwnName(self.tls, self.name)
  return connected(dialTls(self.tls, options), 'secureConnect', options, limits)
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

function connected(
  socket: Socket, event: 'connect' | 'secureConnect', options: DialOptions, limits: LinkLimits
): Promise<Socket> {
  const { signal } = options
  return new Promise((resolve, reject) => {
    const abort = () => fail(abandoned(options))
    const timer = setTimeout(() => fail(new TailgateError('E_TIMEOUT',
      `${place(options)} did not take the connection within ${limits.handshakeMs} ms`)), limits.handshakeMs)
    const broken = (cause: Error) => fail(located(dialError(cause), options))
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      socket.off('error', broken)
    }
    const fail = (error: TailgateError) => {
      settle()
      socket.on('error', () => undefined)
      socket.destroy()
      reject(error)
    }
    signal?.addEventListener('abort', abort, { once: true })
    socket.on('error', broken)
    socket.once(event, () => {
      settle()
      resolve(socket)
    })
  })
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
