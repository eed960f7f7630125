import { invariant } from '../base/invariant.ts'
import { noHistory, type ConnectionId, type Millis } from '../core/ids.ts'
import type { Connection, Ending } from '../core/gateway/connection.ts'
import type { FailoverSummary, GatewayReport } from '../core/gateway/port.ts'
import type { Protection as CoreProtection } from '../core/gateway/protection.ts'
import type { AgentMessage, GatewayMessage } from '../core/message.ts'
import type { GuestConfig } from '../config/types.ts'
import { codeOf, logConnectionEnd } from '../observe/connection-log.ts'
import type { LogEventFields } from '../observe/log-events.ts'
import { logProtection, type Logger } from '../observe/logger.ts'
import type { HistogramCell } from '../observe/metric-registry.ts'
import type { GatewayMetrics } from '../observe/metrics.ts'
import type { CheckpointStatus, FailoverStatus } from '../observe/status.ts'
import { CommitClock } from './commit-clock.ts'
import { ConnectionClock } from './connection-times.ts'
import { FailoverRecord } from './failover-record.ts'
import type { GuestRunner } from './guest-runner.ts'
import { protectionStatus } from './protection-status.ts'
import { ServiceCounters } from './service-counters.ts'

/** What the log says of a connection in a replay. */
type LoggedConnection = Pick<
  LogEventFields<'connection.unverified'>, 'guest' | 'service' | 'connection' | 'client' | 'generation'
>

interface MarkTime {
  readonly checkpoint: number
  readonly at: number
}

/** Turns what happens to one guest into log lines and metrics, and remembers what `status` tells. */
export class GuestObserver {
  readonly commits = new CommitClock()
  lastFailover: { readonly status: FailoverStatus, readonly at: number } | undefined
  checkpoint: { readonly status: Omit<CheckpointStatus, 'ageMs'>, readonly markAt: number } | undefined
  divergences = 0
  unverifiedBytes = 0
  #saidDiverged = false
  readonly #guest: GuestConfig
  readonly #logger: Logger
  readonly #metrics: GatewayMetrics
  /** What every epoch is counted in, found once. */
  readonly #epochBytes: HistogramCell
  readonly #observeCommit: (ms: number) => void
  readonly #services: readonly ServiceCounters[]
  /** Connections' lines are written, which tell their times. */
  readonly #linesWanted: boolean
  readonly #clock = new ConnectionClock()
  #runner: GuestRunner | undefined
  #protection: CoreProtection = { state: 'unprotected', reason: '' }
  #marks: MarkTime[] = []
  /** The checkpoint that was last refused its mark. */
  #refused: number | undefined
  #failover: FailoverRecord | undefined
  #waiters: { resolve: (status: FailoverStatus) => void, reject: (reason: string) => void }[] = []

  constructor(guest: GuestConfig, logger: Logger, metrics: GatewayMetrics) {
    this.#guest = guest
    this.#logger = logger
    this.#metrics = metrics
    this.#epochBytes = metrics.epochBytes.with({ guest: guest.name })
    const commitSeconds = metrics.commitSeconds.with({ guest: guest.name })
    this.#observeCommit = ms => commitSeconds.observe(ms / 1000)
    this.#services = guest.services.map(({ name }) => new ServiceCounters(guest.name, name, metrics))
    this.#linesWanted = logger.enabled('connection.end')
  }

  attach(runner: GuestRunner): void {
    this.#runner = runner
  }

