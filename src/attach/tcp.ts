import { TailgateError } from '../base/errors.ts'
import type { ConnectionId, InputOffset } from '../core/ids.ts'
import type { AttachAnswer, OpenedPath } from '../core/path.ts'
import type { StreamEvents } from '../core/stream.ts'
import { parseAddress, targetOf } from '../net/address.ts'
import type { Endpoint } from '../net/ip-address.ts'
import type { DialEvents, Dialing, DialOptions, SocketSide, Sockets, Target } from '../net/sockets.ts'
import { attachError, type Attach, type Opening } from './attach.ts'
import { clientSocket, sourceError } from './client-source.ts'

export interface TcpAttachSettings {
  readonly sockets: Sockets
  /** How long a guest may take to accept a connection, in milliseconds. */
  readonly connectMs: number
  /** See {@link DialOptions}; `from`: the client's address, where the guest is to see that. */
  readonly makeSocket?: (family: 4 | 6, from?: Endpoint) => number | undefined
}

/** The closed sides are swept out of the list when it has grown to this, and to twice what is then left. */
const sweepAtLeast = 64

/**
 * Guest-facing connections that are ordinary TCP, for any service on any machine.
 *
 * - `path` is the connection's both ends as text, `10.0.0.1:40000 10.0.0.2:6379`: it names the connection
 *   in a dump of the log, and is not enough to join it again.
 * - When the guest's host dies its kernel says nothing, but when only the guest's process dies its kernel
 *   ends or resets the connection, which looks like the guest's own doing: not silent on death.
 * - No floors come. That the kernel here has taken bytes, or sent them, does not mean that the guest's
 *   kernel has acknowledged them; only TCP_INFO (`bytes_acked`) tells, which Node does not offer. So
 *   input is kept until its connection has finished before a counted mark. Nor does anybody tell that a
 *   reset has arrived: the gateway takes it for that once a mark has counted since.
 */
export class TcpAttach implements Attach {
  readonly silentOnDeath = false
  onFloor: ((connection: ConnectionId, floor: InputOffset) => void) | undefined
  onResetTaken: ((connection: ConnectionId) => void) | undefined
  #settings: TcpAttachSettings
  /** By their text; a guest has few. */
  #targets = new Map<string, Target>()
  #sides: SocketSide[] = []
  #openings = new Set<TcpOpening>()
  #sweepAt = sweepAtLeast
  #closed = false

  constructor(settings: TcpAttachSettings) {
    this.#settings = settings
  }

  open(endpoint: string, _connection: ConnectionId, events: StreamEvents, opening: Opening): void {
    const target = this.#targets.get(endpoint) ?? this.#newTarget(endpoint)
    if (this.#closed || target === undefined) {
      const error = this.#closed ? letGo(endpoint)
        : new TailgateError('E_ATTACH', `'${endpoint}' is not host:port`, { context: { endpoint } })
      process.nextTick(() => opening.failed(error))
      return
    }
    const made = new TcpOpening(this, endpoint, events, opening)
    this.#openings.add(made)
    made.dialing = this.#settings.sockets.connect(target, this.#dialOptions(opening.from), made)
  }

  #dialOptions(from: Endpoint | undefined): DialOptions {
    const { connectMs: timeoutMs, makeSocket } = this.#settings
    if (from !== undefined) {
      const make = makeSocket ?? clientSocket
      return { timeoutMs, makeSocket: (family) => make(family, from) }
    }
    return makeSocket === undefined ? { timeoutMs } : { timeoutMs, makeSocket }
  }

  /** An opening has come to its end. */
  over(opening: TcpOpening): void {
    this.#openings.delete(opening)
  }

  /** Remembers a side for {@link close}. */
  keep(side: SocketSide): void {
    this.#sides.push(side)
    // Sides close by themselves; sweeping costs less than being told.
    if (this.#sides.length >= this.#sweepAt) {
      this.#sides = this.#sides.filter((kept) => !kept.closed)
      this.#sweepAt = Math.max(sweepAtLeast, this.#sides.length * 2)
    }
  }

  attach(endpoint: string, connection: ConnectionId): Promise<AttachAnswer> {
    return Promise.reject(new TailgateError(
      'E_ATTACH',
      `connection ${connection} to ${endpoint} cannot be joined: joining a TCP connection of a restored `
        + "guest needs the QEMU/Xen engine's TCP resume, which this build does not have",
      { context: { endpoint, connection } }
    ))
  }

  /** The kernel acknowledges output by itself; there is nothing to tell the guest. */
  acknowledge(): void {
    return
  }

  close(): void {
    this.#closed = true
    // A dial that is left alone would keep a client's address and port from the next one for a while.
    for (const opening of this.#openings) opening.cancel()
    this.#openings.clear()
    for (const side of this.#sides) if (!side.closed) side.abandon()
    this.#sides = []
  }

  #newTarget(endpoint: string): Target | undefined {
    const address = parseAddress(endpoint)
    if (address === undefined) return undefined
    const target = targetOf(address.host, address.port)
    this.#targets.set(endpoint, target)
    return target
  }
}

/** One connection that is being made. */
class TcpOpening implements DialEvents {
  dialing: Dialing | undefined
  readonly #attach: TcpAttach
  readonly #endpoint: string
  readonly #events: StreamEvents
  readonly #opening: Opening

  constructor(attach: TcpAttach, endpoint: string, events: StreamEvents, opening: Opening) {
    this.#attach = attach
    this.#endpoint = endpoint
    this.#events = events
    this.#opening = opening
  }

  connected(side: SocketSide): void {
    this.#attach.over(this)
    this.#attach.keep(side)
    side.attach(this.#events)
    this.#opening.opened(new TcpPath(side))
  }

  /** The guest is let go. */
  cancel(): void {
    this.dialing?.cancel()
    process.nextTick(() => this.#opening.failed(letGo(this.#endpoint)))
  }

  failed(error: TailgateError): void {
    this.#attach.over(this)
    const { from } = this.#opening
    const told = from === undefined ? error : sourceError(error, this.#endpoint, from)
    this.#opening.failed(attachError(told, this.#endpoint))
  }
}

/** Names the connection only when that is wanted: this end's address takes a system call to find out. */
class TcpPath implements OpenedPath {
  readonly side: SocketSide

  constructor(side: SocketSide) {
    this.side = side
  }

  get path(): Uint8Array {
    return Buffer.from(`${this.side.local} ${this.side.remote}`)
  }
}

/** As E_ATTACH: the attach was closed. */
export function letGo(endpoint: string): TailgateError {
  return new TailgateError('E_ATTACH', `${endpoint} is no longer joined: its guest has been let go`)
}
