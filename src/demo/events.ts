import { TailgateError } from '../base/errors.ts'
import { durationText } from '../observe/quantity.ts'
import type { LogLine } from './log-line.ts'

/** How long the demo waits for a line. Milliseconds. */
const patienceMsDefault = 30_000

interface Listener {
  readonly from: string
  readonly event: string
  readonly heard: (line: LogLine) => void
}

/**
 * Lets the demo wait for what processes log, instead of guessing how long things take. Every wait has a
 * limit, and ends at once with the sentence of a process that says that it cannot go on.
 */
export class Events {
  readonly #patienceMs: number
  readonly #listeners = new Set<Listener>()
  /** Ends one wait each. */
  readonly #waits = new Set<(error: Error) => void>()
  /** What the gateway said last of the guest's protection. */
  #protection = ''

  constructor(patienceMs = patienceMsDefault) {
    this.#patienceMs = patienceMs
  }

  take(from: string, line: LogLine): void {
    if (from === 'gateway' && typeof line.todo === 'string') {
      this.#protection = `; the gateway said last: ${String(line.reason)}${line.todo && `. ${line.todo}`}`
    }
    for (const listener of this.#listeners) {
      if (listener.from !== from || listener.event !== line.event) continue
      this.#listeners.delete(listener)
      listener.heard(line)
    }
    const trouble = troubleIn(from, line)
    if (trouble !== undefined) this.fail(new TailgateError('E_ENGINE', trouble))
  }

  /** Ends every wait that is under way, since nothing comes of it. */
  fail(error: TailgateError): void {
    for (const end of this.#waits) end(error)
  }

  /** The next line of `event`, as long as {@link inTime} waits for it, which has `what` in its error. */
  next(from: string, event: string, what: string): Promise<LogLine> {
    const next = new Promise<LogLine>(resolve => this.#listeners.add({ from, event, heard: resolve }))
    return this.inTime(what, next, this.#patienceMs)
  }

  /**
   * Settles as `awaited` does. Rejects with E_TIMEOUT where `what` is not so within `ms` milliseconds, and
   * with E_ENGINE as soon as a process says something after which it cannot be.
   */
  inTime<T>(what: string, awaited: Promise<T>, ms: number): Promise<T> {
    return new Promise((resolve, reject) => {
      const end = (error: Error): void => {
        over()
        reject(error)
      }
      const limit = setTimeout(() => end(this.#late(what, ms)), ms)
      const over = (): void => {
        clearTimeout(limit)
        this.#waits.delete(end)
      }
      this.#waits.add(end)
      awaited.then(value => {
        over()
        resolve(value)
      }, end)
    })
  }

  #late(what: string, ms: number): TailgateError {
    return new TailgateError('E_TIMEOUT', `it took longer than ${durationText(ms)} until ${what}`
      + `${this.#protection}; where this machine is busy, try again when it has less to do`)
  }
}

/** What is wrong, if this line says that the guest will not be protected, or not be served again. */
function troubleIn(from: string, line: LogLine): string | undefined {
  switch (line.event) {
    case 'resume.impossible':
      return 'TCP connections of a restored guest cannot be joined here, so it would not be protected: '
        + String(line.missing)
    case 'process.failed': return `${from} failed: ${String(line.error)}`
    case 'guest.failed': return `the guest on ${from} failed: ${String(line.reason)}`
    case 'guest.lost': return `the guest is lost: ${String(line.reason)}`
    default: return undefined
  }
}
