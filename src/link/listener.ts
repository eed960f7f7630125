import { once } from 'node:events'
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { TailgateError, messageOf } from '../base/errors.ts'
import { believe, isPlainAllowed, type LinkSelf } from './greeting.ts'
import type { LinkConnection, LinkEvents, LinkPeer } from './link.ts'
import { defaultLinkLimits, type LinkLimits } from './limits.ts'
import { plainAddress, plainRefused } from './loopback.ts'
import { SocketLink } from './socket-link.ts'
import { checkOwnName, type TlsMaterial } from './tls-material.ts'

export interface ListenOptions {
  readonly self: LinkSelf
  /** Name or address, without brackets; '' for every interface. */
  readonly host: string
  /** 0: the kernel chooses. */
  readonly port: number
  /** Whoever connects is cut off, without a word, until {@link LinkListener.open}. */
  readonly shut?: boolean
  /** What differs from {@link defaultLinkLimits}. */
  readonly limits?: Partial<LinkLimits>
  /** Why this peer, who is who it says, is not wanted; undefined if it is. */
  admit?(peer: LinkPeer): string | undefined
  /** A link is up; messages go to what is returned, from the first one on, and so does its end. */
  up(link: LinkConnection): LinkEvents
  /** Somebody connected and did not become a link. For the log. */
  refused(error: TailgateError, remote: string): void
}

/** Fewer than none may be there, so that Node ends each as it comes; 0 is no limit before Node 21. */
const noConnections = -1

/** Accepts links, of gateways and of other agents. */
export class LinkListener {
  readonly #server: Server
  readonly #options: ListenOptions
  readonly #limits: LinkLimits
  readonly #sockets = new Set<Socket>()

  private constructor(options: ListenOptions) {
    const { tls } = options.self
    this.#options = options
    this.#limits = { ...defaultLinkLimits, ...options.limits }
    this.#server = tls === undefined ? this.#plainServer() : this.#tlsServer(tls)
    this.#server.maxConnections = options.shut === true ? noConnections : this.#limits.linksMax
    this.#server.on('drop', (from?: { remoteAddress?: string }) => {
      if (this.#server.maxConnections === noConnections) return
      const full = new TailgateError('E_LINK_LOST', `there are ${this.#limits.linksMax} links already`)
      options.refused(full, String(from?.remoteAddress))
    })
  }

  /**
   * Listens. E_CONFIG for a plain listener on an address that is not a loopback one or a certificate for
   * another name, E_LISTEN if the address is taken or not ours.
   */
  static async listen(options: ListenOptions): Promise<LinkListener> {
    const { self, port } = options
    if (self.tls !== undefined) checkOwnName(self.tls, self.name)
    else if (options.host === '') throw plainRefused('')
    const host = self.tls === undefined ? await plainAddress(options.host) : options.host
    const listener = new LinkListener(options)
    try {
      listener.#server.listen(host === '' ? { port } : { host, port })
      await once(listener.#server, 'listening')
    } catch (cause) {
      throw new TailgateError('E_LISTEN', `cannot listen for links on ${host}:${port}: ${messageOf(cause)}`, {
        cause, context: { host, port }
      })
    }
    listener.#server.on('error', cause => {
      const error = new TailgateError('E_LISTEN', `a link could not be accepted: ${cause.message}`, { cause })
      options.refused(error, 'unknown')
    })
    return listener
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Connections there are, up or not. */
  get links(): number {
    return this.#sockets.size
  }

  /** Takes links from now on. */
  open(): void {
    this.#server.maxConnections = this.#limits.linksMax
  }

  /** Stops accepting and ends every link at once. Resolves when the last one is gone. */
  async close(): Promise<void> {
    if (!this.#server.listening) return
    const gone = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await gone
  }

  #plainServer(): Server {
    return createTcpServer(socket => {
      this.#keep(socket)
      if (isPlainAllowed(socket)) this.#accept(socket)
      else {
        this.#options.refused(plainRefused(String(socket.remoteAddress)), remoteOf(socket))
        socket.destroy()
      }
    })
  }

  #tlsServer(tls: TlsMaterial): Server {
    const server = createTlsServer({
      ca: tls.ca,
      cert: tls.cert,
      key: tls.key,
      minVersion: 'TLSv1.3',
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: this.#limits.handshakeMs
    }, socket => this.#accept(socket))
    server.on('connection', (socket: Socket) => this.#keep(socket))
    server.on('tlsClientError', (cause, socket) => {
      this.#options.refused(tlsRefusal(cause, socket), remoteBelow(socket))
    })
    return server
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket)
    // Node asks the kernel for the address when it is first read, and remembers it beyond the end.
    remoteOf(socket)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  #accept(socket: Socket): void {
    const remote = remoteOf(socket)
    new SocketLink(socket, {
      self: this.#options.self,
      limits: this.#limits,
      dialed: false,
      believe: hello => this.#admitted(believe(hello, socket, undefined)),
      up: link => this.#options.up(link),
      failed: error => this.#options.refused(error, remote)
    })
  }

  #admitted(peer: LinkPeer): LinkPeer {
    const reason = this.#options.admit?.(peer)
    if (reason === undefined) return peer
    throw new TailgateError('E_AUTH', `${peer.role} ${peer.name} is not admitted: ${reason}`, {
      context: { peer }
    })
  }

}

function remoteOf(socket: Socket): string {
  const { remoteAddress, remotePort } = socket
  return remoteAddress === undefined ? 'unknown' : `${remoteAddress}:${String(remotePort)}`
}

/** A TLS socket that failed has lost its address; the TCP socket below it, where Node keeps it, has not. */
function remoteBelow(socket: TLSSocket): string {
  return remoteOf((socket as { _parent?: Socket })._parent ?? socket)
}

/** When a certificate was not accepted, the verdict is on the socket; the error only says that it closed. */
function tlsRefusal(cause: Error, socket: TLSSocket): TailgateError {
  const verdict: unknown = socket.authorizationError
  const why = typeof verdict === 'string' ? `its certificate was not accepted: ${verdict}` : messageOf(cause)
  return new TailgateError('E_AUTH', `TLS with the other side failed: ${why}`, { cause })
}
