import type { Millis } from '../core/ids.ts'
import type { Role } from '../core/message.ts'
import type { GuestAgent } from '../core/agent/guest-agent.ts'
import type { AgentReport } from '../core/agent/port.ts'
import type { Logger } from '../observe/logger.ts'
import type { HistogramCell, MetricCell } from '../observe/metric-registry.ts'
import type { AgentMetrics } from '../observe/metrics.ts'
import type { GuestHost, GuestObserver } from './guest-host.ts'

const roles: readonly Role[] = ['primary', 'backup', 'idle']
const conditions: readonly GuestAgent['condition'][] = ['absent', 'running', 'failed']

/** A report with every field filled in, and the generation that is known here. */
interface Told {
  readonly guest: string
  readonly role: string
  readonly checkpoint: number
  readonly mark: number
  readonly bytes: number
  readonly ms: number
  readonly generation: number
  readonly known: number
  readonly reason: string
}

/** How the reports that are worth a line are logged. */
type Lines = Partial<Record<AgentReport['type'], (told: Told) => void>>

function linesOf(logger: Logger): Lines {
  const failed = ({ guest, checkpoint, reason }: Told) => {
    logger.event('checkpoint.failed', { guest, checkpoint, reason })
  }
  return {
    role: ({ guest, role, generation }) => { logger.event('role.assigned', { guest, role, generation }) },
    'guest-failed': ({ guest, reason }) => { logger.event('guest.failed', { guest, reason }) },
    'guest-stopped': ({ guest, reason }) => { logger.event('guest.stopped', { guest, reason }) },
    promoted: ({ guest, checkpoint, generation, ms }) => {
      logger.event('guest.restored', { guest, checkpoint, generation, ms })
    },
    counted: ({ guest, checkpoint, mark, bytes }) => {
      logger.event('checkpoint.counted', { guest, checkpoint, mark, bytes, durationMs: null })
    },
    'checkpoint-failed': failed,
    'image-refused': failed,
    'image-lost': ({ guest, checkpoint, reason }) => {
      logger.event('checkpoint.lost', { guest, checkpoint, reason })
    },
    'log-failed': ({ guest, reason }) => { logger.event('log.failed', { guest, code: 'E_DISK', reason }) },
    'log-gap': ({ guest, reason }) => { logger.event('log.failed', { guest, code: 'E_STALE', reason }) },
    'promote-failed': ({ guest, generation, reason }) => {
      logger.event('failover.failed', { guest, generation, reason })
    },
    stale: ({ guest, reason, generation, known }) => {
      logger.event('message.stale', { guest, peer: 'gateway', type: reason, generation, known })
    }
  }
}

/** Turns what happens to one guest into lines of the log and figures (docs/LOGS.md, docs/METRICS.md). */
export class AgentObserver implements GuestObserver {
  readonly #guest: string
  readonly #logger: Logger
  readonly #metrics: AgentMetrics
  readonly #lines: Lines
  /** What every epoch is counted in, found once. */
  readonly #appendedBytes: MetricCell
  readonly #fsyncSeconds: HistogramCell
  #host: GuestHost | undefined
  #leaseTimer: NodeJS.Timeout | undefined
  #leaseEnd = 0
  /** When the checkpoint under way began, and how long the guest stood still for it. */
  #checkpointBegan: Millis | undefined
  #pauseMs: number | null = null
  /** Pages written since the last checkpoint, where the engine says how many. */
  #dirtyPages: number | null = null

  constructor(guest: string, logger: Logger, metrics: AgentMetrics) {
    this.#guest = guest
    this.#logger = logger
    this.#metrics = metrics
    this.#appendedBytes = metrics.logAppendedBytes.with({ guest })
    this.#fsyncSeconds = metrics.logFsyncSeconds.with({ guest })
    this.#lines = { ...linesOf(logger), 'guest-running': () => { this.#logStart() } }
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
    // A guest that waits for its first lease has not lost one.
    if (remainingMs === 0) return
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
    this.#appendedBytes.value += bytes
  }

  fsynced(ms: number): void {
    this.#fsyncSeconds.observe(ms / 1000)
  }

  paused(ms: number, dirtyPages?: number): void {
    this.#pauseMs = tenths(ms)
    if (dirtyPages !== undefined) this.#dirtyPages = (this.#dirtyPages ?? 0) + dirtyPages
    this.#metrics.checkpointPauseSeconds.with({ guest: this.#guest }).observe(ms / 1000)
  }

  pruned(bytes: number): void {
    this.#metrics.logPrunedBytes.with({ guest: this.#guest }).value += bytes
  }

  late(ms: number): void {
    this.#metrics.eventLoopDelay.with({}).observe(ms / 1000)
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
    const { checkpoints, checkpointSeconds, restoreSeconds, staleMessages } = this.#metrics
    const { type, ms = 0 } = report
    if (type === 'checkpoint-begun') this.#begun(now)
    if (type === 'checkpoint-failed') checkpoints.with({ guest, result: 'failed' }).value++
    if (type === 'image-refused') checkpoints.with({ guest, result: 'refused' }).value++
    if (type === 'image-lost') checkpoints.with({ guest, result: 'lost' }).value++
    if (type === 'stale') staleMessages.with({ guest }).value++
    if (type === 'promoted') restoreSeconds.with({ guest }).observe(ms / 1000)
    if (type !== 'checkpoint-stored') return
    checkpoints.with({ guest, result: 'counted' }).value++
    const durationMs = now - (this.#checkpointBegan ?? now)
    checkpointSeconds.with({ guest }).observe(durationMs / 1000)
    this.#logger.event('checkpoint.stored', {
      guest, checkpoint: report.checkpoint ?? 0, durationMs: tenths(durationMs), pauseMs: this.#pauseMs,
      dirtyPages: this.#dirtyPages
    })
    this.#dirtyPages = null
  }

  #begun(now: Millis): void {
    this.#checkpointBegan = now
    this.#pauseMs = null
  }

  #log(report: AgentReport): void {
    const known = this.#host?.core.generation ?? 0
    const { checkpoint = 0, lsn: mark = 0, bytes = 0, ms = 0, generation = known, reason = '' } = report
    this.#lines[report.type]?.({
      guest: this.#guest, role: report.role ?? '', checkpoint, mark, bytes, ms, generation, known, reason
    })
  }

  #logStart(): void {
    const core = this.#host?.core
    if (core?.role !== 'primary') return
    this.#logger.event('guest.started', { guest: this.#guest, endpoints: core.endpoints.join(' ') })
  }
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10
}
