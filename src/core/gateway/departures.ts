import type { Millis } from '../ids.ts'
import type { ReplayStream } from './replay-stream.ts'

/**
 * So long a guest must have been silent to be taken for done with what it was sent. Milliseconds; the ticks
 * make it a little longer.
 */
export const quietAfterMs = 60

interface Waiting {
  /** How far the stream had come when anything of it moved for the last time. */
  readonly place: number
  readonly since: Millis
}

/**
 * Streams of a replay whose sides are to be reset. A side that is reset drops what it has not sent, and a
 * guest that is reset may do so with what it has not read: but that input had been executed, and others may
 * have been told of it. So each is reset only when its guest has taken its input:
 *
 *     sent        DATA ─────────────────────────────────► RST
 *     guest             acknowledged … answered, or silent
 *
 * One that does not take it is reset when nothing of it has moved for the time that a replay waits for
 * anything.
 *
 * What a reset does others see, too: what waited for the client is another's, a lock is free, a port may be
 * used again. So the input that follows in the tail waits for those that are leaving: all of them together
 * for no longer than a replay waits for anything.
 */
export class Departures {
  readonly #waiting = new Map<ReplayStream, Waiting>()
  readonly #timeoutMs: number
  /** A reset leaves nothing behind: the guest has all input before it acts on it. */
  readonly #resetsAreLast: boolean
  #now: Millis
  /** So long input has waited for those that were leaving, in milliseconds. */
  #blockedMs = 0

  constructor(
    now: Millis, settings: { readonly replayTimeoutMs: number, readonly resetsTold: boolean }
  ) {
    this.#now = now
    this.#timeoutMs = settings.replayTimeoutMs
    this.#resetsAreLast = settings.resetsTold
  }

  /** Whether none is waited for. */
  get none(): boolean { return this.#waiting.size === 0 }

  /** Whether the input that follows in the tail has to wait. */
  get blocks(): boolean { return this.#blockedMs < this.#timeoutMs && this.#isOneLeaving }

  get #isOneLeaving(): boolean {
    for (const { state } of this.#waiting.keys()) if (state === 'leaving') return true
    return false
  }

  /** Waits until the guest has taken the input of this stream; one that is leaving is reset then. */
  add(stream: ReplayStream): void {
    if (this.#waiting.has(stream)) return
    if (this.#resetsAreLast || stream.mayBeReset || stream.hasTaken(false)) stream.depart()
    else this.#waiting.set(stream, { place: stream.progress, since: this.#now })
  }

  /** Something has moved: those are done with whose guest has taken their input. */
  look(): void {
    for (const stream of this.#waiting.keys()) if (stream.hasTaken(false)) this.#depart(stream)
  }

  /** Time passes. True when one that was waited for is done with, or is waited for by nothing any more. */
  tick(now: Millis): boolean {
    const didBlock = this.blocks
    if (didBlock) this.#blockedMs += now - this.#now
    this.#now = now
    let hasDeparted = false
    for (const [stream, { place, since }] of this.#waiting) {
      const { progress } = stream
      if (progress !== place) this.#waiting.set(stream, { place: progress, since: now })
      const silentMs = progress === place ? now - since : 0
      if (!stream.hasTaken(silentMs >= quietAfterMs) && silentMs < this.#timeoutMs) continue
      this.#depart(stream)
      hasDeparted = true
    }
    return hasDeparted || didBlock !== this.blocks
  }

  #depart(stream: ReplayStream): void {
    this.#waiting.delete(stream)
    stream.depart()
  }
}
