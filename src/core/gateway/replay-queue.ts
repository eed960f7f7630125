import type { ConnectionId, OutputOffset } from '../ids.ts'
import { RecordKind, type LogRecord } from '../record.ts'

/** Where in the tail the first output after an input is, and which place of the output that is. */
export interface Turn {
  readonly at: number
  readonly place: OutputOffset
}

export interface Queued {
  readonly record: LogRecord
  /** Its place in the tail, from 1 on. */
  readonly at: number
  /** Of an input: set once its first output has been seen in the tail. */
  turn: Turn | undefined
  passed: boolean
}

/** How many may be passed behind one that waits before they are let go of. */
const passedMax = 1024

/** The records of the tail that were read and are not all passed, in lsn order. */
export class ReplayQueue {
  /** The newest input of each connection that no output has followed. */
  readonly #newest = new Map<ConnectionId, Queued>()
  /** Where the newest output of each connection is, or its client's reset. */
  readonly #answered = new Map<ConnectionId, number>()
  #records: Queued[] = []
  #head = 0
  /** Passed though one before them was not. */
  #ahead = 0
  #read = 0
  #inputBytes = 0

  /** Bytes of input in records that were read and not passed. */
  get inputBytes(): number { return this.#inputBytes }

  /** Records read and not passed. */
  get waiting(): number { return this.#records.length - this.#head - this.#ahead }

  push(record: LogRecord): void {
    const queued: Queued = { record, at: ++this.#read, turn: undefined, passed: false }
    this.#records.push(queued)
    if (record.kind === RecordKind.data) {
      this.#newest.set(record.connection, queued)
      this.#inputBytes += record.bytes.length
    } else if (record.kind === RecordKind.read || record.kind === RecordKind.guestEnd) {
      const input = this.#newest.get(record.connection)
      if (input !== undefined) input.turn = { at: this.#read, place: record.output }
      this.#newest.delete(record.connection)
      this.#answered.set(record.connection, this.#read)
    } else if (record.kind === RecordKind.reset) {
      // Nothing answers it any more, which says nothing of when it was executed: it keeps its place.
      this.#newest.delete(record.connection)
      this.#answered.set(record.connection, this.#read)
    }
  }

  /** Whether neither output that came after this input nor its client's reset has been seen so far. */
  isUndecided({ record, at }: Queued): boolean {
    return record.kind === RecordKind.data && at > (this.#answered.get(record.connection) ?? 0)
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
      if (next.record.kind === RecordKind.data) this.#inputBytes -= next.record.bytes.length
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
