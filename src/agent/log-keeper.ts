import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { TailgateError } from '../base/errors.ts'
import {
  noHistory, noLsn, type CheckpointId, type Generation, type HistoryId, type Lsn
} from '../core/ids.ts'
import type { Durability } from '../core/message.ts'
import type { LogFigures, LogSettings, LogSnapshot, TailPiece } from '../core/agent/port.ts'
import type { LogStore, TailReader } from '../log/log-store.ts'
import { openLog } from '../log/open-log.ts'
import type { RecoveryReport } from '../log/disk-log.ts'

const noFigures: LogFigures = { tailBytes: 0, tailRecords: 0, connections: 0, memoryBytes: 0, diskBytes: 0 }

/**
 * The log store of one guest as the core orders it about: opened, begun, dropped, opened otherwise. Whatever
 * replaces the log waits for what came before, and the appends that follow wait for it.
 */
export class LogKeeper {
  readonly #directory: string
  #store: LogStore | undefined
  #settings: LogSettings | undefined
  /** Opening, beginning and dropping, one after another. */
  #structure: Promise<unknown> = Promise.resolve()
  #structuring = 0
  #reader: { readonly number: number, readonly tail: TailReader } | undefined
  /** Told what opening a log on disk found. */
  onRecovery: ((recovery: RecoveryReport) => void) | undefined

  /** @param directory the guest's directory; the log has one of its own in it */
  constructor(directory: string) {
    this.#directory = directory
  }

  get durability(): Durability { return this.#settings?.durability ?? 'disk' }
  get lastLsn(): Lsn { return this.#store?.lastLsn ?? noLsn }

  /**
   * Opens it, or opens it anew. Rejects with E_LOG_CORRUPT, E_VERSION, E_DISK; the files stay as they
   * are.
   */
  open(settings: LogSettings): Promise<LogSnapshot> {
    return this.#inTurn(async () => {
      await this.#close()
      this.#settings = settings
      const store = await this.#openStore(settings)
      return { history: store.history, lastLsn: store.lastLsn, base: store.base }
    })
  }

  /** A log that could not be opened is put aside, for whoever wants to look at it, and a new one made. */
  begin(history: HistoryId, generation: Generation, firstLsn: Lsn): Promise<void> {
    return this.#inTurn(async () => {
      await this.#closeReader()
      const store = this.#store ?? await this.#makeAnew()
      await store.begin(history, generation, firstLsn)
    })
  }

  /** Hot path: without anything structural under way it is the store's own promise. */
  append(firstLsn: Lsn, lastLsn: Lsn, records: readonly Uint8Array[]): Promise<Lsn> {
    const store = this.#store
    if (this.#structuring === 0 && store !== undefined) return store.append(firstLsn, lastLsn, records)
    return this.#structure.then(() => this.#opened().append(firstLsn, lastLsn, records))
  }

  markOf(checkpoint: CheckpointId): Lsn | undefined {
    return this.#store?.markOf(checkpoint)
  }

  async prune(checkpoint: CheckpointId, mark: Lsn): Promise<void> {
    if (this.#structuring > 0) await this.#structure
    await this.#opened().prune({ checkpoint, lsn: mark })
  }

  async readTail(reader: number, bytesMax: number): Promise<TailPiece | undefined> {
    if (this.#reader?.number !== reader) {
      await this.#closeReader()
      this.#reader = { number: reader, tail: this.#opened().tail() }
    }
    return this.#reader.tail.next(bytesMax)
  }

  async closeTail(reader: number): Promise<void> {
    if (this.#reader?.number === reader) await this.#closeReader()
  }

  /** Forgets the log and its files. */
  drop(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#close()
      await rm(this.#path, { recursive: true, force: true })
    })
  }

  close(): Promise<void> {
    return this.#inTurn(() => this.#close())
  }

  figures(): LogFigures {
    const store = this.#store
    if (store === undefined || store.history === noHistory) return noFigures
    const { tailBytes, tailRecords, connections, memoryBytes, diskBytes } = store
    return { tailBytes, tailRecords, connections, memoryBytes, diskBytes }
  }

  get #path(): string {
    return join(this.#directory, `log-${this.durability}`)
  }

  async #openStore(settings: LogSettings): Promise<LogStore> {
    const { durability, memoryBytes, totalBytes } = settings
    const opened = await openLog({ directory: this.#path, durability, memoryBytes, logBytes: totalBytes })
    this.#store = opened.log
    if (opened.recovery !== undefined) this.onRecovery?.(opened.recovery)
    return opened.log
  }

  async #makeAnew(): Promise<LogStore> {
    const settings = this.#settings
    if (settings === undefined) throw new TailgateError('E_LOG_CORRUPT', 'the log was never opened')
    const aside = `${this.#path}.damaged`
    await rm(aside, { recursive: true, force: true })
    await rename(this.#path, aside).catch(() => undefined)
    return this.#openStore(settings)
  }

  async #close(): Promise<void> {
    await this.#closeReader()
    const store = this.#store
    this.#store = undefined
    await store?.close()
  }

  async #closeReader(): Promise<void> {
    const reader = this.#reader
    this.#reader = undefined
    await reader?.tail.close()
  }

  #opened(): LogStore {
    if (this.#store === undefined) throw new TailgateError('E_LOG_CORRUPT', 'the log is not open')
    return this.#store
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#structuring++
    const done = this.#structure.then(work).finally(() => { this.#structuring-- })
    this.#structure = done.catch(() => undefined)
    return done
  }
}
