import type { CheckpointId, Generation, HistoryId, Lsn, Millis } from '../ids.ts'
import { lsn, noHistory, noLsn } from '../ids.ts'
import type { LogMark } from '../log/connection-index.ts'
import type { AgentPort, LogSettings, LogSnapshot } from './port.ts'
import type { AgentVoice } from './voice.ts'

/** `failed`: nothing is acknowledged any more, until a history begins. */
type Phase = 'closed' | 'opening' | 'open' | 'failed'

export interface BackupLogEvents {
  /** The log was opened, began anew, or holds more: what counts may have changed. */
  changed(now: Millis): void
  /** Nothing of the log can be relied on any more. */
  failed(now: Millis): void
}

/**
 * A backup's log, as far as it decides something: which epoch fits, what is acknowledged, and what the
 * gateway is told when they disagree. `stored ≤ handed`: what the store has made durable, and what it was
 * given.
 */
export class BackupLog {
  readonly #port: AgentPort
  readonly #voice: AgentVoice
  readonly #canRestore: boolean
  readonly #events: BackupLogEvents
  #settings: LogSettings | undefined
  #phase: Phase = 'closed'
  #history: HistoryId = noHistory
  #handed: Lsn = noLsn
  #stored: Lsn = noLsn
  /** The checkpoint the log was pruned to, or is being pruned to. */
  #base: LogMark | undefined
  /** The prune that the store works on, and the one that comes after it. */
  #pruning = false
  #pruneNext: LogMark | undefined
  /** Orders whose answers belong to a log that is not the present one are told by this. */
  #incarnation = 0
  /** The gateway waits for a `position`, which is sent when nothing is on its way to the store. */
  #positionDue = false
  /** A gap was reported: the epochs that were on their way are dropped without a further word. */
  #gapTold = false
  #failure = ''

  /** `canRestore`: this host's engine can, so that the log may be needed one day. */
  constructor(port: AgentPort, voice: AgentVoice, canRestore: boolean, events: BackupLogEvents) {
    this.#port = port
    this.#voice = voice
    this.#canRestore = canRestore
    this.#events = events
  }

