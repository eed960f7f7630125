/** Epochs whose sending is remembered; more are in flight only when the backup hangs. */
const rememberedMax = 4096

/** Times commits: from the sending of an epoch to its acknowledgement. */
export class CommitClock {
  #sent: { readonly lastLsn: number, readonly at: number }[] = []

  sent(lastLsn: number, at: number): void {
    if (this.#sent.length < rememberedMax) this.#sent.push({ lastLsn, at })
  }

  /** Calls `observe` with the milliseconds that each epoch up to `lsn` took. */
  acknowledged(lsn: number, at: number, observe: (ms: number) => void): void {
    let done = 0
    for (const epoch of this.#sent) {
      if (epoch.lastLsn > lsn) break
      observe(at - epoch.at)
      done++
    }
    this.#sent.splice(0, done)
  }

  /** How old the oldest epoch without an acknowledgement is, in milliseconds. */
  oldestMs(now: number): number {
    const oldest = this.#sent[0]
    return oldest === undefined ? 0 : now - oldest.at
  }

  forget(): void {
    this.#sent = []
  }
}
