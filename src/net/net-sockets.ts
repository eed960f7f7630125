import { createServer, isIP, Socket, type AddressInfo, type Server } from 'node:net'
import type { TailgateError } from '../base/errors.ts'
import { addressText, anyHost, resolveHost } from './address.ts'
import { DescriptorRoom } from './descriptor-room.ts'
import { acceptPaused, backlogDefault, relistenMs, roomFull } from './listening.ts'
import { NetSide, staticRead } from './net-side.ts'
import { dialError, dialTimeout, listenError, systemCode } from './socket-errors.ts'
import {
  highWaterBytes, type DialOptions, type Listener, type ListenOptions, type SocketSide, type Sockets
} from './sockets.ts'

/** Sockets over node:net, for a Node version on which the handles do not work. */
export class NetSockets implements Sockets {
  readonly name = 'net'
  #room: DescriptorRoom

  constructor(room: DescriptorRoom = new DescriptorRoom()) {
    this.#room = room
  }

  get open(): number {
    return this.#room.open
  }

  async listen(options: ListenOptions): Promise<Listener> {
    const where = addressText(options.host, options.port)
    const { address } = await resolveHost(anyHost(options.host)).catch((error: unknown) => {
      throw listenError(where, systemCode(error), error)
    })
    const listener = new NetListener(options, address, this.#room)
    await listener.open(options.port)
    return listener
  }

  async dial(host: string, port: number, options: DialOptions): Promise<SocketSide> {
    const where = addressText(host, port)
    if (!this.#room.take()) throw dialError(where, 'EMFILE')
    return this.#connect(host, port, where, options)
  }

  #connect(host: string, port: number, where: string, options: DialOptions): Promise<SocketSide> {
    return new Promise((resolve, reject) => {
      let side: NetSide | undefined
      const socket = new Socket({
        allowHalfOpen: true, writableHighWaterMark: highWaterBytes, onread: staticRead(() => side)
      } as ConstructorParameters<typeof Socket>[0])
      socket.pause()
      const timer = setTimeout(() => fail(dialTimeout(where, options.timeoutMs)), options.timeoutMs)
      const fail = (error: TailgateError): void => {
        clearTimeout(timer)
        socket.destroy()
        reject(error)
      }
      const failed = (error: Error): void => fail(dialError(where, systemCode(error), error))
      const closed = (): void => this.#room.give()
      socket.once('error', failed)
      socket.once('close', closed)
      socket.once('connect', () => {
        clearTimeout(timer)
        socket.off('error', failed)
        socket.off('close', closed)
        side = new NetSide(socket, closed)
        resolve(side)
      })
      const { localAddress } = options
      const from = localAddress === undefined ? {} : { localAddress, family: isIP(localAddress) }
      socket.connect({ host, port, noDelay: true, autoSelectFamily: false, ...from })
    })
  }
}

class NetListener implements Listener {
  #options: ListenOptions
  #host: string
  #room: DescriptorRoom
  #server: Server
  #bound: AddressInfo | undefined
  #again: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: ListenOptions, host: string, room: DescriptorRoom) {
    this.#options = options
    this.#host = host
    this.#room = room
    const settings = {
      allowHalfOpen: true, pauseOnConnect: true, noDelay: true, highWaterMark: highWaterBytes
    }
    this.#server = createServer(settings, (socket) => this.#accept(socket))
  }

  get address(): string {
    return addressText(this.#bound?.address ?? this.#host, this.port)
  }

  get port(): number {
    return this.#bound?.port ?? this.#options.port
  }

  /** Rejects with E_LISTEN. */
  open(port: number): Promise<void> {
    const server = this.#server
    return new Promise((resolve, reject) => {
      const failed = (error: Error): void => reject(listenError(this.address, systemCode(error), error))
      server.once('error', failed)
      server.listen({ host: this.#host, port, backlog: this.#options.backlog ?? backlogDefault }, () => {
        this.#bound = server.address() as AddressInfo
        server.off('error', failed)
        server.on('error', (error) => this.#acceptFailed(error))
        resolve()
      })
    })
  }

  close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#again)
    // Server's callback waits for its connections, which go on; its handle is closed within this turn of
    // the loop.
    this.#server.close()
    return new Promise((resolve) => setImmediate(resolve))
  }

  #accept(socket: Socket): void {
    if (!this.#room.take()) {
      socket.on('error', () => undefined)
      socket.resetAndDestroy()
      if (this.#room.firstRefusal()) this.#options.trouble(roomFull(this.address, this.#room.sidesMax))
      return
    }
    this.#options.accepted(new NetSide(socket, () => this.#room.give()))
  }

  #acceptFailed(cause: Error): void {
    this.#server.removeAllListeners('error')
    this.#server.close()
    this.#options.trouble(acceptPaused(this.address, systemCode(cause)))
    this.#again = setTimeout(() => this.#reopen(), relistenMs)
  }

  #reopen(): void {
    if (this.#closed) return
    this.open(this.port).catch(() => {
      this.#again = setTimeout(() => this.#reopen(), relistenMs)
    })
  }
}
