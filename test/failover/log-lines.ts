import { parseLogLine, type LogLine } from '../../src/demo/log-line.ts'

export type { LogLine } from '../../src/demo/log-line.ts'

type Matches = (line: LogLine) => boolean

interface Looking {
  readonly from?: number
  readonly matches?: Matches
  /** How long the line may take to come, in milliseconds. */
  readonly patienceMs?: number
}

interface Waiter {
  readonly event: string
  readonly matches: Matches
  readonly resolve: (line: LogLine) => void
  readonly reject: (error: Error) => void
}

/** How long a line may take to come, in milliseconds: so that a failing test says what it waited for. */
const usualPatienceMs = 25_000
const shownLines = 25

/** All lines that one process has logged, and those that somebody waits for. */
export class LogLines {
  readonly #name: string
  readonly #lines: LogLine[] = []
  readonly #texts: string[] = []
  readonly #waiters = new Set<Waiter>()

  constructor(name: string) {
    this.#name = name
  }

  /** How many lines there are; a place from which to look on. */
  get count(): number {
    return this.#lines.length
  }

  /** Everything that was written, log or not. */
  get words(): string {
    return this.#texts.join('\n')
  }

  add(text: string): void {
    this.#texts.push(text)
    const line = parseLogLine(text)
    if (line === undefined) return
    this.#lines.push(line)
    for (const waiter of this.#waiters) {
      if (line.event !== waiter.event || !waiter.matches(line)) continue
      this.#waiters.delete(waiter)
      waiter.resolve(line)
    }
  }

  /** The lines of `event` from the place `from` on. */
  all(event: string, from = 0): readonly LogLine[] {
    return this.#lines.slice(from).filter((line) => line.event === event)
  }

  /** The first line of `event` from the place `from` on that matches; rejects when it does not come. */
  until(event: string, looking: Looking = {}): Promise<LogLine> {
    const { from = 0, matches = () => true, patienceMs = usualPatienceMs } = looking
    const there = this.all(event, from).find(matches)
    if (there !== undefined) return Promise.resolve(there)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#giveUp(waiter, 'in time'), patienceMs)
      const waiter: Waiter = {
        event, matches,
        resolve: (line) => {
          clearTimeout(timer)
          resolve(line)
        },
        reject: (error) => {
          clearTimeout(timer)
          reject(error)
        }
      }
      this.#waiters.add(waiter)
    })
  }

  /** The next line of `event`, not one that is there already. */
  next(event: string, matches: Matches = () => true): Promise<LogLine> {
    return this.until(event, { from: this.count, matches })
  }

  /** The process is gone: nothing comes any more. */
  ended(): void {
    for (const waiter of this.#waiters) this.#giveUp(waiter, 'before it ended')
  }

  #giveUp(waiter: Waiter, when: string): void {
    this.#waiters.delete(waiter)
    const told = this.#texts.filter((text) => !text.includes('"connection.end"'))
    const last = told.slice(-shownLines).join('\n')
    waiter.reject(new Error(`${this.#name} did not log "${waiter.event}" ${when}; its last lines:\n${last}`))
  }
}
