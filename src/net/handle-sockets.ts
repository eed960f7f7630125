import { isIP } from 'node:net'
import { getSystemErrorName } from 'node:util'
import { addressText, anyHost, resolveHost } from './address.ts'
import { DescriptorRoom } from './descriptor-room.ts'
import { HandleShare, HandleSide } from './handle-side.ts'
import { acceptPaused, backlogDefault, relistenMs, roomFull } from './listening.ts'
import { dialError, dialTimeout, listenError, systemCode } from './socket-errors.ts'
import type { DialOptions, Listener, ListenOptions, SocketSide, Sockets } from './sockets.ts'
import type { SocketName, TcpBinding, TcpHandle } from './tcp-binding.ts'
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

  async dial(host: string, port: number, options: DialOptions): Promise<SocketSide> {
    if (isIP(host) !== 0) return this.#connect(host, port, options)
    const { address } = await resolveHost(host).catch((error: unknown) => {
      throw dialError(addressText(host, port), systemCode(error), error)
    })
    return this.#connect(address, port, options)
  }

  #connect(address: string, port: number, options: DialOptions): Promise<SocketSide> {
    const { binding, room } = this.#share
    const where = addressText(address, port)
    if (!room.take()) return Promise.reject(dialError(where, 'EMFILE'))
    const handle = new binding.Tcp(binding.socketType)
    return new Promise((resolve, reject) => {
      let settled = false
      const fail = (error: Error): void => {
        settled = true
        clearTimeout(timer)
        handle.close()
        room.give()
        reject(error)
      }
      const timer = setTimeout(() => fail(dialTimeout(where, options.timeoutMs)), options.timeoutMs)
      const request = new binding.ConnectRequest()
      request.oncomplete = (status) => {
        if (settled) return
        if (status < 0) {
          fail(dialError(where, getSystemErrorName(status)))
          return
        }
        clearTimeout(timer)
        resolve(new HandleSide(handle, this.#share, where))
      }
      const error = startConnect(handle, request, address, port, options.localAddress)
      if (error !== 0) fail(dialError(where, getSystemErrorName(error)))
    })
  }
}

function startConnect(
  handle: TcpHandle, request: Parameters<TcpHandle['connect']>[0], address: string, port: number,
  localAddress: string | undefined
): number {
  handle.setNoDelay(true)
  const bound = localAddress === undefined ? 0 : bindTo(handle, localAddress, 0)
  if (bound !== 0) return bound
  return isIP(address) === 6
    ? handle.connect6(request, address, port)
    : handle.connect(request, address, port)
}

function bindTo(handle: TcpHandle, address: string, port: number): number {
  return isIP(address) === 6 ? handle.bind6(address, port, 0) : handle.bind(address, port)
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
    const handle = new Tcp(serverType)
    const bound = bindTo(handle, this.#host, port)
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
