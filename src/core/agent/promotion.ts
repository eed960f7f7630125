import type { HistoryId, Lsn, Millis } from '../ids.ts'
import { lsn, noHistory } from '../ids.ts'
import type { BackupLog } from './backup-log.ts'
import type { Images } from './images.ts'
import type { AgentLimits, AgentPort, ImageInfo } from './port.ts'
import type { AgentVoice } from './voice.ts'

/*
 *   waiting → restoring → restored → opening → open → (replayed)
 *      └──────────┴──────────┴──────────┴─────────┴──→ over
 *
 * The network is closed up to `opening`, and only the gateway's open-network leads there.
 */
type Phase = 'waiting' | 'restoring' | 'restored' | 'opening' | 'open' | 'over'

export interface PromotionOrder {
  /** The history whose tail will be replayed. */
  readonly history: HistoryId
  readonly lastLsn: Lsn
  /** The newest whole image of any history, and no tail. */
  readonly acceptLoss: boolean
}

export interface PromotionEvents {
  /** The guest is in place (its network closed), its network is open, or the promotion failed. */
  restored(now: Millis, endpoints: readonly string[]): void
  networkOpen(now: Millis): void
  failed(now: Millis, reason: string): void
}

/** One promotion at a backup, from its durable generation to the last piece of the tail. */
export class Promotion {
  readonly #port: AgentPort
  readonly #voice: AgentVoice
  readonly #log: BackupLog
  readonly #images: Images
  readonly #limits: AgentLimits
  readonly #events: PromotionEvents
  readonly #order: PromotionOrder
  readonly #startedAt: Millis
  #phase: Phase = 'waiting'
  #image: ImageInfo | undefined
  #endpoints: readonly string[] = []
  #restoreMs = 0
  #credit = 0
  #reader = 0
  #reading = false
  #tailEnded = false
  #orphaned = false

  constructor(
    parts: {
      readonly port: AgentPort, readonly voice: AgentVoice, readonly log: BackupLog, readonly images: Images
      readonly limits: AgentLimits, readonly events: PromotionEvents
    },
    order: PromotionOrder, now: Millis
  ) {
    this.#port = parts.port
    this.#voice = parts.voice
    this.#log = parts.log
    this.#images = parts.images
    this.#limits = parts.limits
    this.#events = parts.events
    this.#order = order
    this.#startedAt = now
  }

