import { TailgateError } from '../base/errors.ts'
import type { LogLine } from './log-line.ts'

/** How long the demo waits for anything. Milliseconds. */
const patienceMs = 30_000

interface Waiter {
  readonly matches: (from: string, line: LogLine) => boolean
  readonly done: (line: LogLine) => void
}

/** Lets the demo wait for what processes log, instead of guessing how long things take. */
export class Events {
  readonly #waiting = new Set<Waiter>()

  take(from: string, line: LogLine): void {
    for (const waiter of this.#waiting) {
      if (!waiter.matches(from, line)) continue
      this.#waiting.delete(waiter)
      waiter.done(line)
    }
  }

  /** The next line of `event`. Rejects with E_TIMEOUT when it does not come. */
  next(from: string, event: string): Promise<LogLine> {
    return new Promise((resolve, reject) => {
      const waiter = {
        matches: (who: string, line: LogLine) => who === from && line.event === event,
        done: (line: LogLine) => {
          clearTimeout(limit)
          resolve(line)
        }
      }
      const limit = setTimeout(() => {
        this.#waiting.delete(waiter)
        reject(new TailgateError('E_TIMEOUT', `${from} did not log "${event}" within ${patienceMs / 1000} s`))
      }, patienceMs)
      this.#waiting.add(waiter)
    })
  }
}