  get open(): boolean { return this.#phase === 'open' }
  get history(): HistoryId { return this.#history }
  get stored(): Lsn { return this.#stored }
  get base(): CheckpointId | undefined { return this.#base?.checkpoint }
  get durability(): LogSettings['durability'] { return this.#settings?.durability ?? 'disk' }
  /** Why it cannot be used, in words. */
  get failure(): string { return this.#failure }
  /** Nothing is on its way to the store. */
  get settled(): boolean {
    return this.#phase !== 'opening' && this.#handed === this.#stored && !this.#pruning
  }

  /** The gateway made this host its backup and wants to know what it holds. */
  assign(settings: LogSettings): void {
    this.#positionDue = true
    this.#gapTold = false
    if (this.#phase === 'closed' || !sameSettings(settings, this.#settings)) this.#open(settings)
    this.#answerPosition()
  }

  /** The gateway's link is gone: who comes next asks anew. */
  gatewayLost(): void {
    this.#positionDue = false
  }

  begin(history: HistoryId, generation: Generation, firstLsn: Lsn): void {
    const incarnation = ++this.#incarnation
    this.#phase = 'open'
    this.#history = history
    this.#handed = this.#stored = lsn(firstLsn - 1)
    this.#base = undefined
    this.#forgetPrunes()
    this.#positionDue = this.#gapTold = false
    this.#port.report({ type: 'log-begun', history, lsn: firstLsn })
    this.#port.beginLog(history, generation, firstLsn, (now, outcome) => {
      if (incarnation !== this.#incarnation) return
      if (outcome.ok) this.#events.changed(now)
      else this.#fail(now, outcome.reason)
    })
  }

  /** Hot path: one epoch of input. */
  epoch(history: HistoryId, firstLsn: Lsn, lastLsn: Lsn, records: readonly Uint8Array[]): void {
    if (this.#phase === 'failed') return
    const fits = history === this.#history && firstLsn === this.#handed + 1 && lastLsn >= firstLsn
    if (this.#phase !== 'open' || !fits) return this.#gap(history, firstLsn)
    this.#gapTold = false
    this.#handed = lastLsn
    const incarnation = this.#incarnation
    this.#port.append(firstLsn, lastLsn, records, (now, outcome) => {
      if (incarnation !== this.#incarnation || this.#phase !== 'open') return
      if (outcome.ok) this.#appended(now, outcome.lsn)
      else this.#fail(now, outcome.reason)
    })
  }

  /**
   * Drops what a replay from this mark does not need; {@link BackupLogEvents.changed} when that is done.
   * While the store still works on an earlier mark only the newest waits: the store remembers a few marks,
   * and would not know one that had to wait for many others.
   */
  prune(checkpoint: CheckpointId, mark: Lsn): void {
    this.#base = this.#pruneNext = { checkpoint, lsn: mark }
    if (!this.#pruning) this.#prune()
  }

  #prune(): void {
    const next = this.#pruneNext
    if (next === undefined) return
    const incarnation = this.#incarnation
    this.#pruning = true
    this.#pruneNext = undefined
    this.#port.pruneLog(next.checkpoint, next.lsn, (now, outcome) => {
      if (incarnation !== this.#incarnation) return
      this.#pruning = false
      if (!outcome.ok) return this.#fail(now, outcome.reason)
      this.#prune()
      this.#answerPosition()
      this.#events.changed(now)
    })
  }

  #forgetPrunes(): void {
    this.#pruning = false
    this.#pruneNext = undefined
  }

  /** Whether it holds the MARK record of this checkpoint at this lsn, and everything before it, durably. */
  holdsMark(checkpoint: CheckpointId, mark: Lsn): boolean {
    if (this.#phase !== 'open' || mark > this.#stored) return false
    return this.#base?.checkpoint === checkpoint || this.#port.markOf(checkpoint) === mark
  }

  /** The guest lives here now: its log is of no use any more. */
  drop(): void {
    this.#incarnation++
    this.#phase = 'closed'
    this.#settings = undefined
    this.#history = noHistory
    this.#handed = this.#stored = noLsn
    this.#base = undefined
    this.#forgetPrunes()
    this.#positionDue = false
    this.#port.dropLog()
  }

  #open(settings: LogSettings): void {
    const incarnation = ++this.#incarnation
    this.#settings = settings
    this.#phase = 'opening'
    this.#port.openLog(settings, (now, outcome) => {
      if (incarnation !== this.#incarnation) return
      if (outcome.ok) this.#opened(outcome.log)
      else this.#unreadable(outcome.reason)
      this.#answerPosition()
      this.#events.changed(now)
    })
  }

  #opened(log: LogSnapshot): void {
    this.#phase = 'open'
    this.#history = log.history
    this.#handed = this.#stored = log.lastLsn
    this.#base = log.base
    this.#forgetPrunes()
  }

  /**
   * The gateway is told that nothing is held, and begins a history: if the disk is at fault, that will
   * fail.
   */
  #unreadable(reason: string): void {
    this.#phase = 'failed'
    this.#failure = reason
    this.#port.report({ type: 'log-failed', reason })
  }

  #appended(now: Millis, upTo: Lsn): void {
    // The store may already hold more than was asked for when it answers an earlier append: one answer tells
    // all.
    if (upTo <= this.#stored) return
    this.#stored = upTo < this.#handed ? upTo : this.#handed
    this.#voice.toGateway(this.#history, { type: 'ack', lsn: this.#stored })
    this.#answerPosition()
    this.#events.changed(now)
  }

  #gap(history: HistoryId, firstLsn: Lsn): void {
    if (this.#gapTold || this.#positionDue) return
    this.#gapTold = true
    this.#positionDue = true
    this.#port.report({
      type: 'log-gap', history, lsn: firstLsn,
      reason: `an epoch that does not follow on lsn ${this.#handed} of history ${this.#history}`
    })
    this.#answerPosition()
  }

  /**
   * Only what is stored is told, and only when nothing more is on its way: the gateway goes on from
   * there.
   */
  #answerPosition(): void {
    if (!this.#positionDue || this.#phase === 'opening' || this.#handed !== this.#stored) return
    this.#positionDue = false
    const holds = this.#phase === 'open'
    const lastLsn = holds ? this.#stored : noLsn
    const canRestore = this.#canRestore
    this.#voice.toGateway(holds ? this.#history : noHistory, { type: 'position', lastLsn, canRestore })
  }

  #fail(now: Millis, reason: string): void {
    if (this.#phase === 'failed') return
    this.#phase = 'failed'
    this.#failure = reason
    this.#incarnation++
    this.#handed = this.#stored
    this.#forgetPrunes()
    this.#port.report({ type: 'log-failed', history: this.#history, lsn: this.#stored, reason })
    this.#voice.toGateway(this.#history, { type: 'log-failed', reason })
    this.#answerPosition()
    this.#events.failed(now)
  }
}

function sameSettings(a: LogSettings, b: LogSettings | undefined): boolean {
  return b !== undefined && a.durability === b.durability && a.memoryBytes === b.memoryBytes
    && a.totalBytes === b.totalBytes
}
