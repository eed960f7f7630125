import { crc32 } from 'node:zlib'
import { TailgateError, messageOf } from '../../src/base/errors.ts'
import type {
  AppendOutcome, LogFigures, LogSettings, LogSnapshot, OpenLogOutcome
} from '../../src/core/agent/port.ts'
import {
  noHistory, noLsn, type CheckpointId, type Generation, type Hash, type HistoryId, type Lsn
} from '../../src/core/ids.ts'
import {
  blockSeed, decodeFileHeader, encodeBlockHeader, encodeFileHeader, FileKind, scan, type TornTail
} from '../../src/core/log/block-format.ts'
import type { LogMark } from '../../src/core/log/connection-index.ts'
import type { Piece } from '../../src/core/log/pieces.ts'
import { TailLog, type PruneJob } from '../../src/core/log/tail-log.ts'
import type { Process } from './process.ts'
import { ByteLog } from './byte-log.ts'
import { join } from './protocol.ts'
import { noBytes } from './tcp.ts'
import type { World } from './world.ts'

export const hash: Hash = (bytes, previous) => crc32(bytes, previous) as ReturnType<Hash>

/** One file: what was written, and how much of it is durable. */
interface DiskFile {
  content: ByteLog
  synced: number
}

interface WaitingAppend {
  readonly firstLsn: Lsn
  readonly lastLsn: Lsn
  readonly records: readonly Uint8Array[]
  readonly done: (outcome: AppendOutcome) => void
}

/** What a power loss, one time in so many, damages although it had been durable. */
const damageChance = 0.2

/**
 * A backup's log: the real log of src/core/log in memory, and with `durability: disk` its real blocks in a
 * simulated file, of which a power loss leaves what was synced and perhaps a torn piece of the rest. Now and
 * then it damages what was synced, which must be noticed.
 */
export class BackupStore {
  readonly #world: World
  readonly #hostName: string
  #process: Process
  #log: TailLog | undefined
  #settings: LogSettings | undefined
  #file: DiskFile | undefined
  /** The mark that a finished prune made durable. */
  #baseMark: LogMark | undefined
  #waiting: WaitingAppend[] = []
  #writing: WaitingAppend[] = []
  /** What {@link #writing} becomes in the file. */
  #block: Uint8Array = noBytes
  /** The last lsn that was called durable. */
  #durable: Lsn = noLsn
  #damaged = false
  #prunes: { readonly mark: LogMark, readonly done: () => void }[] = []
  /** Grows when the log is another one: what is still under way for an older one does nothing. */
  #age = 0
  readonly #readers = new Map<number, Generator<Piece, void>>()

  constructor(world: World, hostName: string, process: Process) {
    this.#world = world
    this.#hostName = hostName
    this.#process = process
  }

