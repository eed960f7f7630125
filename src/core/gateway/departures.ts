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
 */
export class Departures {
  readonly #waiting = new Map<ReplayStream, Waiting>()
  readonly #timeoutMs: number
  /** A reset leaves nothing behind: the guest has all input before it acts on it. */
  readonly #resetsAreLast: boolean
  #now: Millis

  constructor(
    now: Millis, settings: { readonly replayTimeoutMs: number, readonly resetsTold: boolean }
  ) {
    this.#now = now
    this.#timeoutMs = settings.replayTimeoutMs
    this.#resetsAreLast = settings.resetsTold
  }

  /** Whether none is waited for. */
  get none(): boolean { return this.#waiting.size === 0 }

  /** Waits until the guest has taken the input of this stream; one that is leaving is reset then. */
  add(stream: ReplayStream): void {
    if (this.#waiting.has(stream)) return
    if (this.#resetsAreLast || stream.hasTaken(false)) stream.depart()
    else this.#waiting.set(stream, { place: stream.progress, since: this.#now })
  }

  /** Time passes. True when one that was waited for is done with. */
  tick(now: Millis): boolean {
    this.#now = now
    let hasDeparted = false
    for (const [stream, { place, since }] of this.#waiting) {
      const { progress } = stream
      if (progress !== place) this.#waiting.set(stream, { place: progress, since: now })
      const silentMs = progress === place ? now - since : 0
      if (!stream.hasTaken(silentMs >= quietAfterMs) && silentMs < this.#timeoutMs) continue
      this.#waiting.delete(stream)
      stream.depart()
      hasDeparted = true
    }
    return hasDeparted
  }
}
