import { TailgateError } from '../base/errors.ts'
import type { ConnectionId } from '../core/ids.ts'
import type { StreamEvents, StreamSide } from '../core/stream.ts'
import { closeDescriptor, duplicate, shutdownWriting } from '../net/libc.ts'
import type { SocketSide } from '../net/sockets.ts'
import { tcpInfo, TcpState, type TcpInfo } from '../net/tcp-info.ts'
import { disconnectSilently } from '../net/tcp-repair.ts'
import type { TcpPlaces } from './tcp-places.ts'

/** What a side tells the attach that made it. */
export interface TcpSideOwner {
  /** Input was given to it that the guest has not acknowledged. */
  unacknowledged(side: TcpSide): void
  /** Nothing more comes of it. */
  done(side: TcpSide): void
}

/** Where a side's socket begins to count. */
export interface TcpSideStart {
  /** Its first byte in either direction. */
  readonly input: number
  readonly output: number
  /** What TCP_INFO says is acknowledged before any input is: the SYN, where this socket sent it. */
  readonly acknowledged: number
}

/**
 * The gateway's end of a connection with a guest behind a kernel of its own. It knows how far its streams
 * are, asks what the guest has acknowledged, and can be let go of in silence.
 *
 * When both directions have ended, the descriptor is held until the guest has acknowledged the last of it:
 * only so the last floor is known, and what the kernel would otherwise go on repeating for minutes can be
 * silenced.
 */
export class TcpSide implements StreamSide {
  readonly connection: ConnectionId
  readonly places: TcpPlaces
  readonly #socket: SocketSide
  readonly #owner: TcpSideOwner
  readonly #start: TcpSideStart
  /** Where the side stood when it was paused. */
  #pausedAt: number | undefined
  /** A descriptor of its own, once both directions have ended. */
  #held = -1
  #finSent = false
  #over = false
  /**
   * One of the streams had ended already when this side was made. Its socket knows of one end only, so it
   * never closes by itself; no end is left to be sent that the places do not count.
   */
  readonly #isHalf: boolean

  /** The socket's events are to go to a {@link TcpSideEars} of this side. */
  constructor(
    socket: SocketSide, connection: ConnectionId, places: TcpPlaces, start: TcpSideStart, owner: TcpSideOwner
  ) {
    this.#socket = socket
    this.connection = connection
    this.places = places
    this.#isHalf = places.inputEnded !== places.outputEnded
    this.#start = start
    this.#owner = owner
  }

  get backlog(): number {
    return this.#socket.backlog
  }

  get unacknowledged(): number | undefined {
    const { descriptor } = this
    return this.#over || descriptor < 0 ? undefined : this.places.input - this.#floorIn(tcpInfo(descriptor))
  }

  get descriptor(): number {
    return this.#held >= 0 ? this.#held : this.#socket.descriptor
  }

  write(bytes: Uint8Array): void {
    if (this.places.inputEnded) return
    this.places.input += bytes.length
    this.#socket.write(bytes)
    this.#owner.unacknowledged(this)
  }

  end(): void {
    const { places } = this
    if (this.#over || places.inputEnded) return
    places.inputEnded = true
    places.input += 1
    if (places.outputEnded) this.#hold()
    this.#socket.end()
    this.#owner.unacknowledged(this)
    // The held descriptor keeps the socket's own closing from ending the direction.
    if (this.#held >= 0) setImmediate(() => this.#finish())
  }

  reset(): void {
    if (this.#over) return
    this.#socket.reset()
    this.#leave()
  }

  abandon(): void {
    if (this.#over) return
    this.#silence()
    this.#socket.abandon()
    this.#leave()
  }

  pause(): void {
    this.#pausedAt ??= this.places.output
    this.#socket.pause()
  }

  resume(): void {
    if (this.#pausedAt !== undefined) this.#noteUnread(this.#pausedAt)
    this.#pausedAt = undefined
    this.#socket.resume()
  }

  /**
   * The place up to which the guest has acknowledged input; undefined where nobody can tell any more. Lets go
   * of a side that has nothing left to wait for.
   */
  floor(): number | undefined {
    const { descriptor } = this
    if (this.#over || descriptor < 0) {
      this.#leave()
      return undefined
    }
    if (this.#held >= 0) this.#finish()
    const info = tcpInfo(descriptor)
    const floor = this.#floorIn(info)
    const isDone = info.state === TcpState.close || floor >= this.places.input
    if (this.#held >= 0 && (this.#finSent || this.#isHalf) && isDone) this.#letGo()
    return floor
  }

  #floorIn({ bytesAcked }: TcpInfo): number {
    return Math.min(this.#start.input + bytesAcked - this.#start.acknowledged, this.places.input)
  }

  /** For the ears. */
  ended(): void {
    const { places } = this
    places.output += 1
    places.outputEnded = true
    if (!places.inputEnded) return
    this.#hold()
    this.#owner.unacknowledged(this)
  }

  /** For the ears: the guest reset the connection. */
  broke(): void {
    this.#leave()
  }

  /** The streams had both ended already when this side was made: the guest has only to be told so. */
  holdEnded(): void {
    this.#hold()
    this.#finSent = true
    this.#owner.unacknowledged(this)
  }

  #noteUnread(pausedAt: number): void {
    const { descriptor } = this.#socket
    if (descriptor < 0) return
    const arrived = this.#start.output + tcpInfo(descriptor).bytesReceived
    if (arrived > this.places.output) this.places.noteUnread(pausedAt, arrived)
  }

  #hold(): void {
    if (this.#held >= 0 || this.#socket.descriptor < 0) return
    try {
      this.#held = duplicate(this.#socket.descriptor)
    } catch (error) {
      // Without a descriptor to spare it ends as any socket does, and its last floor stays unknown.
      if (!(error instanceof TailgateError)) throw error
    }
  }

  /** All input has been given to the kernel: ends the direction. */
  #finish(): void {
    if (this.#finSent || this.#held < 0 || !this.#socket.closed) return
    this.#finSent = true
    shutdownWriting(this.#held)
  }

  /** What the other side has not acknowledged is not repeated any more. */
  #letGo(): void {
    this.#silence()
    if (!this.#socket.closed) this.#socket.abandon()
    this.#leave()
  }

  #silence(): void {
    const { descriptor } = this
    if (descriptor < 0 || tcpInfo(descriptor).state === TcpState.close) return
    disconnectSilently(descriptor)
  }

  #leave(): void {
    if (this.#over) return
    this.#over = true
    if (this.#held >= 0) closeDescriptor(this.#held)
    this.#held = -1
    this.#owner.done(this)
  }
}

/** What a side's socket tells, on its way to the gateway. */
export class TcpSideEars implements StreamEvents {
  readonly #events: StreamEvents
  /** Set before the socket is resumed. */
  side: TcpSide | undefined

  constructor(events: StreamEvents) {
    this.#events = events
  }

  data(bytes: Uint8Array): void {
    if (this.side !== undefined) this.side.places.output += bytes.length
    this.#events.data(bytes)
  }

  end(): void {
    this.side?.ended()
    this.#events.end()
  }

  reset(): void {
    this.side?.broke()
    this.#events.reset()
  }

  drain(): void {
    this.#events.drain()
  }
}
