import type { Millis } from '../core/ids.ts'
import type { Role } from '../core/message.ts'
import type { GuestAgent } from '../core/agent/guest-agent.ts'
import type { AgentReport } from '../core/agent/port.ts'
import type { Logger } from '../observe/logger.ts'
import type { AgentMetrics } from '../observe/metrics.ts'
import type { GuestHost, GuestObserver } from './guest-host.ts'

const roles: readonly Role[] = ['primary', 'backup', 'idle']
const conditions: readonly GuestAgent['condition'][] = ['absent', 'running', 'failed']

/** Turns what happens to one guest into lines of the log and figures (docs/LOGS.md, docs/METRICS.md). */
export class AgentObserver implements GuestObserver {
  readonly #guest: string
  readonly #logger: Logger
  readonly #metrics: AgentMetrics
  #host: GuestHost | undefined
  #generation = 0
  #leaseTimer: NodeJS.Timeout | undefined
  #leaseEnd = 0
  /** When the checkpoint under way began, and when its guest stood still. */
  #checkpointBegan: Millis | undefined

  constructor(guest: string, logger: Logger, metrics: AgentMetrics) {
    this.#guest = guest
    this.#logger = logger
    this.#metrics = metrics
  }

  /** From now on {@link collect} has something to look at. */
  attach(host: GuestHost): void {
    this.#host = host
  }

  report(report: AgentReport, now: Millis): void {
    this.#count(report, now)
    this.#log(report)
  }

  lease(remainingMs: number): void {
    clearTimeout(this.#leaseTimer)
    this.#leaseEnd = performance.now() + remainingMs
    this.#leaseTimer = setTimeout(() => {
      this.#metrics.leaseEnds.with({ guest: this.#guest }).value++
      this.#logger.event('lease.ended', { guest: this.#guest })
    }, remainingMs)
  }

  shipped(bytes: number): void {
    this.#metrics.checkpointShippedBytes.with({ guest: this.#guest }).value += bytes
  }

  stored(bytes: number): void {
    this.#metrics.checkpointStoredBytes.with({ guest: this.#guest }).value += bytes
  }

  appended(bytes: number): void {
    this.#metrics.logAppendedBytes.with({ guest: this.#guest }).value += bytes
  }

  fsynced(ms: number): void {
    this.#metrics.logFsyncSeconds.with({ guest: this.#guest }).observe(ms / 1000)
  }

  cut(bytes: number, lastLsn: number): void {
    this.#metrics.logCutBytes.with({ guest: this.#guest }).value += bytes
    this.#logger.event('log.cut', { guest: this.#guest, bytes, lastLsn })
  }

  /** Brings the gauges up to date. */
  collect(): void {
    const host = this.#host
    if (host === undefined) return
    const { core, log } = host
    const guest = this.#guest
    const metrics = this.#metrics
    for (const role of roles) metrics.role.with({ guest, role }).value = Number(role === core.role)
    for (const condition of conditions) {
      metrics.condition.with({ guest, condition }).value = Number(condition === core.condition)
    }
    metrics.generation.with({ guest }).value = core.generation
    metrics.leaseSeconds.with({ guest }).value = Math.max(0, this.#leaseEnd - performance.now()) / 1000
    const figures = log.figures()
    metrics.logLsn.with({ guest }).value = log.lastLsn
    metrics.logBytes.with({ guest, place: 'memory' }).value = figures.memoryBytes
    metrics.logBytes.with({ guest, place: 'disk' }).value = figures.diskBytes
    metrics.tailBytes.with({ guest }).value = figures.tailBytes
    metrics.tailRecords.with({ guest }).value = figures.tailRecords
  }

  /** No timer keeps the process. */
  stop(): void {
    clearTimeout(this.#leaseTimer)
  }

  #count(report: AgentReport, now: Millis): void {
    const guest = this.#guest
    const { checkpoints, checkpointSeconds, restoreSeconds } = this.#metrics
    switch (report.type) {
      case 'generation':
        this.#generation = report.generation ?? this.#generation
        return
      case 'checkpoint-begun':
        this.#checkpointBegan = now
        return
      case 'checkpoint-stored':
        checkpoints.with({ guest, result: 'counted' }).value++
        if (this.#checkpointBegan === undefined) return
        return checkpointSeconds.with({ guest }).observe((now - this.#checkpointBegan) / 1000)
      case 'checkpoint-failed':
        checkpoints.with({ guest, result: 'failed' }).value++
        return
      case 'promoted': return restoreSeconds.with({ guest }).observe((report.ms ?? 0) / 1000)
      default:
    }
  }

  #log(report: AgentReport): void {
    const guest = this.#guest
    const logger = this.#logger
    const known = this.#host?.core.generation ?? this.#generation
    const { checkpoint = 0, lsn: mark = 0, bytes = 0, ms = 0, generation = known, reason = '' } = report
    switch (report.type) {
      case 'role': return logger.event('role.assigned', { guest, role: report.role ?? '', generation })
      case 'guest-failed': return logger.event('guest.failed', { guest, reason })
      case 'guest-stopped': return logger.event('guest.stopped', { guest, reason })
      case 'promoted': return logger.event('guest.restored', { guest, checkpoint, generation, ms })
      case 'counted':
        return logger.event('checkpoint.counted', {
          guest, checkpoint, mark, bytes, durationMs: null, pauseMs: null
        })
      case 'checkpoint-failed': case 'image-refused':
        return logger.event('checkpoint.failed', { guest, checkpoint, reason })
      case 'log-failed': return logger.event('log.failed', { guest, code: 'E_DISK', reason })
      case 'log-gap': return logger.event('log.failed', { guest, code: 'E_STALE', reason })
      case 'promote-failed': return logger.event('failover.failed', { guest, generation, reason })
      case 'guest-running': return this.#logStart()
      case 'stale':
        return logger.event('message.stale', { guest, peer: 'gateway', type: reason, generation, known })
      default:
    }
  }

  #logStart(): void {
    const core = this.#host?.core
    if (core?.role !== 'primary') return
    this.#logger.event('guest.started', { guest: this.#guest, endpoints: core.endpoints.join(' ') })
  }
}
