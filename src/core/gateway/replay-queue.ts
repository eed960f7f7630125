import type { ConnectionId, OutputOffset } from '../ids.ts'
import { RecordKind, type LogRecord } from '../record.ts'

/** Where in the tail the first output after an input is, and which place of the output that is. */
export interface Turn {
  readonly at: number
  readonly place: OutputOffset
}

export interface Queued {
  readonly record: LogRecord
  /** Of an input: set once its first output has been seen in the tail. */
  turn: Turn | undefined
  passed: boolean
}

/** How many may be passed behind one that waits before they are let go of. */
const passedMax = 1024

/** The records of the tail that were read and are not all passed, in lsn order. */
export class ReplayQueue {
  /** The newest queued input of each connection whose first output has not been seen. */
  readonly #undecided = new Map<ConnectionId, Queued>()
  #records: Queued[] = []
  #head = 0
  /** Passed though one before them was not. */
  #ahead = 0
  #read = 0

  /** Records read and not passed. */
  get waiting(): number { return this.#records.length - this.#head - this.#ahead }

  push(record: LogRecord): void {
    const queued: Queued = { record, turn: undefined, passed: false }
    this.#records.push(queued)
    this.#read++
    if (record.kind === RecordKind.data) this.#undecided.set(record.connection, queued)
    else if (record.kind === RecordKind.read || record.kind === RecordKind.guestEnd) {
      const input = this.#undecided.get(record.connection)
      if (input !== undefined) input.turn = { at: this.#read, place: record.output }
      this.#undecided.delete(record.connection)
    }
  }

  /** Whether no output that came after this input has been seen so far. */
  isUndecided(input: Queued): boolean {
    return 'connection' in input.record && this.#undecided.get(input.record.connection) === input
  }

  /**
   * Passes what can be passed: `pass` answers whether a record is done with, and if not, whether those behind
   * it must wait, too. Returns true when there was none of those.
   */
  passThrough(pass: (queued: Queued) => 'passed' | 'waits' | 'blocks'): boolean {
    const isThrough = this.#passUntilBlocked(pass)
    this.#letGo()
    return isThrough
  }

  #passUntilBlocked(pass: (queued: Queued) => 'passed' | 'waits' | 'blocks'): boolean {
    for (let at = this.#head; at < this.#records.length; at++) {
      const next = this.#records[at]
      if (next === undefined || next.passed) continue
      const result = pass(next)
      if (result === 'blocks') return false
      if (result === 'waits') continue
      next.passed = true
      this.#ahead++
      if (at === this.#head) this.#moveHead()
    }
    return true
  }

  #moveHead(): void {
    while (this.#records[this.#head]?.passed === true) {
      this.#head++
      this.#ahead--
    }
  }

  #letGo(): void {
    const isLong = this.#head > passedMax && this.#head * 2 > this.#records.length
    if (!isLong && this.#ahead <= passedMax) return
    this.#records = this.#records.slice(this.#head).filter(({ passed }) => !passed)
    this.#head = 0
    this.#ahead = 0
  }
}