  get log(): TailLog | undefined { return this.#log }
  get durable(): boolean { return this.#settings?.durability === 'disk' }

  /**
   * The agent's process died, and with it what was in memory; a power loss also takes what was not synced.
   */
  crash(powerLoss: boolean): void {
    this.#age++
    this.#log = undefined
    this.#settings = undefined
    this.#readers.clear()
    if (this.#file !== undefined) this.#tear(this.#file, powerLoss)
    this.#waiting = []
    this.#writing = []
    this.#prunes = []
  }

  /** Of the block on its way to the disk a piece may be there, which need not be what was written. */
  #tear(file: DiskFile, powerLoss: boolean): void {
    const { random } = this.#world
    const { bytes } = file.content
    const whole = join(bytes, this.#block)
    const kept = file.synced + random.below(whole.length - file.synced + 1)
    const left = whole.slice(0, kept)
    if (kept > file.synced && random.chance(0.3)) flip(left, random.range(file.synced, kept - 1))
    if (powerLoss && random.chance(damageChance)) {
      flip(left, random.below(file.synced))
      this.#damaged = true
      this.#world.count('damaged')
    }
    file.content = new ByteLog(left, kept)
    file.synced = kept
    this.#block = noBytes
  }

  /** Another life of the agent uses it. */
  adopt(process: Process): void {
    this.#process = process
  }

  open(settings: LogSettings): OpenLogOutcome {
    if (this.#log === undefined || this.#settings?.durability !== settings.durability) {
      this.#settings = settings
      try {
        this.#log = this.#recover(settings)
      } catch (error) {
        if (!(error instanceof TailgateError)) throw error
        return this.#unreadable(error)
      }
    }
    return { ok: true, log: snapshotOf(this.#log) }
  }

  /** Only a disk that lost what it had called durable may leave a log that cannot be read. */
  #unreadable(error: TailgateError): OpenLogOutcome {
    this.#world.checks.require(this.#damaged, 2,
      `${this.#hostName} cannot read its log, of which nothing was damaged: ${error.message}`)
    this.#world.count('unreadable')
    this.#log = undefined
    return { ok: false, reason: error.message }
  }

  #newLog(settings: LogSettings): TailLog {
    return new TailLog({ segmentBytes: this.#world.scenario.logSegmentBytes, logBytes: settings.totalBytes })
  }

  /** Reads the file. Throws E_LOG_CORRUPT. */
  #recover(settings: LogSettings): TailLog {
    // The simulated file keeps what a prune has dropped, so that it may be longer than the limit.
    const log = this.#newLog({ ...settings, totalBytes: settings.totalBytes + (1 << 24) })
    const file = this.#file
    if (settings.durability !== 'disk' || file === undefined) {
      this.#file = undefined
      return log
    }
    const { bytes } = file.content
    const header = decodeFileHeader(bytes, hash)
    log.begin(header.history, header.generation, header.firstLsn)
    const torn = this.#readBlocks(log, header.history, bytes)
    if (torn !== undefined) {
      this.#world.count('torn')
      file.content = new ByteLog(bytes.slice(0, torn.at), torn.at)
      file.synced = torn.at
    }
    this.#world.checks.require(this.#damaged || log.lastLsn >= this.#durable, 2,
      `${this.#hostName} had called lsn ${this.#durable} durable; its log ends at ${log.lastLsn}`)
    if (this.#baseMark !== undefined) this.#runPrune(log.prune(this.#baseMark))
    return log
  }

  #readBlocks(log: TailLog, history: HistoryId, bytes: Uint8Array): TornTail | undefined {
    const blocks = scan(bytes, true, hash)
    let next = blocks.next()
    for (; next.done !== true; next = blocks.next()) {
      const { firstLsn, lastLsn, records } = next.value
      log.append(firstLsn, lastLsn, [records.slice()])
      // It may have been stored without anybody having been told.
      this.#world.checks.backupHolds(this.#hostName, history, firstLsn, lastLsn, [records])
    }
    return next.value
  }

  #runPrune(job: PruneJob): void {
    while (job.step(64) !== 'done') { /* it is all in memory */ }
  }

  begin(history: HistoryId, generation: Generation, firstLsn: Lsn, done: () => void): void {
    const settings = this.#settings
    if (settings === undefined) return
    this.#age++
    this.#waiting = []
    this.#writing = []
    this.#block = noBytes
    this.#durable = noLsn
    this.#damaged = false
    this.#prunes = []
    this.#readers.clear()
    this.#baseMark = undefined
    const log = this.#log ??= this.#newLog(settings)
    log.begin(history, generation, firstLsn)
    if (settings.durability === 'disk') {
      const header = encodeFileHeader(
        { kind: FileKind.begin, history, generation, firstLsn, checkpoint: 0 as CheckpointId }, hash)
      this.#file = { content: new ByteLog(header, header.length), synced: header.length }
    }
    this.#after(done)
  }

  #after(done: () => void): void {
    const age = this.#age
    this.#process.after(this.#world.diskDelay(), () => { if (age === this.#age) done() })
  }

