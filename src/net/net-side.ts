import type { Socket } from 'node:net'
import type { StreamEvents } from '../core/stream.ts'
import { addressText } from './address.ts'
import { readBufferBytes, type SocketSide } from './sockets.ts'

const readBuffer = new Uint8Array(readBufferBytes)

/**
 * `onread` of a socket that reads into the static buffer, without a Buffer and a stream event per chunk.
 * `sideOf` names the side once the socket has one.
 */
export function staticRead(sideOf: () => NetSide | undefined): {
  buffer: Uint8Array, callback: (bytes: number) => boolean
} {
  return {
    buffer: readBuffer,
    callback: (bytes) => {
      sideOf()?.received(readBuffer.subarray(0, bytes))
      return true
    }
  }
}

/**
 * A side over net.Socket: the one that works on every Node version, at the price of its streams. A reset
 * that finds data unread before it may be told as `end`: libuv takes one for the other there, and
 * net.Socket believes it.
 */
export class NetSide implements SocketSide {
  readonly local: string
  readonly remote: string
  #socket: Socket
  #events: StreamEvents | undefined
  #paused = true
  #bytesRead = 0
  /** The other side's end came while this side was paused. */
  #endHeld = false
  #endCalled = false
  #corked = false
  /** Nothing is told any more. */
  #silent = false
  /** It broke before anyone was attached. */
  #brokeEarly = false

  /** `closed` is called when the descriptor has been closed. */
  constructor(socket: Socket, closed: () => void) {
    this.#socket = socket
    this.local = addressText(socket.localAddress ?? '', socket.localPort ?? 0)
    this.remote = addressText(socket.remoteAddress ?? '', socket.remotePort ?? 0)
    socket.pause()
    socket.on('data', (bytes: Uint8Array) => this.received(bytes))
    socket.pause()
    socket.on('end', () => this.#ended())
    socket.on('drain', () => { if (!this.#silent) this.#events?.drain() })
    socket.on('error', () => this.#broke())
    socket.on('close', closed)
  }

  get bytesRead(): number {
    return this.#bytesRead
  }

  get closed(): boolean {
    return this.#silent || this.#socket.destroyed
  }

  get descriptor(): number {
    const { _handle: handle } = this.#socket as Socket & { readonly _handle?: { readonly fd: number } | null }
    return this.closed ? -1 : handle?.fd ?? -1
  }

  get backlog(): number {
    return this.#socket.writableLength
  }

  attach(events: StreamEvents): void {
    this.#events = events
    if (this.#brokeEarly) process.nextTick(() => events.reset())
  }

  /** Bytes came in; for the constructor's listener and {@link staticRead}. */
  received(bytes: Uint8Array): void {
    if (this.#silent || this.#events === undefined) return
    this.#bytesRead += bytes.length
    this.#events.data(bytes)
  }

  write(bytes: Uint8Array): void {
    if (this.#silent) return
    if (!this.#corked) {
      this.#corked = true
      this.#socket.cork()
      process.nextTick(uncork, this)
    }
    this.#socket.write(new Uint8Array(bytes))
  }

  /** The end of the turn: what it wrote leaves together. */
  uncork(): void {
    this.#corked = false
    this.#socket.uncork()
  }

  end(): void {
    if (this.#silent) return
    this.#endCalled = true
    this.#socket.end()
  }

  reset(): void {
    if (this.#silent) return
    this.#silent = true
    const socket = this.#socket
    // While a shutdown is under way, which is for one turn of the loop, libuv refuses to reset.
    const shutting = this.#endCalled && socket.writableLength === 0 && !socket.writableFinished
    if (shutting) socket.once('finish', () => socket.resetAndDestroy())
    else if (!socket.destroyed) socket.resetAndDestroy()
  }

  abandon(): void {
    this.reset()
  }

  pause(): void {
    this.#paused = true
    this.#socket.pause()
  }

  resume(): void {
    if (this.#silent) return
    this.#paused = false
    if (this.#endHeld) process.nextTick(() => this.#tellEnd())
    else this.#socket.resume()
  }

  #ended(): void {
    this.#endHeld = true
    if (!this.#paused) this.#tellEnd()
  }

  #tellEnd(): void {
    if (this.#paused || !this.#endHeld || this.#silent) return
    this.#endHeld = false
    this.#events?.end()
  }

  #broke(): void {
    if (this.#silent) return
    this.#silent = true
    if (this.#events === undefined) this.#brokeEarly = true
    else this.#events.reset()
  }
}

function uncork(side: NetSide): void {
  side.uncork()
}