  get over(): boolean { return this.#phase === 'over' }
  /** The guest may be reached by clients. */
  get networkOpen(): boolean { return this.#phase === 'open' }
  /** Its network was ordered open, so that nobody may take it for a standby any more. */
  get networkOrdered(): boolean { return this.#phase === 'open' || this.#phase === 'opening' }
  get guestThere(): boolean { return this.networkOrdered || this.#phase === 'restored' }
  /** The gateway that ordered it is gone, and with it, as far as is known here, the replay. */
  get orphaned(): boolean { return this.#orphaned }

  /**
   * Goes on as soon as nothing is on its way to the log, nor into the engine; called again when the log or
   * the images have changed.
   */
  advance(now: Millis): void {
    if (this.#phase !== 'waiting' || this.#images.absorbing) return
    if (!this.#order.acceptLoss && this.#log.open && !this.#log.settled) return
    const chosen = this.#choose()
    if (typeof chosen === 'string') return this.#fail(now, chosen)
    this.#image = chosen
    this.#phase = 'restoring'
    this.#port.report({ type: 'promoting', checkpoint: chosen.checkpoint, lsn: chosen.mark })
    this.#port.restoreGuest(chosen.checkpoint, (at, outcome) => {
      this.#images.restored(outcome.ok ? undefined : outcome.reason)
      if (this.#phase !== 'restoring') return
      if (!outcome.ok) return this.#fail(at, outcome.reason)
      this.#phase = 'restored'
      this.#endpoints = outcome.endpoints
      this.#restoreMs = at - this.#startedAt
      this.#events.restored(at, outcome.endpoints)
      this.#tellPromoted()
    })
  }

  /** The gateway asks again after its link was away: says again what it may have missed. */
  resume(): void {
    this.#orphaned = false
    this.#tellPromoted()
  }

  #tellPromoted(): void {
    if (this.#image === undefined || !this.guestThere) return
    const { checkpoint, mark, history } = this.#image
    this.#port.report({ type: 'promoted', checkpoint, lsn: mark, ms: this.#restoreMs })
    this.#voice.toGateway(history, {
      type: 'promoted', checkpoint, mark, endpoints: this.#endpoints, restoreMs: this.#restoreMs
    })
  }

  openNetwork(now: Millis): void {
    if (this.#phase === 'open') return this.#tellOpen(now)
    if (this.#phase !== 'restored') return this.#refuse('open-network before the guest is restored')
    this.#phase = 'opening'
    this.#port.openNetwork((at, outcome) => {
      if (this.#phase !== 'opening') return
      if (!outcome.ok) return this.#fail(at, outcome.reason)
      this.#phase = 'open'
      this.#tellOpen(at)
    })
  }

  /** The gateway has room for more of the tail. */
  credit(bytes: number): void {
    if (!this.guestThere) return this.#refuse('tail-credit before the guest is restored')
    this.#credit += bytes
    this.#pump()
  }

  /**
   * Whoever comes next may know nothing of the replay: until it says that it goes on, or that all was
   * replayed, this guest is not one to be served. What was sent of the tail may be lost, so it would begin
   * at its start.
   */
  gatewayLost(): void {
    this.#orphaned = true
    this.#port.closeTail(this.#reader)
    this.#reader++
    this.#reading = false
    this.#tailEnded = false
    this.#credit = 0
  }

  /** Nothing of it goes on: a newer generation came, the guest failed, or it is done. */
  end(): void {
    if (this.#phase === 'over') return
    this.#phase = 'over'
    this.#port.closeTail(this.#reader)
  }

  #choose(): ImageInfo | string {
    const { acceptLoss, lastLsn, history } = this.#order
    if (acceptLoss) return this.#images.newest ?? 'there is no whole checkpoint here'
    const log = this.#log
    if (!log.open) return `the log cannot be used: ${log.failure === '' ? 'it is not open' : log.failure}`
    if (log.history !== history) return `the log holds history ${log.history}, not ${history}`
    if (log.stored !== lastLsn) return `the log ends at lsn ${log.stored}, not at ${lastLsn}`
    return this.#images.counted ?? 'no checkpoint counts in this history'
  }

  #pump(): void {
    if (this.#reading || this.#tailEnded || this.#credit <= 0) return
    if (this.#order.acceptLoss) return this.#endTail(this.#image?.mark ?? lsn(0))
    const reader = this.#reader
    this.#reading = true
    const bytesMax = Math.min(this.#credit, this.#limits.tailPieceBytes)
    this.#port.readTail(reader, bytesMax, (at, outcome) => {
      if (reader !== this.#reader || this.#phase === 'over') return
      this.#reading = false
      if (!outcome.ok) return this.#fail(at, outcome.reason)
      if (outcome.piece === undefined) return this.#endTail(this.#log.stored)
      this.#credit -= outcome.piece.records.length
      this.#voice.toGateway(this.#order.history, { type: 'tail', ...outcome.piece })
      this.#pump()
    })
  }

  #endTail(lastLsn: Lsn): void {
    this.#tailEnded = true
    this.#port.report({ type: 'tail-end', lsn: lastLsn })
    this.#voice.toGateway(this.#order.history, { type: 'tail-end', lastLsn })
  }

  #tellOpen(now: Millis): void {
    this.#port.report({ type: 'network-open' })
    this.#events.networkOpen(now)
    this.#voice.toGateway(this.#image?.history ?? noHistory, { type: 'network-open' })
  }

  #refuse(reason: string): void {
    this.#port.report({ type: 'refused', reason })
  }

  #fail(now: Millis, reason: string): void {
    this.#phase = 'over'
    this.#port.closeTail(this.#reader)
    this.#port.report({ type: 'promote-failed', reason })
    this.#voice.toGateway(this.#order.history, { type: 'promote-failed', reason })
    this.#events.failed(now, reason)
  }
}