  append(
    firstLsn: Lsn, lastLsn: Lsn, records: readonly Uint8Array[], done: (outcome: AppendOutcome) => void
  ): void {
    const log = this.#log
    if (log === undefined) return
    try {
      log.append(firstLsn, lastLsn, records)
    } catch (error) {
      this.#after(() => done({ ok: false, reason: messageOf(error) }))
      return
    }
    if (!this.durable) {
      this.#world.checks.backupHolds(this.#hostName, log.books.history, firstLsn, lastLsn, records)
      this.#world.count('epochs')
      this.#process.after(this.#world.readDelay(), () => done({ ok: true, lsn: lastLsn }))
      return
    }
    if (this.#file === undefined) return
    this.#waiting.push({
      firstLsn, lastLsn, records, done: outcome => {
        if (outcome.ok) this.#world.checks.backupHolds(this.#hostName, log.books.history, firstLsn,
          lastLsn, records)
        done(outcome)
      }
    })
    this.#write()
  }

  /** One block, one write and one sync for everything that waits, as the log on a real disk does it. */
  #write(): void {
    const file = this.#file
    const [first] = this.#waiting
    const last = this.#waiting.at(-1)
    if (file === undefined || this.#writing.length > 0 || first === undefined || last === undefined) return
    const writing = this.#writing = this.#waiting
    this.#waiting = []
    const records = writing.flatMap(one => one.records)
    const seed = blockSeed(file.content.bytes)
    const header = encodeBlockHeader(first.firstLsn, last.lastLsn, records, seed, hash)
    this.#block = records.reduce((all, one) => join(all, one), header)
    this.#after(() => {
      file.content.push(this.#block)
      file.synced = file.content.length
      this.#writing = []
      this.#block = noBytes
      this.#durable = last.lastLsn
      this.#world.count('epochs')
      for (const { lastLsn, done } of writing) done({ ok: true, lsn: lastLsn })
      this.#write()
    })
  }

  markOf(checkpoint: CheckpointId): Lsn | undefined {
    return this.#log?.markOf(checkpoint)
  }

  prune(mark: LogMark, done: () => void): void {
    this.#prunes.push({ mark, done })
    if (this.#prunes.length === 1) this.#prune()
  }

  /** One at a time, in the order in which they were asked for. */
  #prune(): void {
    const log = this.#log
    const next = this.#prunes[0]
    if (log === undefined || next === undefined) return
    const { mark, done } = next
    const finish = (): void => {
      this.#after(() => {
        this.#prunes.shift()
        // Before the answer, which may ask for the next one.
        this.#prune()
        done()
      })
    }
    if (log.base?.checkpoint === mark.checkpoint) return finish()
    const job = log.prune(mark)
    const age = this.#age
    const step = (): void => {
      this.#process.after(this.#world.readDelay(), () => {
        if (age !== this.#age) return
        if (job.step(16) !== 'done') return step()
        this.#baseMark = mark
        this.#world.checks.pruned(this.#hostName, log, mark.checkpoint)
        finish()
      })
    }
    step()
  }

  read(reader: number, bytesMax: number): Piece | undefined {
    const log = this.#log
    if (log === undefined) return undefined
    let walk = this.#readers.get(reader)
    if (walk === undefined) this.#readers.set(reader, walk = log.tail(bytesMax))
    const next = walk.next()
    return next.done === true ? undefined : next.value
  }

  closeReader(reader: number): void {
    this.#readers.delete(reader)
  }

  drop(): void {
    this.#age++
    this.#log = undefined
    this.#settings = undefined
    this.#file = undefined
    this.#baseMark = undefined
    this.#waiting = []
    this.#writing = []
    this.#block = noBytes
    this.#durable = noLsn
    this.#damaged = false
    this.#prunes = []
    this.#readers.clear()
  }

  figures(): LogFigures {
    const books = this.#log?.books
    return {
      tailBytes: books?.tailBytes ?? 0, tailRecords: books?.tailRecords ?? 0,
        connections: books?.connections ?? 0,
      memoryBytes: this.#log?.recordBytes ?? 0, diskBytes: this.#file?.content.length ?? 0
    }
  }
}

function snapshotOf(log: TailLog): LogSnapshot {
  const { base, books, lastLsn } = log
  if (books.history === noHistory) return { history: noHistory, lastLsn: noLsn, base: undefined }
  return {
    history: books.history, lastLsn,
    base: base === undefined ? undefined : { checkpoint: base.checkpoint, lsn: base.lsn }
  }
}

function flip(bytes: Uint8Array, at: number): void {
  bytes[at] = (bytes[at] ?? 0) ^ 0x55
}
