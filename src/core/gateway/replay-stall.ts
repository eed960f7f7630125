import type { Millis, OutputOffset } from '../ids.ts'
import { Patience } from './patience.ts'
import type { ReplayStream } from './replay-stream.ts'

/** What a stream has to its credit once it was seen so often in a row to need others' input. */
const credit = { seen: 4, enough: 12, most: 16 } as const

interface Expected {
  readonly stream: ReplayStream
  readonly place: OutputOffset
}

/**
 * A replay that stands still, because the output that comes next in the tail has not come. Some output is
 * provoked by another connection's input: what waits in a queue is handed on, a message is published. If that
 * input waits for its own turn it is sent ahead of it, one after the other in the order of their turns, each
 * as soon as the one before has been answered or has had its time:
 *
 *   tail      D(taker) D(giver) R(taker) R(giver)
 *   sent      D(taker), await R(taker) … in vain: D(giver), await R(taker), await R(giver)
 *
 * A stream whose output came that way several times is given the time to come by itself only now and then.
 */
export class Stall {
  /** Sends the inputs whose turn comes first. */
  readonly #sendFirst: () => Expected | undefined
  #awaited: Expected | undefined
  /** What was sent ahead last is expected to make this. */
  #ahead: Expected | undefined
  #isMet = false
  /** The guest's own timer had to run out first. */
  #wasRepeating = false
  /** It was given the time to come by itself. */
  #hadTime = false
  readonly #patience = new Patience()
  #now: Millis
  #began: Millis
  /** When anything came of the awaited stream, or was sent ahead, for the last time. */
  #stirred: Millis

  constructor(now: Millis, sendFirst: () => Expected | undefined) {
    this.#now = this.#began = this.#stirred = now
    this.#sendFirst = sendFirst
  }

  /** The stream that is waited for. */
  get stream(): ReplayStream | undefined { return this.#awaited?.stream }
  /** So long it has said nothing, and nothing was sent ahead. */
  get silentMs(): number { return this.#now - this.#stirred }

  /** The tail is looked at from its beginning. */
  look(): void { this.#isMet = false }

  /** It has been looked at, as far as can be passed: what was awaited no more is forgotten. */
  looked(): void {
    if (!this.#isMet) this.forget()
  }

  /** This place is awaited, at first or still. */
  at(stream: ReplayStream, place: OutputOffset): void {
    this.#isMet = true
    const isKnown = this.#awaited?.stream === stream && this.#awaited.place === place
    if (!isKnown) this.#begin(stream, place)
    else if (this.#ahead?.stream.has(this.#ahead.place) === true) this.#sendAhead()
  }

  #begin(stream: ReplayStream, place: OutputOffset): void {
    if (this.#awaited?.stream !== stream) {
      stream.progressed = false
      this.#stirred = this.#now
    }
    this.#awaited = { stream, place }
    this.#ahead = undefined
    this.#began = this.#now
    this.#wasRepeating = stream.isRepeating
    this.#hadTime = false
    if (stream.provoked < credit.enough || this.#wasRepeating) return
    stream.provoked--
    this.#sendAhead()
  }

  /** Nothing is waited for any more: it came by itself, or of what was sent ahead. */
  over(): void {
    if (this.#awaited === undefined) return
    const { stream } = this.#awaited
    if (stream.state === 'joined' && !this.#wasRepeating) this.#learn(stream)
    this.forget()
  }

  #learn(stream: ReplayStream): void {
    if (this.#ahead === undefined || this.silentMs > this.#patience.ms / 2) {
      this.#patience.learn(this.#now - this.#began)
      stream.provoked = 0
    } else if (this.#hadTime && this.silentMs <= this.#patience.promptMs) {
      stream.provoked = Math.min(credit.most, stream.provoked + credit.seen)
    }
  }

  /** Nothing is waited for any more, and nothing is to be learned from that. */
  forget(): void {
    this.#awaited = this.#ahead = undefined
  }

  /** Time passes. True when the awaited stream has had its time, and nothing is left to be sent ahead. */
  tick(now: Millis): boolean {
    this.#now = now
    if (this.#awaited === undefined) return false
    const { stream } = this.#awaited
    if (stream.progressed) {
      stream.progressed = false
      this.#stirred = now
    }
    if (stream.state !== 'joined' || stream.isRepeating || this.silentMs < this.#patience.ms) return false
    this.#hadTime = true
    return !this.#sendAhead()
  }

  #sendAhead(): boolean {
    const next = this.#sendFirst()
    if (next === undefined) return false
    this.#ahead = next
    this.#stirred = this.#now
    return true
  }
}
