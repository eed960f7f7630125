import { TailgateError } from '../base/errors.ts'
import type { ConnectionId } from '../core/ids.ts'
import type { StreamEvents, StreamSide } from '../core/stream.ts'
import { encodeGreeting, takeAnswer, type Answer, type Greeting } from '../guest/wire.ts'
import type { SocketSide } from '../net/sockets.ts'

/** What a side asks of the attach that made it. */
export interface SideOwner {
  /** The client has reset the connection after so much input. */
  clientReset(side: EmbeddedSide): void
  /** The guest's end has been told to the gateway, so it is read like any output. */
  endTold(side: EmbeddedSide): void
  /** Nothing more comes of it. */
  done(side: EmbeddedSide): void
}

const nothing = new Uint8Array(0)

/**
 * The gateway's end of one of the embedded guest's streams. What happens to the socket under it says nothing
 * about the stream: only what the guest announces on its control connection ends or resets it.
 */
export class EmbeddedSide implements StreamSide {
  readonly connection: ConnectionId
  /** Input given to this side and before it; its end counts one. */
  input = 0
  /** The newest place that the gateway has acknowledged, and whether the guest has still to be told. */
  acknowledged = 0
  acknowledgeQueued = false
  #socket: SocketSide
  #owner: SideOwner
  #events: StreamEvents
  /** Where the next output byte of the socket belongs. */
  #output = 0
  /** The place of the guest's end, once announced. */
  #endsAt: number | undefined
  #endTold = false
  #clientEnded = false
  #paused = true
  /** Output that came with the answer, before anybody wanted it. */
  #early: Uint8Array = nothing
  #greeting: Greeter | undefined
  /** Nothing is told any more. */
  #silent = false
  /** The socket is of no use any more. */
  #broken = false

