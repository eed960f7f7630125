import { messageOf, TailgateError } from '../base/errors.ts'
import { installedPackage, optionalPackage, type LoadPackage } from './optional-package.ts'

/*
 * Whole IP packets, sent as they are. The one file that knows raw-socket; needs CAP_NET_RAW.
 */

interface RawSocket {
  send(
    packet: Buffer, offset: number, length: number, address: string, sent: (error: Error | null) => void
  ): void
  close(): void
  on(event: 'error', told: (error: Error) => void): void
}

interface RawSocketPackage {
  createSocket(options: { readonly protocol: number, readonly addressFamily: number }): RawSocket
  readonly AddressFamily: { readonly IPv4: number, readonly IPv6: number }
}

/** IPPROTO_RAW: the packet brings its own IP header, and nothing is ever received (raw(7), RFC 3542, 3). */
const protocolRaw = 255

/**
 * A socket of the package sends one packet in each turn of the event loop. So many take turns: 1,000 packets
 * then take 30 turns.
 */
const socketsPerFamily = 32

/** Sends packets of both families. What is lost is lost, as on any network. */
export class RawSender {
  readonly #package: RawSocketPackage
  readonly #sockets = new Map<4 | 6, readonly RawSocket[]>()
  #next = 0
  /** Packets that the kernel refused, and why it refused the last one. */
  refused = 0
  lastRefusal = ''

  /** Throws E_ATTACH without the package. */
  constructor(load: LoadPackage = installedPackage) {
    this.#package = optionalPackage('raw-socket', load) as RawSocketPackage
  }

  /** Throws E_ATTACH without the right to. */
  open(family: 4 | 6): void {
    if (!this.#sockets.has(family)) this.#sockets.set(family, this.#opened(family))
  }

  #opened(family: 4 | 6): readonly RawSocket[] {
    const addressFamily = this.#package.AddressFamily[family === 4 ? 'IPv4' : 'IPv6']
    const sockets: RawSocket[] = []
    try {
      while (sockets.length < socketsPerFamily) {
        const socket = this.#package.createSocket({ protocol: protocolRaw, addressFamily })
        socket.on('error', (error) => this.#failed(error))
        sockets.push(socket)
      }
    } catch (cause) {
      for (const socket of sockets) socket.close()
      const why = messageOf(cause)
      const remedy = why.includes('not permitted') ? '; give this process the capability cap_net_raw' : ''
      const what = `a raw socket of IPv${family} cannot be opened: ${why}${remedy}`
      throw new TailgateError('E_ATTACH', what, { cause })
    }
    return sockets
  }

  /** Throws E_ATTACH if the first packet of a family finds no right to send. */
  send(packet: Buffer, address: string): void {
    const family = address.includes(':') ? 6 : 4
    this.open(family)
    const sockets = this.#sockets.get(family) ?? []
    const socket = sockets[this.#next++ % sockets.length]
    socket?.send(packet, 0, packet.length, address, (error) => { if (error !== null) this.#failed(error) })
  }

  #failed(error: Error): void {
    this.refused++
    this.lastRefusal = error.message
  }

  close(): void {
    for (const sockets of this.#sockets.values()) for (const socket of sockets) socket.close()
    this.#sockets.clear()
  }
}
