import type { Millis } from '../ids.ts'
import type { ReplayStream } from './replay-stream.ts'

/** So many bytes of input may wait in the gateway before no more of the tail is asked for. */
export const backlogMax = 32 << 20

/**
 * The input of a replay that is in the gateway's memory: read and not passed, or given to sides whose guest
 * has not taken it. A guest that is slower than the link, or reads nothing on some connection, would have the
 * whole tail there.
 *
 *     log ──► tail, by credit ──► queue ──► sides ──► guest
 *                     ▲             └── waits ──┘
 *                     └ none while this is too much, unless nothing of it moves
 */
export class ReplayBacklog {
  /** Those that were sent input since their sides had nothing left. */
  readonly #streams = new Set<Pick<ReplayStream, 'side' | 'state'>>()
  readonly #patienceMs: number
  /** What the sides had at the last look, and all that they were given since. */
  #sidesBytes = 0
  /** What waited at the last tick. */
  #before = 0
  #allowed = backlogMax
  /** When it was last not too much, or less than before. */
  #stirred: Millis

  /** Where nothing moves for `patienceMs`, more is let in: what stands still may need what comes next. */
  constructor(now: Millis, patienceMs: number) {
    this.#stirred = now
    this.#patienceMs = patienceMs
  }

  /** A stream was sent so many bytes of input. */
  sent(stream: Pick<ReplayStream, 'side' | 'state'>, bytes: number): void {
    this.#streams.add(stream)
    this.#sidesBytes += bytes
  }

  /** Whether too much waits, with so many bytes in the queue. */
  isFull(queuedBytes: number): boolean {
    return this.#sidesBytes + queuedBytes > this.#allowed
  }

  /** Time passes. */
  tick(now: Millis, queuedBytes: number): void {
    if (this.#sidesBytes + queuedBytes > backlogMax) this.#look()
    const bytes = this.#sidesBytes + queuedBytes
    const isLess = bytes < this.#before
    this.#before = bytes
    if (bytes <= backlogMax) this.#allowed = backlogMax
    if (isLess || !this.isFull(queuedBytes)) this.#stirred = now
    else if (now - this.#stirred >= this.#patienceMs) this.#allowed = bytes + backlogMax
  }

  #look(): void {
    this.#sidesBytes = 0
    for (const stream of this.#streams) {
      // One that is live has a limit of its own.
      const bytes = stream.state === 'live' ? 0 : stream.side?.backlog ?? 0
      if (bytes === 0) this.#streams.delete(stream)
      this.#sidesBytes += bytes
    }
  }
}
