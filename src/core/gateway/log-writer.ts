import { invariant } from '../../base/invariant.ts'
import { lsn, noHistory, noLsn, type HistoryId, type Lsn } from '../ids.ts'
import {
  recordBytesMax, recordDataBytesMax, recordHeaderBytesMax, writeDataHead, writeRead, writeRecord
} from '../record-codec.ts'
import type { LogRecord } from '../record.ts'

/** Records are laid one after another in arenas of this size; a longer record gets one of its own. */
const arenaBytes = 256 * 1024

/** Arenas that are kept to be written again, however few are in use. */
const freeArenasMin = 16

const nothing = new Uint8Array(0)

/** A batch of records that is sent and acknowledged together. */
export interface Epoch {
  readonly firstLsn: Lsn
  readonly lastLsn: Lsn
  readonly bytes: number
  readonly records: readonly Uint8Array[]
}

/** Somebody whose output has been read since the last record: what a READ record tells. */
export interface ReadNote {
  readonly id: number
  readonly outputReceived: number
  readonly outputHash: number
  /** True while it waits in the writer's list. Only the writer changes it. */
  readNoted: boolean
}

export interface LogWriterOptions {
  readonly epochBytes: number
  readonly inFlightBytes: number
  /** Records have begun to gather: {@link LogWriter.flush} is wanted at the end of this turn. */
  readonly gathering: () => void
  /** Sends an epoch to the backup. */
  readonly send: (history: HistoryId, epoch: Epoch) => void
}

/**
 * The gateway's end of the log: gives each event its lsn, lays the records down once, and sends them to the
 * backup in epochs (design, "Epochs": self-clocking group commit).
 *
 *     committed          lastSent             lastLsn
 *  ──────┤ in flight ────────┤ gathering ────────┤
 *
 * With no history running it still gives out lsns, keeps nothing, and everything counts as committed.
 */
export class LogWriter {
  readonly #options: LogWriterOptions
  #history: HistoryId = noHistory
  #lastLsn: Lsn = noLsn
  #committed: Lsn = noLsn
  #arena: Uint8Array = nothing
  #at = 0
  /** Where in the arena the gathering epoch's present slice begins. */
  #sliceStart = 0
  #slices: Uint8Array[] = []
  /** Arenas that are full, with the last record in each: free when that is committed. */
  #full: { readonly arena: Uint8Array, readonly lastLsn: Lsn }[] = []
  readonly #free: Uint8Array[] = []
  #gatheredBytes = 0
  #gatheredFirst: Lsn = noLsn
  #inFlight: Epoch[] = []
  #inFlightBytes = 0
  #linked = false
  #reads: ReadNote[] = []

  constructor(options: LogWriterOptions) {
    this.#options = options
  }