  /** Settles when the failover under way is over: with its figures, or with why it did not succeed. */
  nextFailover(): Promise<FailoverStatus> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject: reason => reject(new Error(reason)) })
    })
  }

  get failingOver(): FailoverRecord | undefined { return this.#failover }

  /** Totals of the connections that have ended, per service. */
  get ended(): readonly { readonly inputBytes: number, readonly outputBytes: number }[] {
    return this.#services.map(({ total }) => total)
  }

  report(report: GatewayReport, now: Millis): void {
    const guest = this.#guest.name
    switch (report.type) {
      case 'protection': return this.#protectionChanged(report.protection, now)
      case 'connection-open': return this.#opened(report.connection, now)
      case 'connection-connected': return this.#clock.connected(report.connection.id, now)
      case 'connection-answered': return this.#clock.answered(report.connection.id, now)
      case 'connection-end': return this.#ended(report.connection, report.ending, now)
      case 'history': return this.#history(report.history)
      case 'mark': this.#mark(report.checkpoint, now); return
      case 'checkpoint-counted': return this.#counted(report, now)
      case 'checkpoint-failed': case 'mark-refused': return this.#checkpointFailed(report)
      case 'checkpoint-lost': return this.#checkpointLost(report)
      case 'clock-jump':
        this.#metrics.clockJumps.with({}).value++
        this.#logger.event('clock.jumped', { ms: Math.round(report.ms) })
        return
      case 'failover-phase': return this.#phase(report.phase, now)
      case 'failover-done': return this.#failedOver(report.summary, now)
      case 'diverged': return this.#diverged(report)
      case 'unverified': return this.#unverified(report)
      case 'served-early': return this.#guestDiverged()
      case 'stale-message':
        this.#metrics.staleMessages.with({ guest }).value++
        return
      case 'link-resumed': return
    }
  }

  /** A message is being sent to an agent. */
  sending(message: GatewayMessage, now: number): void {
    if (message.type !== 'epoch') return
    this.commits.sent(message.lastLsn, now)
    let bytes = 0
    for (const slice of message.records) bytes += slice.length
    this.#epochBytes.observe(bytes)
  }

  /** A message came from an agent. */
  received(message: AgentMessage, now: number): void {
    if (message.type !== 'ack') return
    this.commits.acknowledged(message.lsn, now, this.#observeCommit)
  }

  // ---- protection and histories

  #generation(): number {
    return this.#runner?.core.generation ?? 0
  }

  #protectionChanged(protection: CoreProtection, now: number): void {
    const before = this.#protection
    this.#protection = protection
    if (protection.state === 'failing-over' && this.#failover === undefined) {
      this.#failoverBegan(protection.reason, now)
    }
    if (protection.state === 'lost') this.#failoverFailed(protection.reason)
    const sameState = before.state === protection.state
    if (sameState && (protection.state === 'protected' || protection.state === 'failing-over')) return
    const told = protectionStatus(protection, this.#guest, this.#runner?.core.hosts)
    const toldBefore = 'reason' in before && 'reason' in protection && before.reason === protection.reason
    if (sameState && toldBefore) return
    logProtection(this.#logger, told, {
      name: this.#guest.name, generation: this.#generation(), from: before.state
    })
  }

  #history(history: string): void {
    this.commits.forget()
    this.#marks = []
    this.checkpoint = undefined
    if (history === noHistory) return
    const guest = this.#guest.name
    this.#metrics.histories.with({ guest }).value++
    this.#logger.event('history.began', {
      guest, generation: this.#generation(), history,
      firstLsn: (this.#runner?.core.writer.committed ?? 0) + 1,
      reason: 'a backup is linked that does not hold the present log'
    })
  }

  // ---- checkpoints

  #mark(checkpoint: number, at: number): void {
    this.#marks = [...this.#marks.slice(-7), { checkpoint, at }]
  }

  #counted(report: GatewayReport & { type: 'checkpoint-counted' }, now: number): void {
    const guest = this.#guest.name
    const markAt = this.#marks.find(mark => mark.checkpoint === report.checkpoint)?.at
    const durationMs = markAt === undefined ? null : Math.round((now - markAt) * 10) / 10
    const status = {
      id: report.checkpoint, mark: report.mark, bytes: report.bytes, durationMs
    }
    this.checkpoint = { status, markAt: markAt ?? now }
    this.#metrics.checkpoints.with({ guest, result: 'counted' }).value++
    if (durationMs !== null) this.#metrics.checkpointSeconds.with({ guest }).observe(durationMs / 1000)
    this.#logger.event('checkpoint.counted', {
      guest, checkpoint: report.checkpoint, mark: report.mark, bytes: report.bytes, durationMs
    })
  }

  #checkpointFailed(report: GatewayReport & { type: 'checkpoint-failed' | 'mark-refused' }): void {
    // The agent tells of a refused one as failed, too.
    if (report.type === 'checkpoint-failed' && report.checkpoint === this.#refused) return
    if (report.type === 'mark-refused') this.#refused = report.checkpoint
    const guest = this.#guest.name
    const result = report.type === 'mark-refused' ? 'refused' : 'failed'
    this.#metrics.checkpoints.with({ guest, result }).value++
    this.#logger.event('checkpoint.failed', { guest, checkpoint: report.checkpoint, reason: report.reason })
  }

  #checkpointLost({ checkpoint, reason }: GatewayReport & { type: 'checkpoint-lost' }): void {
    const guest = this.#guest.name
    this.checkpoint = undefined
    this.#metrics.checkpoints.with({ guest, result: 'lost' }).value++
    this.#logger.event('checkpoint.lost', { guest, checkpoint, reason })
  }

  // ---- failover

  #failoverBegan(reason: string, now: number): void {
    const core = this.#runner?.core
    const failover = core?.failover
    if (core === undefined || failover === undefined) return
    const from = core.active
    const heard = from?.heard
    const trigger = reason.startsWith('an operator') ? 'operator' as const : 'automatic' as const
    const about = {
      trigger, reason, from: from?.name ?? '', to: failover.to.name, generation: core.generation + 1
    }
    this.#failover = new FailoverRecord({ ...about, acceptedLoss: failover.acceptLoss }, now,
      heard === undefined ? 0 : now - heard)
    this.#clock.failingOver()
    this.#logger.event('failover.began', { guest: this.#guest.name, ...about })
    this.#failover.enter(failover.phase, now)
  }

  #phase(phase: string, now: number): void {
    this.#logPhase(this.#failover?.enter(phase, now))
  }

  #logPhase(over: { phase: string, ms: number } | undefined): void {
    if (over === undefined || this.#failover === undefined) return
    const guest = this.#guest.name
    this.#metrics.failoverSeconds.with({ guest, phase: over.phase }).observe(over.ms / 1000)
    this.#logger.event('failover.phase', {
      guest, generation: this.#failover.generation, phase: over.phase, ms: Math.round(over.ms * 10) / 10
    })
  }

  #failedOver(summary: FailoverSummary, now: number): void {
    const record = this.#failover
    this.#failover = undefined
    if (record === undefined) return
    const status = record.finish(summary, now)
    this.lastFailover = { status, at: now }
    this.unverifiedBytes += summary.unverifiedBytes
    this.#count(status, 'done')
    this.#logger.event('failover.done', loggedOf(this.#guest.name, status))
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(status)
  }

  #count(status: FailoverStatus, result: 'done' | 'failed'): void {
    const guest = this.#guest.name
    this.#metrics.failovers.with({ guest, trigger: status.trigger, result }).value++
    this.#metrics.replayedBytes.with({ guest }).value += status.replayedBytes
    this.#metrics.failoverConnections.with({ guest, outcome: 'kept' }).value += status.connectionsKept
    this.#metrics.failoverConnections.with({ guest, outcome: 'reset' }).value += status.connectionsReset
    this.#metrics.reordered.with({ guest }).value += status.reordered
    this.#metrics.unverifiedBytes.with({ guest }).value = this.unverifiedBytes
  }

  #failoverFailed(reason: string): void {
    const record = this.#failover
    this.#failover = undefined
    if (record === undefined) return
    const guest = this.#guest.name
    this.#metrics.failovers.with({ guest, trigger: record.trigger, result: 'failed' }).value++
    this.#logger.event('failover.failed', { guest, generation: record.generation, reason })
    for (const waiter of this.#waiters.splice(0)) waiter.reject(reason)
  }

  #diverged(report: GatewayReport & { type: 'diverged' }): void {
    this.divergences++
    this.#metrics.divergences.with({ guest: this.#guest.name }).value++
    const connection = this.#runner?.core.dataPath.connections.get(report.connection)
    this.#logger.event('connection.diverged', {
      ...this.#replayed(report.connection), offset: connection?.released ?? 0, reason: report.reason
    })
    this.#guestDiverged()
  }

  #unverified(report: GatewayReport & { type: 'unverified' }): void {
    this.#logger.event('connection.unverified',
      { ...this.#replayed(report.connection), bytes: report.bytes })
  }

  /** Its client may be gone, and nothing known of it. */
  #replayed(id: ConnectionId): LoggedConnection {
    const connection = this.#runner?.core.dataPath.connections.get(id)
    return {
      guest: this.#guest.name, service: this.#guest.services[connection?.service ?? 0]?.name ?? '',
      connection: id, client: connection?.clientAddress ?? '', generation: this.#generation()
    }
  }

  #guestDiverged(): void {
    if (this.#saidDiverged) return
    this.#saidDiverged = true
    const guest = this.#guest.name
    this.#logger.event('guest.diverged', {
      guest, generation: this.#generation(), policy: this.#guest.onDivergence
    })
  }

  // ---- connections

  #opened(connection: Connection, now: number): void {
    if (this.#linesWanted) this.#clock.opened(connection.id, now, this.#generation())
    this.#countersOf(connection).accepted()
  }

  #countersOf({ service }: Connection): ServiceCounters {
    const counters = this.#services[service]
    invariant(counters !== undefined, 'a service of the guest', { service })
    return counters
  }

  #ended(connection: Connection, ending: Ending, now: number): void {
    const counters = this.#countersOf(connection)
    const inputBytes = connection.inputLogged - (connection.inputEnded ? 1 : 0)
    const outputBytes = connection.released - (connection.endReleased ? 1 : 0)
    counters.total.inputBytes += Math.max(0, inputBytes)
    counters.total.outputBytes += Math.max(0, outputBytes)
    const end = codeOf(ending, {
      connected: connection.connected, replaying: this.#failover !== undefined,
      held: connection.heldItems > 0,
      // The reset that ends it is not the end of a direction.
      closing: connection.inputEnded || connection.outputEnd === 'ended' || connection.endReleased,
      clientFirst: connection.clientEndedFirst
    })
    counters.ended(end)
    if (!this.#linesWanted) return
    const times = this.#clock.ended(connection.id)
    logConnectionEnd(this.#logger, {
      guest: this.#guest.name, service: counters.service, connection: connection.id,
      client: connection.clientAddress, end,
      acceptedAt: times?.acceptedAt ?? now, connectedAt: times?.connectedAt, firstByteAt: times?.firstByteAt,
      endedAt: now, inputBytes, outputBytes,
      firstGeneration: times?.firstGeneration ?? 0, lastGeneration: this.#generation(),
      replayed: times?.replayed ?? false
    })
  }
}

/** What the log tells of a failover; the phases had lines of their own. */
function loggedOf(guest: string, status: FailoverStatus): LogEventFields<'failover.done'> {
  const { trigger, reason, from, to, generation, totalMs, checkpoint } = status
  return {
    guest, trigger, reason, from, to, generation, totalMs, checkpoint,
    replayedBytes: status.replayedBytes, replayedRecords: status.replayedRecords,
    kept: status.connectionsKept, reset: status.connectionsReset, reordered: status.reordered,
    acceptedLoss: status.acceptedLoss
  }
}
