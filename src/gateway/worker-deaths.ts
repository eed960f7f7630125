import { backoffMs, type Backoff } from '../link/backoff.ts'

/** More deaths than this within so many milliseconds, over all workers, end the gateway. */
export const deathsMax = { deaths: 5, withinMs: 60_000 } as const

/** The wait before a worker is started again; so short that one that always dies meets the limit above. */
const restartBackoff: Backoff = { firstMs: 100, lastMs: 5000, factor: 2 }

interface Death {
  readonly worker: number
  readonly at: number
}

/** Remembers when workers died, and so decides whether one is started again, and when. */
export class WorkerDeaths {
  #recent: Death[] = []

  /**
   * A worker died at `now`, in milliseconds of a monotonic clock. Returns how long to wait before it is
   * started again, in milliseconds; undefined if this was one too many.
   *
   * @param random evenly between 0 and 1, 1 excluded
   */
  add(worker: number, now: number, random: number): number | undefined {
    this.#recent = this.#recent.filter(({ at }) => now - at < deathsMax.withinMs)
    this.#recent.push({ worker, at: now })
    if (this.#recent.length > deathsMax.deaths) return undefined
    return backoffMs(restartBackoff, this.#recent.filter((death) => death.worker === worker).length, random)
  }
}
