import type { Socket } from 'node:net'
import { Peer, type Surroundings } from './peer.ts'
import { RetainedOutput } from './retained-output.ts'
import { RespParser } from './resp-parser.ts'
import type { SessionState } from './session.ts'

/** A stream as the snapshot keeps it. */
export interface StreamState {
  readonly incarnation: bigint
  readonly connection: number
  readonly session: SessionState
  /** Input received so far, its end counted as one. */
  readonly input: number
  readonly inputEnded: boolean
  /** Input received and not executed. */
  readonly pending: Uint8Array
  /** Output that has not been acknowledged, and the place where it begins. */
  readonly output: Uint8Array
  readonly outputFrom: number
  readonly outputEnded: boolean
  readonly resetAt: number | undefined
}

/** What a stream tells the guest around it, which passes it to the gateway. */
export interface StreamOwner extends Surroundings {
  floorMoved(stream: GuestStream): void
  ended(stream: GuestStream): void
  /** The guest resets it; it is forgotten. */
  streamReset(stream: GuestStream): void
  /** Nothing of it is needed any more. */
  forget(stream: GuestStream): void
  /** Its socket broke without a word. */
  pathBroke(stream: GuestStream): void
}

/**
 * A connection that comes through Tailgate, with the state that a kernel would hold for it: it outlives its
 * socket, and the snapshot holds it. Places count the end of a direction as one (core/ids.ts).
 */
export class GuestStream extends Peer {
  readonly incarnation: bigint
  readonly connection: number
  #owner: StreamOwner
  #input = 0
  #output = new RetainedOutput()
  #outputEnded = false
  /** The client has reset it; once the input has come to this place, it is over. */
  #resetAt: number | undefined
  #forgotten = false
  /** Queued in the next batch of floors. */
  floorQueued = false

  constructor(owner: StreamOwner, incarnation: bigint, connection: number) {
    super(owner, connection)
    this.#owner = owner
    this.incarnation = incarnation
    this.connection = connection
  }

  /** Where the input stands; what comes next lands here. */
  get input(): number {
    return this.#input
  }

  /** Where the output stands. */
  get output(): number {
    return this.#output.end + (this.#outputEnded ? 1 : 0)
  }

  get outputEnded(): boolean {
    return this.#outputEnded
  }

  /** The place of the end itself. */
  get endPlace(): number {
    return this.#output.end
  }

  /** Where the input had come to when the client reset the connection, if it did. */
  get resetAt(): number | undefined {
    return this.#resetAt
  }

  get attached(): boolean {
    return this.socket !== undefined
  }

  get forgotten(): boolean {
    return this.#forgotten
  }

  protected get outstanding(): number {
    return this.#output.length
  }

  /**
   * Takes a socket: a new stream's first one, or one that was attached after the path broke. Sends what lies
   * after `received`; `first` is input that has been read already.
   */
  attach(socket: Socket, received: number, first: Buffer): void {
    this.socket?.destroy()
    this.acknowledge(received)
    socket.on('data', (bytes: Buffer) => {
      if (this.socket === socket && !this.#owner.holdsBack(socket, bytes)) this.#receive(bytes)
    })
    socket.on('end', () => { if (this.socket === socket) this.#receiveEnd() })
    socket.on('close', () => { if (this.socket === socket) this.#detached() })
    for (const piece of this.#output.from(Math.min(received, this.#output.end))) socket.write(piece)
    this.startReading(socket)
    if (first.length > 0) this.#receive(first)
    if (this.#outputEnded) this.#owner.ended(this)
  }

  /** Whether `received` is a place from which it can go on. */
  canResume(received: number): boolean {
    return received >= this.#output.acknowledged
  }

  /** The gateway has read the output up to `place`. */
  acknowledge(place: number): void {
    const full = !this.mayExecute()
    this.#output.acknowledge(place)
    if (this.#outputEnded && place > this.#output.end) this.#finish()
    else if (full && this.parser.pendingBytes + Number(this.inputEnded) > 0) this.pump()
  }

  /**
   * The client has reset the connection after so much input: that is still executed, but nobody is answered.
   */
  clientReset(place: number): void {
    this.#resetAt = place
    this.#output = new RetainedOutput(this.#output.end)
    this.pump()
    this.#resetIfReached()
  }

  flush(): void {
    if (this.#forgotten) return
    const bytes = this.session.out.take()
    if (this.#resetAt !== undefined) {
      this.#resetIfReached()
      return
    }
    if (bytes !== undefined) {
      this.#output.push(bytes)
      this.socket?.write(bytes)
    }
    if (!this.session.ending || this.#outputEnded) return
    this.around.app.leave(this.session)
    this.#outputEnded = true
    this.#owner.ended(this)
  }

  /** The guest resets the connection. */
  reset(): void {
    if (this.#forgotten) return
    this.#owner.streamReset(this)
    this.drop()
  }

  /** Forgets the stream; its socket is closed. */
  drop(): void {
    if (this.#forgotten) return
    this.#forgotten = true
    this.session.ending = true
    this.around.app.leave(this.session)
    this.#owner.forget(this)
    this.socket?.resetAndDestroy()
    this.socket = undefined
  }

  capture(): StreamState {
    return {
      incarnation: this.incarnation, connection: this.connection, session: this.session.capture(),
      input: this.#input, inputEnded: this.inputEnded, pending: this.parser.pending(),
      output: Buffer.concat(this.#output.from(this.#output.acknowledged)),
      outputFrom: this.#output.acknowledged,
      outputEnded: this.#outputEnded, resetAt: this.#resetAt
    }
  }

  static restore(owner: StreamOwner, state: StreamState): GuestStream {
    const stream = new GuestStream(owner, state.incarnation, state.connection)
    stream.session.restore(state.session)
    stream.#input = state.input
    stream.inputEnded = state.inputEnded
    stream.parser = new RespParser()
    stream.parser.feed(Buffer.from(state.pending))
    stream.#output = new RetainedOutput(state.outputFrom)
    if (state.output.length > 0) stream.#output.push(Buffer.from(state.output))
    stream.#outputEnded = state.outputEnded
    stream.#resetAt = state.resetAt
    return stream
  }

  #receive(bytes: Buffer): void {
    if (this.#forgotten) {
      // As a kernel answers data for a connection that is closed.
      this.#owner.streamReset(this)
      this.socket?.resetAndDestroy()
      return
    }
    this.#input += bytes.length
    this.#owner.floorMoved(this)
    this.feed(bytes)
    this.#resetIfReached()
  }

  #receiveEnd(): void {
    if (this.#forgotten) {
      this.socket?.destroy()
      return
    }
    if (this.inputEnded) return
    this.#input += 1
    this.#owner.floorMoved(this)
    this.feedEnd()
  }

  #resetIfReached(): void {
    if (this.#resetAt === undefined || this.#input < this.#resetAt || this.#forgotten) return
    const { session } = this
    const held = session.blocked !== undefined || this.around.stalled(session.id)
    if (this.drained || session.ending || held) this.drop()
    else this.around.flushLater(this)
  }

  /** All output and its end are acknowledged. The socket stays to answer input that still comes. */
  #finish(): void {
    if (this.#forgotten) return
    this.#forgotten = true
    this.#owner.forget(this)
    if (this.inputEnded) this.socket?.destroy()
  }

  #detached(): void {
    this.socket = undefined
    if (!this.#forgotten) this.#owner.pathBroke(this)
  }
}
