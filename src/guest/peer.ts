import type { Socket } from 'node:net'
import type { Application } from './application.ts'
import { ProtocolError, RespParser } from './resp-parser.ts'
import { Session, type SessionOwner } from './session.ts'

/** Input that may wait, unparsed, for a client whose commands are not executed at the moment, in bytes. */
export const receiveBytesMax = 128 * 1024
/** Output that may wait, unacknowledged, before the client's commands are no longer executed, in bytes. */
export const unacknowledgedBytesMax = 1024 * 1024
/**
 * Output that others' PUBLISH may heap up before the client is reset, in bytes; Redis' default for
 * subscribers.
 */
export const subscriberBytesMax = 32 * 1024 * 1024

/** What a client's connection needs of the guest around it. */
export interface Surroundings {
  readonly app: Application
  /** `peer` has something to send, or has come to its end: it is flushed at the end of the turn. */
  flushLater(peer: Peer): void
  /** The guest's lease has run out: `bytes` are not known yet, and come again if it is renewed. */
  holdsBack(socket: Socket, bytes: Buffer): boolean
  /** A fault for tests: the commands of this client are not executed. */
  stalled(sessionId: number): boolean
}

/**
 * One client of the guest, plain or Tailgate's: its bytes go in, its commands are executed, its replies go
 * out.
 */
export abstract class Peer implements SessionOwner {
  readonly session: Session
  protected readonly around: Surroundings
  protected parser = new RespParser()
  protected inputEnded = false
  /** The last pump left no whole command behind. */
  protected drained = true
  protected socket: Socket | undefined
  /** Set while it waits for the end of the turn. */
  waitsForFlush = false
  #reading = false

  constructor(around: Surroundings, sessionId: number) {
    this.around = around
    this.session = new Session(sessionId, this)
  }

  /** Output on its way that the other side has not taken, in bytes. */
  protected abstract readonly outstanding: number
  /** Sends what is in `session.out`, and ends the connection if the session has come to its end. */
  abstract flush(): void
  abstract reset(): void

  /** Input came. Takes over `bytes`. */
  protected feed(bytes: Buffer): void {
    if (this.session.ending) return
    this.parser.feed(bytes)
    this.pump()
  }

  /** No input follows: what is whole is executed, then the session is over, as Redis does it. */
  protected feedEnd(): void {
    this.inputEnded = true
    if (this.session.blocked !== undefined) this.around.app.waiting.unblock(this.session)
    this.pump()
  }

  /** Executes commands as far as it may. To be called again whenever something that prevented it has gone. */
  pump(): void {
    const { app } = this.around
    this.drained = false
    while (!this.drained && this.mayExecute()) {
      const args = this.#next()
      if (args === undefined) this.drained = true
      else app.execute(this.session, args)
    }
    if (this.drained && this.inputEnded) this.session.ending = true
    this.#read(this.drained || this.session.ending || this.parser.pendingBytes <= receiveBytesMax)
    if (this.session.out.length > 0 || this.session.ending) this.around.flushLater(this)
  }

  changed(): void {
    if (this.outstanding + this.session.out.length > subscriberBytesMax) this.reset()
    else this.around.flushLater(this)
  }

  /** The end of a turn: what held a client up may have gone, and its replies leave together. */
  endTurn(): void {
    if (this.session.blocked === undefined && this.parser.pendingBytes > 0) this.pump()
    this.flush()
  }

  /** Bytes of a new socket arrive from now on. */
  protected startReading(socket: Socket): void {
    this.socket = socket
    this.#reading = true
    this.pump()
  }

  protected mayExecute(): boolean {
    const { session } = this
    return !session.ending && session.blocked === undefined
      && this.outstanding + session.out.length <= unacknowledgedBytesMax
      && !this.around.stalled(session.id)
  }

  /** The network reads every socket again after it was shut: only those that are wanted go on. */
  keepReading(): void {
    if (!this.#reading) this.socket?.pause()
  }

  #read(wanted: boolean): void {
    if (wanted === this.#reading || this.socket === undefined) return
    this.#reading = wanted
    if (wanted) this.socket.resume()
    else this.socket.pause()
  }

  #next(): string[] | undefined {
    try {
      return this.parser.next()
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.session.out.error(`ERR ${error.message}`)
      this.session.ending = true
      return undefined
    }
  }
}
