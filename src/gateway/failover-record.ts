import type { FailoverSummary } from '../core/gateway/port.ts'
import {
  failoverPhases, type FailoverPhase, type FailoverStatus, type FailoverTrigger
} from '../observe/status.ts'

/** Times the phases of one failover, from the reports of the core. */
export class FailoverRecord {
  readonly trigger: FailoverTrigger
  readonly reason: string
  readonly from: string
  readonly to: string
  readonly generation: number
  readonly acceptedLoss: boolean
  readonly #detectMs: number
  readonly #began: number
  readonly #phases = new Map<FailoverPhase, number>()
  #current: { readonly phase: FailoverPhase, readonly since: number } | undefined

  constructor(
    about: Pick<FailoverStatus, 'trigger' | 'reason' | 'from' | 'to' | 'generation' | 'acceptedLoss'>,
    now: number, detectMs: number
  ) {
    this.trigger = about.trigger
    this.reason = about.reason
    this.from = about.from
    this.to = about.to
    this.generation = about.generation
    this.acceptedLoss = about.acceptedLoss
    this.#began = now
    this.#detectMs = detectMs
  }

  get phase(): FailoverPhase | undefined { return this.#current?.phase }

  /** A phase begins, so the one before it is over: returns that one and how long it took. */
  enter(phase: string, now: number): { readonly phase: FailoverPhase, readonly ms: number } | undefined {
    const next = failoverPhases.find(name => name === phase)
    const over = this.#close(now)
    if (next !== undefined) this.#current = { phase: next, since: now }
    return over
  }

  #close(now: number): { readonly phase: FailoverPhase, readonly ms: number } | undefined {
    const current = this.#current
    if (current === undefined) return undefined
    const ms = now - current.since
    this.#phases.set(current.phase, (this.#phases.get(current.phase) ?? 0) + ms)
    this.#current = undefined
    return { phase: current.phase, ms }
  }

  /** It is over: the figures for status, log and metrics. */
  finish(summary: FailoverSummary, now: number): FailoverStatus {
    this.#close(now)
    const ms = (phase: FailoverPhase): number | null => {
      const value = phase === 'detect' ? this.#detectMs : this.#phases.get(phase)
      return value === undefined ? null : Math.round(value * 10) / 10
    }
    return {
      trigger: this.trigger, reason: this.reason, from: this.from, to: this.to, generation: this.generation,
      agoMs: 0, acceptedLoss: this.acceptedLoss,
      phasesMs: {
        detect: ms('detect'), fence: ms('fence'), drain: ms('drain'), commit: ms('commit'),
        persist: ms('persist'),
        restore: ms('restore'), 'open-network': ms('open-network'), attach: ms('attach'), replay: ms('replay')
      },
      totalMs: Math.round((now - this.#began) * 10) / 10,
      checkpoint: summary.checkpoint, replayedBytes: summary.tailBytes, replayedRecords: summary.tailRecords,
      connectionsKept: summary.kept, connectionsReset: summary.reset,
      reordered: summary.reordered
    }
  }
}
