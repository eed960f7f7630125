import { TailgateError, messageOf } from '../base/errors.ts'
import type { ConnectionId, InputOffset } from '../core/ids.ts'
import type { AttachAnswer, OpenedPath } from '../core/path.ts'
import type { StreamEvents } from '../core/stream.ts'
import { parseAddress } from '../net/address.ts'
import type { SocketSide, Sockets } from '../net/sockets.ts'
import type { Attach } from './attach.ts'

export interface TcpAttachSettings {
  readonly sockets: Sockets
  /** How long a guest may take to accept a connection, in milliseconds. */
  readonly connectMs: number
}

const encoder = new TextEncoder()
/** The closed sides are swept out of the set when it has grown to this, and to twice what is then left. */
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
  #sides = new Set<SocketSide>()
  #sweepAt = sweepAtLeast
  #closed = false

  constructor(settings: TcpAttachSettings) {
    this.#settings = settings
  }

  async open(endpoint: string, _connection: ConnectionId, events: StreamEvents): Promise<OpenedPath> {
    const side = await this.#dial(endpoint)
    if (this.#closed) {
      side.abandon()
      throw new TailgateError('E_ATTACH', `${endpoint} is no longer joined: its guest has been let go`)
    }
    side.attach(events)
    this.#keep(side)
    return { side, path: encoder.encode(`${side.local} ${side.remote}`) }
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
    for (const side of this.#sides) if (!side.closed) side.abandon()
    this.#sides.clear()
  }

  async #dial(endpoint: string): Promise<SocketSide> {
    const target = parseAddress(endpoint)
    if (target === undefined) {
      throw new TailgateError('E_ATTACH', `'${endpoint}' is not host:port`, { context: { endpoint } })
    }
    const { sockets, connectMs } = this.#settings
    try {
      return await sockets.dial(target.host, target.port, { timeoutMs: connectMs })
    } catch (error) {
      throw new TailgateError('E_ATTACH', messageOf(error), { cause: error, context: { endpoint } })
    }
  }

  /** Remembers a side for {@link close}. Sides close by themselves; sweeping costs less than being told. */
  #keep(side: SocketSide): void {
    this.#sides.add(side)
    if (this.#sides.size < this.#sweepAt) return
    for (const kept of this.#sides) if (kept.closed) this.#sides.delete(kept)
    this.#sweepAt = Math.max(sweepAtLeast, this.#sides.size * 2)
  }
}
