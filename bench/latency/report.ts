import { availableParallelism, cpus, release } from 'node:os'
import { pinned } from '../program.ts'
import type { HistogramPairs } from './histogram.ts'

/** What the latency runs say with `--json`, and what bench/results reads. All times in milliseconds. */
export interface LatencyReport {
  readonly kind: 'latency'
  readonly machine: string
  readonly pinned: boolean
  readonly failures: readonly string[]
  readonly loads: readonly LoadRun[]
  readonly delays: readonly DelaySeries[]
}

/** The middle of several rounds, and how far they lie apart. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** The percentiles that are told of each distribution. */
export const percents = { p50: 50, p90: 90, p99: 99, p999: 99.9, max: 100 } as const
export type Percentile = keyof typeof percents

/** A contender at a fixed rate, over all rounds. */
export interface LoadRun {
  readonly contender: string
  /** Replies per second that it can do. */
  readonly capacity: number
  /** The part of its capacity that was asked for, and the rate that this is. */
  readonly fraction: number
  readonly rate: number
  readonly connections: number
  readonly rounds: number
  readonly requests: number
  /** Of each round's percentiles. */
  readonly latency: Readonly<Record<Percentile, Spread>>
  /** Of all rounds, in tenths of a microsecond. */
  readonly histogram: HistogramPairs
  readonly histogramMax: number
  /** How late requests left, because of the load generator or of a full socket: the median of rounds. */
  readonly lateP50: number
  readonly lateP99: number
  /** The longest pause of the contender's garbage collector in all rounds; undefined where it has none. */
  readonly gcLongestMs?: number
}

export type DelayMode = 'epoch' | 'checkpoint'

/** Responses of the embedded guest while it is checkpointed. */
export interface DelaySeries {
  readonly mode: DelayMode
  /** What was configured: from the end of one checkpoint to the next. */
  readonly intervalMs: number
  /** From mark to mark, the median. */
  readonly periodMs: number
  readonly checkpoints: number
  readonly imageBytes: number
  readonly rate: number
  readonly requests: number
  readonly delay: Readonly<Record<Percentile, number>>
  /** When a request was due, since the mark before it, and how long its response took; a sample of all. */
  readonly points: readonly (readonly [phaseMs: number, delayMs: number])[]
}

/** One line on where the figures come from. */
export function machineText(): string {
  const model = cpus()[0]?.model.trim() ?? 'an unknown processor'
  return `${model}, ${availableParallelism()} processors, Linux ${release()}, Node ${process.versions.node}`
}

export function reportOf(
  failures: readonly string[], loads: readonly LoadRun[], delays: readonly DelaySeries[]
): LatencyReport {
  return { kind: 'latency', machine: machineText(), pinned, failures, loads, delays }
}