  constructor(socket: SocketSide, connection: ConnectionId, owner: SideOwner, events: StreamEvents) {
    this.#socket = socket
    this.connection = connection
    this.#owner = owner
    this.#events = events
    socket.attach({
      data: (bytes) => this.#received(bytes),
      end: () => this.#pathBroke(),
      reset: () => this.#pathBroke(),
      drain: () => { if (!this.#silent) this.#events.drain() }
    })
  }

  get backlog(): number {
    return this.#broken ? 0 : this.#socket.backlog
  }

  /** Where the next output belongs; beyond the last byte once the end has been told. */
  get outputPlace(): number {
    return this.#output
  }

  /** Bytes delivered so far by this side. */
  get bytesRead(): number {
    return this.#socket.bytesRead
  }

  /**
   * Says whose the socket is; resolves with the guest's answer. Rejects with E_ATTACH. Once, before all else.
   */
  async greet(greeting: Greeting, timeoutMs: number): Promise<Answer> {
    try {
      return await new Promise<Answer>((resolve, reject) => {
        this.#greeting = new Greeter(resolve, reject, timeoutMs)
        this.#socket.write(encodeGreeting(greeting))
        this.#socket.resume()
      })
    } catch (error) {
      this.abandon()
      throw error
    } finally {
      this.#greeting = undefined
    }
  }

  /** Where the streams stand, after an attach. */
  startAt(input: number, output: number): void {
    this.input = input
    this.#output = output
    this.acknowledged = output
  }

  write(bytes: Uint8Array): void {
    if (this.#silent) return
    this.input += bytes.length
    if (!this.#broken) this.#socket.write(bytes)
  }

  end(): void {
    if (this.#silent || this.#clientEnded) return
    this.#clientEnded = true
    this.input += 1
    if (!this.#broken) this.#socket.end()
  }

  reset(): void {
    if (this.#silent) return
    this.#silent = true
    this.#owner.clientReset(this)
    this.#owner.done(this)
    if (this.#broken) return
    // What was written is still to reach the guest, which knows from the announced place that it is not an
    // end.
    if (!this.#clientEnded) this.#socket.end()
    this.#socket.resume()
  }

  abandon(): void {
    if (this.#silent) return
    this.#silent = true
    this.#owner.done(this)
    this.#close()
  }

  pause(): void {
    this.#paused = true
    if (!this.#broken) this.#socket.pause()
  }

  resume(): void {
    if (this.#silent) return
    this.#paused = false
    if (this.#early.length > 0 || this.#output === this.#endsAt) process.nextTick(() => this.#catchUp())
    else if (!this.#broken) this.#socket.resume()
  }

  /** The guest ended its output at `place`. It may announce it again after an attach. */
  guestEnded(place: number): void {
    this.#endsAt = place
    this.#tellEnd()
  }

  /** The guest reset the stream. */
  guestReset(): void {
    if (this.#silent) return
    this.#silent = true
    this.#owner.done(this)
    this.#close()
    if (this.#greeting === undefined) this.#events.reset()
    else this.#greeting.fail('the guest reset it at once')
  }

  #received(bytes: Uint8Array): void {
    if (this.#silent) return
    if (this.#greeting === undefined) {
      this.#deliver(bytes)
      return
    }
    const rest = this.#greeting.received(bytes)
    if (rest === undefined) return
    this.#greeting = undefined
    this.#early = rest
    this.#socket.pause()
  }

  #deliver(bytes: Uint8Array): void {
    this.#output += bytes.length
    this.#events.data(bytes)
    this.#tellEnd()
  }

  /** What waited for `resume`. */
  #catchUp(): void {
    if (this.#paused || this.#silent) return
    const early = this.#early
    this.#early = nothing
    if (early.length > 0) this.#deliver(early)
    else this.#tellEnd()
    if (!this.#stopped && !this.#broken) this.#socket.resume()
  }

  /** The calls above may have led to a pause, or to the end of it all. */
  get #stopped(): boolean {
    return this.#paused || this.#silent
  }

  #tellEnd(): void {
    if (this.#stopped || this.#endTold || this.#output !== this.#endsAt || this.#early.length > 0) return
    this.#endTold = true
    this.#output += 1
    this.#owner.endTold(this)
    this.#events.end()
  }

  /** The socket ended without an announcement, or after everything was said. */
  #pathBroke(): void {
    this.#greeting?.fail('the connection broke before the guest answered')
    if (this.#broken) return
    this.#close()
    if (this.#endTold && this.#clientEnded && !this.#silent) {
      this.#silent = true
      this.#owner.done(this)
    }
  }

  #close(): void {
    if (this.#broken) return
    this.#broken = true
    this.#socket.abandon()
  }
}

/** Waits for the answer to a greeting. */
class Greeter {
  #bytes: Buffer = Buffer.alloc(0)
  #resolve: (answer: Answer) => void
  #reject: (error: TailgateError) => void
  #timer: NodeJS.Timeout

  constructor(resolve: (answer: Answer) => void, reject: (error: TailgateError) => void, timeoutMs: number) {
    this.#resolve = resolve
    this.#reject = reject
    this.#timer = setTimeout(() => this.fail(`the guest has not answered within ${timeoutMs} ms`), timeoutMs)
  }

  /** Returns what follows the answer, as bytes of its own, once that is whole. */
  received(bytes: Uint8Array): Uint8Array | undefined {
    this.#bytes = Buffer.concat([this.#bytes, bytes])
    try {
      const taken = takeAnswer(this.#bytes)
      if (taken === undefined) return undefined
      this.close()
      this.#resolve(taken.value)
      return this.#bytes.subarray(taken.bytes)
    } catch (error) {
      this.fail('what listens there is no embedded guest of this version', error)
      return nothing
    }
  }

  fail(why: string, cause?: unknown): void {
    this.close()
    this.#reject(new TailgateError('E_ATTACH', `the embedded guest could not be joined: ${why}`, { cause }))
  }

  close(): void {
    clearTimeout(this.#timer)
  }
}