  get history(): HistoryId { return this.#history }
  get lastLsn(): Lsn { return this.#lastLsn }
  get committed(): Lsn { return this.#committed }
  get epochsInFlight(): number { return this.#inFlight.length }
  /** Bytes of log that the backup has not acknowledged. */
  get unacknowledgedBytes(): number { return this.#inFlightBytes + this.#gatheredBytes }
  /** At its limit: no input may be read. */
  get congested(): boolean { return this.unacknowledgedBytes > this.#options.inFlightBytes }
  get running(): boolean { return this.#history !== noHistory }

  /** A history begins with the next record. What was not committed of an older one is forgotten. */
  begin(history: HistoryId): Lsn {
    this.stop()
    this.#history = history
    this.#linked = true
    return lsn(this.#lastLsn + 1)
  }

  /** No history runs any more: everything logged counts as committed, nothing is kept. */
  stop(): void {
    this.#history = noHistory
    this.#linked = false
    this.#inFlight = []
    this.#inFlightBytes = 0
    this.#dropGathered()
    this.#forgetReads()
    // A link may still be sending what lies in these: they are left to the garbage collector.
    this.#full = []
    this.#arena = nothing
    this.#at = this.#sliceStart = 0
    this.#committed = this.#lastLsn
  }

  /** The link to the backup is gone: epochs gather until {@link resume} or {@link stop}. */
  unlink(): void {
    this.#linked = false
  }

  /**
   * The link is back and the backup holds everything up to `held`. False if that is not a place from which
   * this writer can go on: then a new history must begin.
   */
  resume(held: Lsn): boolean {
    const atBoundary = held === this.#committed || this.#inFlight.some(epoch => epoch.lastLsn === held)
    if (!atBoundary) return false
    this.#linked = true
    this.acknowledge(held)
    for (const epoch of this.#inFlight) this.#options.send(this.#history, epoch)
    this.flush()
    return true
  }

  /** Logs input, of which it keeps a copy while a history runs. Hot path. */
  data(connection: number, bytes: Uint8Array): void {
    const length = bytes.length
    invariant(length <= recordDataBytesMax, 'a chunk of input fits one record', { length })
    if (!this.running) return this.#count()
    this.#writeReads()
    this.#reserve(recordHeaderBytesMax + length)
    const start = writeDataHead(this.#arena, this.#at, connection, length)
    this.#arena.set(bytes, start)
    this.#finish(start + length)
  }

  /** Logs any other event and returns its lsn. */
  append(record: LogRecord): Lsn {
    if (this.running) {
      this.#writeReads()
      this.#reserve(recordBytesMax(record))
      this.#finish(writeRecord(this.#arena, this.#at, record))
    } else this.#count()
    return this.#lastLsn
  }

  /** Where nothing is kept, an event has its place all the same, and is as safe as it will ever be. */
  #count(): void {
    this.#committed = this.#lastLsn = lsn(this.#lastLsn + 1)
  }

  /** Output was read: a READ record goes before the next event. Hot path. */
  noteRead(note: ReadNote): void {
    if (note.readNoted || !this.running) return
    note.readNoted = true
    this.#reads.push(note)
  }

  /** Writes the READ records that wait for a next event, so that the log says all that was read. */
  settleReads(): void {
    this.#writeReads()
  }

  /** Sends what has gathered if nothing is out, or if it fills an epoch. Called once per turn with events. */
  flush(): void {
    if (this.#gatheredBytes === 0 || !this.#linked) return
    if (this.#inFlight.length === 0 || this.#gatheredBytes >= this.#options.epochBytes) this.#closeEpoch()
  }

  /** The backup has everything up to `upTo`. Returns whether anything new is committed. */
  acknowledge(upTo: Lsn): boolean {
    if (upTo <= this.#committed) return false
    invariant(upTo <= this.#lastLsn, 'an acknowledgement names a logged event', { upTo, last: this.#lastLsn })
    let done = 0
    for (const epoch of this.#inFlight) {
      if (epoch.lastLsn > upTo) break
      this.#inFlightBytes -= epoch.bytes
      done++
    }
    invariant(done > 0 && this.#inFlight[done - 1]?.lastLsn === upTo, 'acknowledgements end where epochs end',
      { upTo, committed: this.#committed })
    this.#inFlight.splice(0, done)
    this.#committed = upTo
    this.#freeArenas()
    return true
  }

  #writeReads(): void {
    const reads = this.#reads
    for (let i = 0; i < reads.length; i++) {
      const note = reads[i]
      if (note === undefined) break
      note.readNoted = false
      this.#reserve(recordHeaderBytesMax)
      this.#finish(writeRead(this.#arena, this.#at, note.id, note.outputReceived, note.outputHash))
    }
    reads.length = 0
  }

  #forgetReads(): void {
    for (const note of this.#reads) note.readNoted = false
    this.#reads.length = 0
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#arena.length) return
    this.#closeSlice()
    this.#full.push({ arena: this.#arena, lastLsn: this.#lastLsn })
    this.#arena = (bytes <= arenaBytes ? this.#free.pop() : undefined)
      ?? new Uint8Array(Math.max(arenaBytes, bytes))
    this.#at = 0
    this.#sliceStart = 0
  }

  /**
   * What is committed has been sent, and is never sent again: its memory can be written again. As many are
   * kept as are in use, so that a backup that falls behind and catches up costs no fresh memory each time.
   */
  #freeArenas(): void {
    let done = 0
    for (const { arena, lastLsn } of this.#full) {
      if (lastLsn > this.#committed) break
      const wanted = Math.max(freeArenasMin, this.#full.length - done)
      if (arena.length === arenaBytes && this.#free.length < wanted) this.#free.push(arena)
      done++
    }
    if (done > 0) this.#full.splice(0, done)
  }

  #finish(end: number): void {
    const length = end - this.#at
    this.#at = end
    this.#lastLsn = lsn(this.#lastLsn + 1)
    if (this.#gatheredBytes === 0) {
      this.#gatheredFirst = this.#lastLsn
      if (this.#inFlight.length === 0) this.#options.gathering()
    }
    this.#gatheredBytes += length
    if (this.#gatheredBytes >= this.#options.epochBytes) this.#closeEpoch()
  }

  #closeSlice(): void {
    if (this.#at > this.#sliceStart) this.#slices.push(this.#arena.subarray(this.#sliceStart, this.#at))
    this.#sliceStart = this.#at
  }

  #dropGathered(): void {
    this.#sliceStart = this.#at
    this.#slices = []
    this.#gatheredBytes = 0
  }

  /** Makes an epoch of what has gathered, and sends it; without a link it waits for {@link resume}. */
  #closeEpoch(): void {
    this.#closeSlice()
    const epoch: Epoch = {
      firstLsn: this.#gatheredFirst, lastLsn: this.#lastLsn, bytes: this.#gatheredBytes, records: this.#slices
    }
    this.#inFlight.push(epoch)
    this.#inFlightBytes += epoch.bytes
    this.#dropGathered()
    if (this.#linked) this.#options.send(this.#history, epoch)
  }
}
