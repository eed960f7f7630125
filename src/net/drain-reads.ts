/** What can be read from, and says how much has been. */
export interface Drained {
  readonly bytesRead: number
  pause(): void
  resume(): void
}

export interface DrainLimits {
  /** More than this is not read. */
  readonly bytesMax: number
  /** Turns of the event loop after which it ends in any case. */
  readonly roundsMax: number
}

export interface DrainResult {
  readonly bytes: number
  /** Turns of the event loop that it took. */
  readonly rounds: number
  /** False when a limit ended it: the kernel may hold more. */
  readonly complete: boolean
}

/**
 * Reads what the kernel already holds for `sides` (design, failover step 2: what it has acknowledged may
 * be gone from the guest). Bytes arrive as `data` as ever; an owner that pauses a side for them is overruled.
 * `done` is called, with all sides paused, when a whole poll phase has passed in which none of them had
 * anything.
 *
 *     resume ─► check ─► poll ─► check ─► poll ─► check ─► done
 *               start    data    count    none    count
 *
 * The first check phase only starts the counting: a side resumed in a poll phase is looked at in the next
 * one.
 */
export function drainReads(
  sides: readonly Drained[], limits: DrainLimits, done: (result: DrainResult) => void
): void {
  const start = total(sides)
  let before = start
  let rounds = 0
  const resume = (): void => { for (const side of sides) side.resume() }

  const finish = (complete: boolean): void => {
    for (const side of sides) side.pause()
    done({ bytes: total(sides) - start, rounds, complete })
  }
  const round = (): void => {
    const now = total(sides)
    rounds += 1
    if (now === before && rounds > 1) finish(true)
    else if (now - start >= limits.bytesMax || rounds >= limits.roundsMax) finish(false)
    else {
      resume()
      setImmediate(round)
    }
    before = now
  }
  resume()
  setImmediate(round)
}

function total(sides: readonly Drained[]): number {
  let bytes = 0
  for (const side of sides) bytes += side.bytesRead
  return bytes
}
