import { crc32 } from 'node:zlib'
import { messageOf } from '../../src/base/errors.ts'
import type { AppendOutcome, LogFigures, LogSettings, LogSnapshot } from '../../src/core/agent/port.ts'
import {
  noHistory, noLsn, type CheckpointId, type Generation, type Hash, type HistoryId, type Lsn
} from '../../src/core/ids.ts'
import {
  blockSeed, decodeFileHeader, encodeBlockHeader, encodeFileHeader, fileHeaderBytes, FileKind, scan
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
  readonly lastLsn: Lsn
  readonly bytes: Uint8Array
  readonly done: (outcome: AppendOutcome) => void
}

/**
 * A backup's log: the real log of src/core/log in memory, and with `durability: disk` its real blocks in a
 * simulated file, of which a power loss leaves what was synced and perhaps a torn piece of the rest.
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
    const file = this.#file
    if (file !== undefined) {
      const { random } = this.#world
      const { bytes } = file.content
      const unsynced = powerLoss ? bytes.length - file.synced : 0
      const pending = this.#writing.reduce<Uint8Array>((all, one) => join(all, one.bytes), noBytes)
      const whole = join(bytes.subarray(0, bytes.length - unsynced), pending)
      const kept = file.synced + random.below(whole.length - file.synced + 1)
      const left = whole.slice(0, kept)
      if (kept > file.synced && random.chance(0.3)) {
        const at = random.range(file.synced, kept - 1)
        left[at] = (left[at] ?? 0) ^ 0x55
      }
      file.content = new ByteLog(left, kept)
      file.synced = kept
    }
    this.#waiting = []
    this.#writing = []
    this.#prunes = []
  }

  /** Another life of the agent uses it. */
  adopt(process: Process): void {
    this.#process = process
  }

  open(settings: LogSettings): LogSnapshot {
    if (this.#log === undefined || this.#settings?.durability !== settings.durability) {
      this.#settings = settings
      this.#recover(settings)
    }
    const log = this.#log
    const base = log?.base
    return log === undefined || log.books.history === noHistory
      ? { history: noHistory, lastLsn: noLsn, base: undefined }
      : {
          history: log.books.history, lastLsn: log.lastLsn,
          base: base === undefined ? undefined : { checkpoint: base.checkpoint, lsn: base.lsn }
        }
  }

  #newLog(settings: LogSettings): TailLog {
    return new TailLog({ segmentBytes: this.#world.scenario.logSegmentBytes, logBytes: settings.totalBytes })
  }

  #recover(settings: LogSettings): void {
    // The simulated file keeps what a prune has dropped, so that it may be longer than the limit.
    const log = this.#log = this.#newLog({ ...settings, totalBytes: settings.totalBytes + (1 << 24) })
    const file = this.#file
    if (settings.durability !== 'disk' || file === undefined || file.content.length < fileHeaderBytes) {
      this.#file = undefined
      return
    }
    const { bytes } = file.content
    const header = decodeFileHeader(bytes, hash)
    log.begin(header.history, header.generation, header.firstLsn)
    const blocks = scan(bytes, true, hash)
    let next = blocks.next()
    for (; next.done !== true; next = blocks.next()) {
      const { firstLsn, lastLsn, records } = next.value
      log.append(firstLsn, lastLsn, [records.slice()])
      // It may have been stored without anybody having been told.
      this.#world.checks.backupHolds(this.#hostName, header.history, firstLsn, lastLsn, [records])
    }
    const torn = next.value
    if (torn !== undefined) {
      this.#world.count('torn')
      file.content = new ByteLog(bytes.slice(0, torn.at), torn.at)
      file.synced = torn.at
    }
    if (this.#baseMark !== undefined
      && this.#baseMark.lsn <= log.lastLsn) this.#runPrune(log.prune(this.#baseMark))
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
    const file = this.#file
    if (file === undefined) return
    const header = encodeBlockHeader(firstLsn, lastLsn, records, blockSeed(file.content.bytes), hash)
    const bytes = records.reduce((all, one) => join(all, one), header)
    this.#waiting.push({
      lastLsn, bytes, done: outcome => {
        if (outcome.ok) this.#world.checks.backupHolds(this.#hostName, log.books.history, firstLsn,
          lastLsn, records)
        done(outcome)
      }
    })
    this.#write()
  }

  /** One write and one sync for everything that waits. */
  #write(): void {
    if (this.#writing.length > 0 || this.#waiting.length === 0) return
    const writing = this.#writing = this.#waiting
    this.#waiting = []
    this.#after(() => {
      const file = this.#file
      if (file === undefined) return
      this.#writing = []
      for (const { bytes } of writing) file.content.push(bytes)
      file.synced = file.content.length
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
