import { millis, type Millis } from '../ids.ts'

/** The least and the most of the tail that may be on its way, in bytes. */
const windowBytesMin = 16 * 1024
const windowBytesMax = 4 << 20

/**
 * How much of the tail the new primary may send. Its heartbeats wait on the link behind what is on its way,
 * so the window begins small and grows only while it arrives quickly: behind a slow link nothing piles up for
 * which a host that works would be called dead, or its lease run out.
 *
 *   ask ─► window on its way ─► all of it came: quick ? twice as much : slow ? half : as before
 */
export class TailCredit {
  /** A window that comes in less than the one is quick, and in more than the other slow, in milliseconds. */
  readonly #quickMs: number
  readonly #slowMs: number
  #window = windowBytesMin
  #underWay = 0
  /** What was on its way at some moment, and how much of that has not come yet. */
  #measured: { readonly since: Millis, left: number } | undefined
  #waitsSince: Millis = millis(0)

  /** @param silenceMs how long the host may say nothing before it is taken for dead */
  constructor(silenceMs: number) {
    this.#quickMs = silenceMs / 4
    this.#slowMs = silenceMs / 2
  }

  /** How much more may be sent now; 0 for nothing. It is on its way then. */
  ask(now: Millis): number {
    const bytes = this.#window - this.#underWay
    if (bytes <= 0) return 0
    if (this.#underWay <= 0) this.#waitsSince = now
    this.#underWay += bytes
    this.#measured ??= { since: now, left: this.#underWay }
    return bytes
  }

  /** So much has come. A record that is longer than what was asked for comes whole. */
  came(now: Millis, bytes: number): void {
    this.#underWay -= bytes
    this.#waitsSince = now
    const measured = this.#measured
    if (measured === undefined) return
    measured.left -= bytes
    if (measured.left > 0) return
    this.#measured = undefined
    const took = now - measured.since
    if (took < this.#quickMs) this.#window = Math.min(this.#window * 2, windowBytesMax)
    else if (took > this.#slowMs) this.#window = Math.max(this.#window / 2, windowBytesMin)
  }

  /** Time has passed in which nothing could be heard: it says nothing of the host. */
  excuse(now: Millis): void {
    this.#waitsSince = now
    this.#measured = undefined
  }

  /** For how long something that was asked for has not come; 0 when nothing is awaited. In milliseconds. */
  waited(now: Millis): number {
    return this.#underWay > 0 ? now - this.#waitsSince : 0
  }
}
