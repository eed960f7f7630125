import {
  checkpointId, lsn,
  type CheckpointId, type Generation, type HostName, type Lsn, type Millis
} from '../ids.ts'
import type { AgentMessage, GatewayMessage } from '../message.ts'
import type { DataPath } from './data-path.ts'
import { HeldOutput } from './held-output.ts'
import type { Host, Hosts } from './hosts.ts'
import type { LogWriter } from './log-writer.ts'
import type { FailoverSummary, GatewayPort, GatewayState } from './port.ts'
import type { FailoverPhase } from './protection.ts'
import { Replay } from './replay.ts'
import type { GuestSettings } from './settings.ts'
import { TailCredit } from './tail-credit.ts'

export interface FailoverContext {
  readonly settings: GuestSettings
  readonly port: GatewayPort
  readonly writer: LogWriter
  readonly dataPath: DataPath
  readonly hosts: Hosts
  send(host: HostName, message: GatewayMessage): void
  /** The phase, or what it waits for, has changed. */
  changed(): void
  /** The state to be made durable before a promotion. */
  promotion(next: Generation, to: HostName): GatewayState
  /** The new generation holds: every message carries it from now on. */
  adopt(state: GatewayState): void
  done(summary: FailoverSummary): void
  /** It cannot be finished. */
  lost(reason: string): void
  diverged(reason: string): void
}

export interface FailoverStart {
  readonly from: Host
  readonly to: Host
  readonly generation: Generation
  readonly reason: string
  /** Restore what there is, replay nothing, and reset every connection. */
  readonly acceptLoss: boolean
  /** An operator vouches that the primary's guest can do no more. */
  readonly vouched: boolean
  readonly now: Millis
}

/**
 * One failover, from the decision to the first byte (design, "Failover, step by step"):
 * fence → drain → commit → persist → restore → open-network → attach and replay.
 */
export class Failover {
  readonly #context: FailoverContext
  readonly #start: FailoverStart
  #phase: FailoverPhase = 'fence'
  #now: Millis
  #phaseSince: Millis
  #blocked: string | undefined
  #fenceFailed = false
  #held: HeldOutput | undefined
  #replay: Replay | undefined
  #checkpoint: CheckpointId = checkpointId(0)
  #mark: Lsn = lsn(0)
  readonly #credit: TailCredit
  #tailEnded = false
  #ended = false
  /** Clients that were reset because their connections cannot be replayed. */
  #lostClients = 0

  constructor(context: FailoverContext, start: FailoverStart) {
    this.#context = context
    this.#start = start
    this.#now = start.now
    this.#phaseSince = start.now
    this.#credit = new TailCredit(context.hosts.windowMs)
  }

