import type { FailoverPhase } from '../../src/observe/status.ts'
import { median } from '../figures.ts'
import { machineText, type Spread } from '../latency/report.ts'

/** What the failover runs say with `--json`, and what bench/results reads. Times in milliseconds. */
export interface FailoverReport {
  readonly kind: 'failover'
  readonly machine: string
  readonly failures: readonly string[]
  readonly missing: readonly string[]
  readonly failovers: readonly FailoverFigure[]
  readonly checkpoints: readonly CheckpointFigure[]
}

/** `embedded`: on loopback; `qemu`: a Redis in a virtual machine, emulated, on hosts that are namespaces. */
export type GuestName = 'embedded' | 'qemu'

/** How requests that overlapped are replayed: one at a time, by their outputs, or as they came. */
export type ReplayOrder = 'output' | 'arrival'

/** One load, and how its guest was failed over. */
export interface Point {
  readonly connections: number
  /** About how much input clients sent after the checkpoint that is restored. */
  readonly tailBytes: number
  /** Of the values that they set. */
  readonly valueBytes: number
  /** `replay.order` of the gateway. */
  readonly order: ReplayOrder
  /** What each connection sent, one request after the reply to the one before. */
  readonly requests: number
}

export interface FailoverFigure extends Point {
  readonly guest: GuestName
  readonly rounds: readonly FailoverRound[]
}

/** One failover, as the gateway and a client saw it. */
export interface FailoverRound {
  /** Phases that did not take place are null. */
  readonly phasesMs: Readonly<Record<FailoverPhase, number | null>>
  /** From the decision until clients are served: all phases but `detect`. */
  readonly afterDetectionMs: number
  /** From the kill to the answer to a request that a client sent right after it. */
  readonly firstByteMs: number
  readonly replayedBytes: number
  readonly replayedRecords: number
}

/** Checkpoints of the virtual machine after so much of its memory was written. */
export interface CheckpointFigure {
  readonly guest: GuestName
  readonly memoryMiB: number
  /** Redis values that were rewritten since the checkpoint before. */
  readonly dirtyBytes: number
  readonly rounds: readonly CheckpointRound[]
}

export interface CheckpointRound {
  /** What the primary's agent sent to the backup. */
  readonly shippedBytes: number
  /** How long the guest stood still, by the metrics of the primary's agent. */
  readonly pauseMs: number
  /** From the mark until the checkpoint counted, by the gateway's log. */
  readonly durationMs: number
  /** The longest that a client waited for an answer meanwhile, which asks again as soon as it has one. */
  readonly worstResponseMs: number
}

/** The parts of a failover as they are told: what passes between the decision and the restore is one. */
export const toldPhases = {
  detect: ['detect'],
  'fence to persist': ['fence', 'drain', 'commit', 'persist'],
  restore: ['restore', 'open-network'],
  attach: ['attach'],
  replay: ['replay']
} as const satisfies Readonly<Record<string, readonly FailoverPhase[]>>

export type ToldPhase = keyof typeof toldPhases

export const toldPhaseNames = Object.keys(toldPhases) as ToldPhase[]

/** How long a part took in one round; what did not take place took no time. */
export function phaseMs({ phasesMs }: FailoverRound, phase: ToldPhase): number {
  return toldPhases[phase].reduce((sum, name) => sum + (phasesMs[name] ?? 0), 0)
}

/** From the last sign of life until clients are served. */
export function totalMs(round: FailoverRound): number {
  return phaseMs(round, 'detect') + round.afterDetectionMs
}

/** Of one quantity of all rounds. */
export function spreadOf<T>(rounds: readonly T[], read: (round: T) => number): Spread {
  const values = rounds.map(read)
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) }
}

/** The goal: with so much to do, clients are served within so long after the detection. */
export const failoverGoal = { connections: 1000, tailBytes: 10e6, afterDetectionMs: 1000 } as const

/** Whether the goal is about this point, with requests as small as everywhere. */
export function isGoalPoint({ connections, tailBytes, valueBytes }: Point): boolean {
  return connections === failoverGoal.connections && tailBytes === failoverGoal.tailBytes
    && valueBytes === usualValueBytes
}

/** Of the values that clients set, where the tail is long enough for one of them on each connection. */
export const usualValueBytes = 1024

export function failoverReportOf(
  figures: Omit<FailoverReport, 'kind' | 'machine'>
): FailoverReport {
  return { kind: 'failover', machine: machineText(), ...figures }
}

/** `1 MB`, `1 GB`: as much as tails are told in. */
export function sizeText(bytes: number): string {
  if (bytes >= 1e9) return `${Number((bytes / 1e9).toPrecision(3))} GB`
  if (bytes >= 1e6) return `${Number((bytes / 1e6).toPrecision(3))} MB`
  return `${Number((bytes / 1e3).toPrecision(3))} kB`
}
