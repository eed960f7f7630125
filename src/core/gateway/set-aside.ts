import type { Millis } from '../ids.ts'
import type { ReplayStream } from './replay-stream.ts'

const none: readonly ReplayStream[] = []

/** The streams whose output is not awaited in its place of the tail (see replay.ts). */
export class SetAside {
  /** With the time since when nothing at all has moved for them. */
  readonly #since = new Map<ReplayStream, Millis>()
  /** Those of which a record was found that has to wait, in this look at the tail. */
  readonly #waiting = new Set<ReplayStream>()
  #now: Millis
  #moved = false
  /** When anything moved for any of them. */
  #stirred: Millis

  constructor(now: Millis) {
    this.#now = this.#stirred = now
  }

  /** So long none of them has got on, though nothing else was left to be done. */
  get silentMs(): number { return this.#since.size === 0 ? 0 : this.#now - this.#stirred }

  add(stream: ReplayStream): void {
    this.#since.set(stream, this.#now)
    this.#stirred = this.#now
  }

  has(stream: ReplayStream): boolean { return this.#since.has(stream) }
  delete(stream: ReplayStream): void { this.#since.delete(stream) }

  /** The tail is looked at from its beginning. */
  look(): void { this.#waiting.clear() }
  /** In this look, a record of it was found that has to wait; so do all that follow. */
  isWaiting(stream: ReplayStream): boolean { return this.#waiting.has(stream) }

  /** A record of the stream has to wait: true if it is one that others need not wait for. */
  waits(stream: ReplayStream | undefined): boolean {
    if (stream === undefined || !this.#since.has(stream)) return false
    this.#waiting.add(stream)
    return true
  }

  /** A record was passed. The first of a stream set aside is the one that it was set aside for. */
  passed(stream: ReplayStream | undefined): void {
    this.#moved = true
    if (stream !== undefined) this.#since.delete(stream)
  }

  /** Time passes. Answers the streams for which nothing has moved for so long, though the others went on. */
  tick(now: Millis, timeoutMs: number): readonly ReplayStream[] {
    this.#now = now
    if (this.#since.size === 0) return none
    const late: ReplayStream[] = []
    const moved = this.#moved
    this.#moved = false
    for (const [stream, since] of this.#since) {
      if (moved || stream.progressed) {
        this.#since.set(stream, now)
        this.#stirred = now
      } else if (now - since >= timeoutMs) late.push(stream)
      stream.progressed = false
    }
    return late
  }
}
