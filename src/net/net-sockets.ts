import { closeSync } from 'node:fs'
import { createServer, isIP, Socket, type AddressInfo, type Server } from 'node:net'
import { TailgateError } from '../base/errors.ts'
import { addressText, anyHost, resolveHost, targetOf } from './address.ts'
import { DescriptorRoom } from './descriptor-room.ts'
import { dialPromise } from './dial-promise.ts'
import { dialByName, failedDial } from './dialing.ts'
import { acceptPaused, backlogDefault, relistenMs, roomFull } from './listening.ts'
import { NetSide, staticRead } from './net-side.ts'
import { adoptError, dialError, dialTimeout, listenError, systemCode } from './socket-errors.ts'
import {
  highWaterBytes, type DialEvents, type Dialing, type DialOptions, type Listener, type ListenOptions,
  type SocketSide, type Sockets, type Target
} from './sockets.ts'
import { transparentListening } from './transparent-socket.ts'

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

  connect(target: Target, options: DialOptions, events: DialEvents): Dialing {
    // Which socket to make depends on the family.
    if (options.makeSocket !== undefined && target.family === 0) {
      return dialByName(target, events, (found) => this.connect(found, options, events))
    }
    if (this.#room.take()) return this.#connect(target, options, events)
    return failedDial(events, dialError(target.text, 'EMFILE'))
  }

  dial(host: string, port: number, options: DialOptions): Promise<SocketSide> {
    return dialPromise(this, targetOf(host, port), options)
  }

  adopt(descriptor: number): SocketSide {
    const socket = openDescriptor(descriptor, () => side)
    if (socket.remoteAddress === undefined || !this.#room.take()) {
      const code = socket.remoteAddress === undefined ? 'ENOTCONN' : 'EMFILE'
      socket.destroy()
      throw adoptError(descriptor, code)
    }
    socket.setNoDelay(true)
    const side = new NetSide(socket, () => this.#room.give())
    return side
  }

  #connect(target: Target, options: DialOptions, events: DialEvents): Dialing {
    let side: NetSide | undefined
    let isGivenUp = false
    const closed = (): void => this.#room.give()
    const socket = dialingSocket(target, options, () => side)
    if (socket instanceof TailgateError) {
      closed()
      return failedDial(events, socket)
    }
    socket.pause()
    const timer = setTimeout(() => fail(dialTimeout(target.text, options.timeoutMs)), options.timeoutMs)
    const fail = (error: TailgateError): void => {
      clearTimeout(timer)
      socket.destroy()
      if (!isGivenUp) events.failed(error)
    }
    const failed = (error: Error): void => fail(dialError(target.text, systemCode(error), error))
    socket.once('error', failed)
    socket.once('close', closed)
    socket.once('connect', () => {
      clearTimeout(timer)
      socket.off('error', failed)
      socket.off('close', closed)
      side = new NetSide(socket, closed)
      events.connected(side)
    })
    const { localAddress } = options
    const from = localAddress === undefined ? {} : { localAddress, family: isIP(localAddress) }
    const { host, port } = target
    socket.connect({ host, port, noDelay: true, autoSelectFamily: false, ...from })
    return {
      cancel: () => {
        if (side !== undefined) return
        isGivenUp = true
        clearTimeout(timer)
        socket.destroy()
      }
    }
  }
}

/** Settings of a socket that reads into the static buffer. */
function socketOptions(sideOf: () => NetSide | undefined): ConstructorParameters<typeof Socket>[0] {
  const options = { allowHalfOpen: true, writableHighWaterMark: highWaterBytes, onread: staticRead(sideOf) }
  return options
}

/** The socket to connect with, or why there is none. */
function dialingSocket(
  { family }: Target, { makeSocket }: DialOptions, sideOf: () => NetSide | undefined
): Socket | TailgateError {
  try {
    const made = makeSocket?.(family === 6 ? 6 : 4)
    return made === undefined ? new Socket(socketOptions(sideOf)) : openDescriptor(made, sideOf)
  } catch (error) {
    if (error instanceof TailgateError) return error
    throw error
  }
}

/** A paused socket with this descriptor. Throws E_ATTACH; a descriptor that nothing has is closed then. */
function openDescriptor(descriptor: number, sideOf: () => NetSide | undefined): Socket {
  const wanted = { fd: descriptor, readable: true, writable: true, pauseOnCreate: true }
  try {
    return new Socket({ ...socketOptions(sideOf), ...wanted })
  } catch (error) {
    const code = systemCode(error)
    if (code !== 'EEXIST') closeQuietly(descriptor)
    throw adoptError(descriptor, code, error)
  }
}

function closeQuietly(descriptor: number): void {
  try {
    closeSync(descriptor)
  } catch {
    // It was not open, which is what is being said.
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
    const { backlog = backlogDefault, transparent } = this.#options
    return new Promise((resolve, reject) => {
      const where = transparent === true
        ? { fd: transparentListening(this.#host, port) } : { host: this.#host, port }
      const failed = (error: Error): void => reject(listenError(this.address, systemCode(error), error))
      server.once('error', failed)
      server.listen({ ...where, backlog }, () => {
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
