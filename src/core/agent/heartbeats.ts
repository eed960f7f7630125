import type { Millis } from '../ids.ts'
import { millis } from '../ids.ts'

/**
 * Heartbeats that may wait for their acknowledgement: older ones are forgotten, which only shortens a
 * lease.
 */
const unansweredMax = 64

/**
 * When the next heartbeat is due, and until when the lease runs: `leaseMs` from the moment the newest
 * acknowledged heartbeat was *sent*, so that it ends here no later than the gateway reckons.
 */
export class Heartbeats {
  #everyMs = 0
  #leaseMs = 0
  #next: Millis | undefined
  #n = 0
  #unanswered: { readonly n: number, readonly at: Millis }[] = []
  #leaseEnd: Millis | undefined

  /** The link has an owner: the first heartbeat is due at once. */
  start(now: Millis, everyMs: number, leaseMs: number): void {
    this.#everyMs = everyMs
    this.#leaseMs = leaseMs
    this.#next = now
  }

  /** No link: nothing is due, and what was sent will not be answered. The lease runs out by itself. */
  stop(): void {
    this.#next = undefined
    this.#unanswered.length = 0
  }

  /** There is something to tell that must not wait for the next one. */
  hurry(now: Millis): void {
    if (this.#next !== undefined) this.#next = now
  }

  get next(): Millis | undefined {
    return this.#next
  }

  /** The number of the heartbeat to send now; undefined if none is due. */
  due(now: Millis): number | undefined {
    if (this.#next === undefined || now < this.#next) return undefined
    this.#next = millis(now + this.#everyMs)
    if (this.#unanswered.length >= unansweredMax) this.#unanswered.shift()
    this.#n++
    this.#unanswered.push({ n: this.#n, at: now })
    return this.#n
  }

  /** The gateway acknowledged heartbeat `n`; true when that moved the lease. */
  acknowledged(n: number): boolean {
    const answered = this.#unanswered.find(sent => sent.n === n)
    if (answered === undefined) return false
    this.#unanswered = this.#unanswered.filter(sent => sent.n > n)
    if (this.#leaseMs > 0) this.#leaseEnd = millis(answered.at + this.#leaseMs)
    return this.#leaseMs > 0
  }

  /** The guest may be reached only while a lease runs. */
  get leased(): boolean { return this.#leaseMs > 0 }

  /** What is left of the lease, in milliseconds; undefined where there is none or it has run out. */
  remaining(now: Millis): number | undefined {
    if (this.#leaseEnd === undefined || this.#leaseEnd <= now) return undefined
    return this.#leaseEnd - now
  }

  /** What was granted for an older generation or another role is no lease for this one. */
  forgetLease(): void {
    this.#leaseEnd = undefined
    this.#unanswered.length = 0
  }
}
