import { getSystemErrorName } from 'node:util'
import { addressText, anyHost, resolveHost, targetOf } from './address.ts'
import { DescriptorRoom } from './descriptor-room.ts'
import { dialPromise } from './dial-promise.ts'
import { dialByName, failedDial } from './dialing.ts'
import { bindTo, HandleDial } from './handle-dial.ts'
import { HandleShare, HandleSide } from './handle-side.ts'
import { acceptPaused, backlogDefault, relistenMs, roomFull } from './listening.ts'
import { adoptError, dialError, listenError, systemCode } from './socket-errors.ts'
import type {
  DialEvents, Dialing, DialOptions, Listener, ListenOptions, SocketSide, Sockets, Target
} from './sockets.ts'
import type { SocketName, TcpBinding, TcpHandle } from './tcp-binding.ts'
import { transparentListening } from './transparent-socket.ts'
import { enterTurn, flushTurn, leaveTurn } from './turn.ts'

/**
 * Sockets over libuv's handles: as fast as HAProxy, where net.Socket is not (docs/ARCHITECTURE.md, data
 * path).
 */
export class HandleSockets implements Sockets {
  readonly name = 'handles'
  #share: HandleShare

  constructor(binding: TcpBinding, room: DescriptorRoom = new DescriptorRoom()) {
    this.#share = new HandleShare(binding, room)
  }

  get open(): number {
    return this.#share.room.open
  }

  async listen(options: ListenOptions): Promise<Listener> {
    const { address } = await resolveHost(anyHost(options.host)).catch((error: unknown) => {
      throw listenError(addressText(options.host, options.port), systemCode(error), error)
    })
    const listener = new HandleListener(options, address, this.#share)
    listener.open(options.port)
    return listener
  }

  connect(target: Target, options: DialOptions, events: DialEvents): Dialing {
    if (target.family !== 0) return this.#connect(target, options, events)
    return dialByName(target, events, (found) => this.#connect(found, options, events))
  }

  dial(host: string, port: number, options: DialOptions): Promise<SocketSide> {
    return dialPromise(this, targetOf(host, port), options)
  }

  adopt(descriptor: number): SocketSide {
    const { binding, room } = this.#share
    const handle = new binding.Tcp(binding.socketType)
    const error = handle.open(descriptor) || handle.setNoDelay(true) || handle.getpeername({})
    if (error === 0 && room.take()) return new HandleSide(handle, this.#share)
    handle.close()
    throw adoptError(descriptor, error === 0 ? 'EMFILE' : getSystemErrorName(error))
  }

  #connect(target: Target, options: DialOptions, events: DialEvents): Dialing {
    const { room } = this.#share
    if (room.take()) return new HandleDial(this.#share, target, options, events)
    return failedDial(events, dialError(target.text, 'EMFILE'))
  }
}

class HandleListener implements Listener {
  #options: ListenOptions
  #host: string
  #share: HandleShare
  #handle: TcpHandle | undefined
  #port: number
  #again: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: ListenOptions, host: string, share: HandleShare) {
    this.#options = options
    this.#host = host
    this.#port = options.port
    this.#share = share
  }

  get address(): string {
    return addressText(this.#host, this.#port)
  }

  get port(): number {
    return this.#port
  }

  /** Throws E_LISTEN. */
  open(port: number): void {
    const { Tcp, serverType } = this.#share.binding
    const descriptor = this.#options.transparent === true ? transparentListening(this.#host, port) : undefined
    const handle = new Tcp(serverType)
    const bound = descriptor === undefined ? bindTo(handle, this.#host, port) : handle.open(descriptor)
    const error = bound === 0 ? handle.listen(this.#options.backlog ?? backlogDefault) : bound
    if (error !== 0) {
      handle.close()
      throw listenError(addressText(this.#host, port), getSystemErrorName(error))
    }
    // Accepted sockets inherit it on Linux; elsewhere #accept sets it on each.
    handle.setNoDelay(true)
    handle.onconnection = (status, client) => {
      if (status < 0) this.#acceptFailed(status)
      else this.#accept(client)
    }
    const name: SocketName = {}
    handle.getsockname(name)
    this.#port = name.port ?? port
    this.#handle = handle
  }

  close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#again)
    const handle = this.#handle
    this.#handle = undefined
    return new Promise((resolve) => {
      if (handle === undefined) resolve()
      else handle.close(resolve)
    })
  }

  #accept(client: TcpHandle): void {
    const { room } = this.#share
    if (!room.take()) {
      client.reset()
      if (room.firstRefusal()) this.#options.trouble(roomFull(this.address, room.sidesMax))
      return
    }
    if (process.platform !== 'linux') client.setNoDelay(true)
    enterTurn()
    try {
      this.#options.accepted(new HandleSide(client, this.#share))
    } finally {
      leaveTurn()
    }
    flushTurn()
  }

  #acceptFailed(status: number): void {
    this.#handle?.close()
    this.#handle = undefined
    this.#options.trouble(acceptPaused(this.address, getSystemErrorName(status)))
    this.#again = setTimeout(() => this.#reopen(), relistenMs)
  }

  #reopen(): void {
    if (this.#closed) return
    try {
      this.open(this.#port)
    } catch {
      this.#again = setTimeout(() => this.#reopen(), relistenMs)
    }
  }
}
