import { TailgateError } from '../../base/errors.ts'
import { invariant } from '../../base/invariant.ts'
import {
  generation as generationOf, lsn, noHistory, noLsn,
  type CheckpointId, type Generation, type HistoryId, type Lsn
} from '../ids.ts'
import { RecordKind } from '../record.ts'
import { RecordCursor } from '../record-codec.ts'
import { ConnectionIndex, type LogCount, type LogMark } from './connection-index.ts'
import { Survivors } from './survivors.ts'

const nothing: LogCount = { records: 0, payload: 0 }

/**
 * What every log store knows about its log beside the bytes: whose it is, where it stands, its connections,
 * and what a failover would replay. The stores in memory and on disk keep the bytes, each in its way.
 */
export class LogBooks {
  #history: HistoryId = noHistory
  #generation: Generation = generationOf(0)
  #index = new ConnectionIndex()
  /** The first lsn that was not accepted. */
  #next: Lsn = lsn(1)
  #isEmpty = true
  #base: LogMark | undefined
  #baseCount: LogCount = nothing
  #baseConnections = 0
  /** Where the records after the base begin to count. */
  #start: LogCount = nothing
  #failure: TailgateError | undefined
  readonly #cursor = new RecordCursor()

  get history(): HistoryId {
    return this.#history
  }

  get generation(): Generation {
    return this.#generation
  }

  get index(): ConnectionIndex {
    return this.#index
  }

  get base(): LogMark | undefined {
    return this.#base
  }

  /** The last lsn accepted; 0 in an empty log. */
  get lastLsn(): Lsn {
    return this.#isEmpty ? noLsn : lsn(this.#next - 1)
  }

  /** Input bytes that a failover would replay. */
  get tailBytes(): number {
    return this.#baseCount.payload + this.#index.count.payload - this.#start.payload
  }

  /** Records that a failover would replay; the ADOPT records of the base are not among them. */
  get tailRecords(): number {
    return this.#baseCount.records + this.#index.count.records - this.#start.records
  }

  /** Connections of the base. */
  get connections(): number {
    return this.#baseConnections
  }

  /** Why nothing is accepted until {@link begin}, if so. */
  get failure(): TailgateError | undefined {
    return this.#failure
  }

  begin(history: HistoryId, generation: Generation, firstLsn: Lsn): void {
    this.#history = history
    this.#generation = generation
    this.#index = new ConnectionIndex()
    this.#next = firstLsn
    this.#isEmpty = true
    this.#base = undefined
    this.#baseCount = nothing
    this.#baseConnections = 0
    this.#start = nothing
    this.#failure = undefined
  }

  /** A log is opened whose records begin after `mark`; {@link followBase} comes next. */
  beginAt(history: HistoryId, generation: Generation, mark: LogMark): void {
    this.begin(history, generation, lsn(mark.lsn + 1))
    this.#isEmpty = false
    this.#base = mark
  }

  /** Takes in a piece of the base of a log that is opened. Throws E_LOG_CORRUPT. */
  followBase(records: Uint8Array): void {
    this.#cursor.reset(records)
    while (this.#cursor.next()) {
      this.#index.follow(this.#cursor, 0)
      if (this.#cursor.kind === RecordKind.adopt) this.#baseConnections++
    }
    const count = this.#index.count
    this.#baseCount = { records: count.records - this.#baseConnections, payload: count.payload }
    this.#start = count
  }

  /** Nothing more is accepted until {@link begin}. */
  fail(failure: TailgateError): void {
    this.#failure = failure
  }

  /** Throws if records with these numbers cannot be taken next. Changes nothing. */
  expect(firstLsn: Lsn, lastLsn: Lsn): void {
    if (this.#failure) throw this.#failure
    if (this.#history === noHistory) {
      throw new TailgateError('E_STALE', 'records came to a log in which no history has begun')
    }
    if (firstLsn !== this.#next || lastLsn < firstLsn) {
      const what = `records ${firstLsn} to ${lastLsn} came where ${this.#next} must follow`
      throw new TailgateError('E_LOG_CORRUPT', what, { context: { firstLsn, lastLsn, expected: this.#next } })
    }
  }

  /**
   * Takes in the records `firstLsn`..`lastLsn`, which {@link expect} let pass. Throws E_LOG_CORRUPT, after
   * which the log stands where it stood and accepts nothing until {@link begin}.
   */
  follow(firstLsn: Lsn, lastLsn: Lsn, records: Uint8Array): void {
    try {
      this.#followAll(firstLsn, lastLsn, records)
    } catch (error) {
      this.#index.forgetMarksAfter(lsn(firstLsn - 1))
      if (error instanceof TailgateError) this.fail(error)
      throw error
    }
    this.#next = lsn(lastLsn + 1)
    this.#isEmpty = false
  }

  /** The lsn of the mark of `checkpoint`, be it a MARK record or the base. */
  markOf(checkpoint: CheckpointId): Lsn | undefined {
    return this.#base?.checkpoint === checkpoint ? this.#base.lsn : this.#index.markOf(checkpoint)
  }

  /** What a prune to `mark` must keep. Throws E_STALE for a mark that the log does not hold. */
  survivors(mark: LogMark, pieceBytes: number): Survivors {
    const view = this.#index.at(mark)
    if (!view) {
      const what = `the log holds no mark of checkpoint ${mark.checkpoint} at lsn ${mark.lsn}`
      throw new TailgateError('E_STALE', what, { context: { ...mark, history: this.#history } })
    }
    return new Survivors(view, pieceBytes)
  }

  /** The log's bytes were pruned to `mark` and begin with what `survivors` wrote. */
  prunedTo(mark: LogMark, survivors: Survivors): void {
    const view = this.#index.at(mark)
    invariant(view !== undefined && survivors.reached, 'a prune ends at a mark that the log holds')
    this.#base = { checkpoint: mark.checkpoint, lsn: mark.lsn }
    this.#baseCount = survivors.count
    this.#baseConnections = survivors.connections
    this.#start = view.count
    this.#index.prunedTo(mark)
  }

  #followAll(firstLsn: Lsn, lastLsn: Lsn, records: Uint8Array): void {
    const cursor = this.#cursor
    cursor.reset(records)
    let at: number = firstLsn
    while (cursor.next()) {
      this.#index.follow(cursor, at)
      at++
    }
    if (at === lastLsn + 1) return
    throw new TailgateError('E_LOG_CORRUPT', `${at - firstLsn} records came as ${firstLsn} to ${lastLsn}`,
      { context: { firstLsn, lastLsn, records: at - firstLsn } })
  }
}