  get phase(): FailoverPhase { return this.#phase }
  get blocked(): string | undefined { return this.#blocked }
  get reason(): string { return this.#start.reason }
  get acceptLoss(): boolean { return this.#start.acceptLoss }
  get to(): Host { return this.#start.to }
  get replay(): Replay | undefined { return this.#replay }

  begin(): void {
    const { dataPath, port } = this.#context
    const { from, vouched } = this.#start
    dataPath.freeze()
    this.#enter('fence')
    if (vouched) this.#drain()
    else if (from.settings.fence) port.fence(from.name, fenced => this.#fenced(fenced))
    else this.#awaitLease()
  }

  tick(now: Millis): void {
    if (this.#ended) return
    this.#now = now
    this.#replay?.tick(now)
    if (this.#ended) return
    if (this.#phase === 'fence') {
      const cannotFence = this.#fenceFailed || !this.#start.from.settings.fence
      if (this.#blocked !== undefined || cannotFence) this.#awaitLease()
      return
    }
    const { hosts, settings: { stepTimeoutMs } } = this.#context
    const { to } = this.#start
    if (this.#phase === 'attach' || this.#phase === 'replay') {
      const suspicion = hosts.suspicion(to, now)
      if (suspicion !== undefined) return this.#lose(`${suspicion}, during the step "${this.#phase}"`)
      const isLate = !this.#tailEnded && this.#credit.waited(now) > stepTimeoutMs
      if (isLate) return this.#lose(`${to.name} did not send its log in time, though it can be reached`)
    }
    const waits = this.#phase === 'commit' || this.#phase === 'restore' || this.#phase === 'open-network'
    if (waits && now - this.#phaseSince > stepTimeoutMs) {
      this.#lose(`${to.name} did not finish the step "${this.#phase}" in time`)
    }
  }

  /** This gateway was away: what it did not hear meanwhile is nobody's delay. */
  excuse(now: Millis): void {
    this.#phaseSince = now
    this.#credit.excuse(now)
  }

  /** An operator says that the old primary can do no more. */
  vouch(): void {
    if (this.#phase === 'fence' && !this.#ended) this.#drain()
  }

  // ---- fence

  #fenced(fenced: boolean): void {
    if (this.#ended || this.#phase !== 'fence') return
    if (fenced) this.#drain()
    else {
      this.#fenceFailed = true
      this.#awaitLease()
    }
  }

  #awaitLease(): void {
    if (this.#phase !== 'fence') return
    const { from } = this.#start
    if (this.#context.settings.leaseMs > 0 && this.#now > from.leaseUntil) return this.#drain()
    const known = this.#context.settings.leaseMs > 0 && Number.isFinite(from.leaseUntil)
    const blocked = known
      ? `the lease of ${from.name} runs for ${Math.ceil(from.leaseUntil - this.#now)} ms more`
      : `${this.#whyNoLease()}; `
        + `make sure that ${from.name} is off, then run: tailgate failover ${this.#context.settings.name}`
    if (blocked === this.#blocked) return
    this.#blocked = blocked
    this.#context.changed()
  }

  #whyNoLease(): string {
    if (this.#fenceFailed) return 'the fence command failed'
    const { leaseMs } = this.#context.settings
    return leaseMs > 0 ? 'its lease is not known here' : 'there is neither a fence command nor a lease'
  }

  // ---- drain, commit, persist

  #drain(): void {
    this.#enter('drain')
    this.#context.port.cutPath(() => this.#drained())
  }

  #drained(): void {
    if (this.#ended) return
    const { dataPath, writer } = this.#context
    writer.settleReads()
    dataPath.abandonGuestSides()
    this.#enter('commit')
    writer.flush()
    this.committed()
  }

  /**
   * The backup acknowledged something, or its link has come back. Without a link nobody would hear the order
   * to promote, so it is waited for here, where nothing has been decided yet.
   */
  committed(): void {
    if (this.#phase !== 'commit' || this.#ended || !this.#start.to.linked) return
    const { writer, dataPath } = this.#context
    if (!this.#start.acceptLoss && writer.committed < writer.lastLsn) return
    if (!this.#start.acceptLoss) dataPath.committed(writer.committed)
    this.#persist()
  }

  #persist(): void {
    this.#enter('persist')
    const { to, generation: next } = this.#start
    const state = this.#context.promotion(next, to.name)
    this.#context.port.persist(state, () => {
      if (this.#ended) return
      this.#context.adopt(state)
      this.#enter('restore')
      const { acceptLoss } = this.#start
      this.#context.send(to.name, { type: 'promote', lastLsn: this.#context.writer.lastLsn, acceptLoss })
    })
  }

  // ---- restore, open, replay

  message(now: Millis, message: AgentMessage): void {
    if (this.#ended) return
    this.#now = now
    switch (message.type) {
      case 'promoted': return this.#promoted(message)
      case 'promote-failed': return this.#lose(`${this.#start.to.name} could not restore: ${message.reason}`)
      case 'network-open': return this.#opened()
      case 'tail': return this.#tail(message.records)
      case 'tail-end': return this.#tailEnd()
      default: // The rest has nothing to do with a failover.
    }
  }

  #promoted(message: AgentMessage & { readonly type: 'promoted' }): void {
    if (this.#phase !== 'restore') return
    this.#checkpoint = message.checkpoint
    this.#mark = message.mark
    this.#context.port.openPath(message.endpoints)
    this.#enter('open-network')
    this.#context.send(this.#start.to.name, { type: 'open-network' })
  }

  #opened(): void {
    if (this.#phase !== 'open-network') return
    const { dataPath, settings, port } = this.#context
    this.#held = new HeldOutput(dataPath)
    if (this.#start.acceptLoss) {
      this.#lostClients = dataPath.killAll('lost')
      this.#finish()
      return
    }
    this.#enter('attach')
    this.#replay = new Replay({
      settings, port, dataPath, held: this.#held, now: this.#now,
      goingLive: () => this.#context.writer.stop(), done: () => this.#finish(),
      progress: () => this.#progressed(), diverged: reason => this.#context.diverged(reason)
    })
    this.#askForMore()
  }

  #tail(records: Uint8Array): void {
    if (this.#replay === undefined) return
    this.#credit.came(this.#now, records.length)
    // Its heartbeats wait on the link behind what it sends.
    this.#context.hosts.heardOf(this.#start.to, this.#now)
    this.#replay.feed(records)
  }

  #tailEnd(): void {
    if (this.#replay === undefined) return
    this.#tailEnded = true
    this.#replay.tailEnd()
  }

  /** Something of the replay has moved: asks for more of the tail if little of it waits. */
  #progressed(): void {
    const replay = this.#replay
    if (this.#ended || replay === undefined) return
    // A tail that is short has come whole while its connections are still being asked about.
    const isBaseKnown = this.#tailEnded || replay.counts.records > 0
    if (this.#phase === 'attach' && replay.attached && isBaseKnown) this.#enter('replay')
    if (replay.wantsMore) this.#askForMore()
  }

  #askForMore(): void {
    const bytes = this.#credit.ask(this.#now)
    if (bytes === 0) return
    this.#context.send(this.#start.to.name, { type: 'tail-credit', bytes })
  }

  #finish(): void {
    if (this.#ended) return
    // The last connection that was joined may have been all that was missing.
    if (this.#phase === 'attach') this.#enter('replay')
    this.#ended = true
    this.#context.send(this.#start.to.name, { type: 'replayed' })
    this.#context.done(this.#summary())
  }

  #summary(): FailoverSummary {
    const counts = this.#replay?.counts
    return {
      reason: this.#start.reason, from: this.#start.from.name, to: this.#start.to.name,
      generation: this.#start.generation, checkpoint: this.#checkpoint, mark: this.#mark,
      tailRecords: counts?.records ?? 0, tailBytes: counts?.inputBytes ?? 0,
      kept: counts?.kept ?? 0, reset: counts?.reset ?? this.#lostClients, diverged: counts?.diverged ?? 0,
      reordered: counts?.reordered ?? 0,
      unverifiedBytes: counts?.unverifiedBytes ?? 0
    }
  }

  /** The backup's link went down. */
  linkDown(host: Host): void {
    if (this.#ended || host !== this.#start.to) return
    const promoted = this.#phase !== 'fence' && this.#phase !== 'drain' && this.#phase !== 'commit'
    if (promoted) this.#lose(`the link to ${host.name} was lost during the step "${this.#phase}"`)
  }

  /** Ends without having succeeded. */
  #lose(reason: string): void {
    if (this.#ended) return
    this.abort()
    this.#context.lost(reason)
  }

  /** Given up from outside. */
  abort(): void {
    this.#ended = true
    this.#replay?.abort()
  }

  #enter(phase: FailoverPhase): void {
    this.#phase = phase
    this.#blocked = undefined
    this.#phaseSince = this.#now
    this.#context.port.report({ type: 'failover-phase', phase })
    this.#context.changed()
  }
}
