import { machineText, type DelayMode, type DelaySeries } from '../latency/report.ts'

/*
 * Remus beside LLM: the same Xen guest under two ways of protecting it. `checkpoint` releases a response when
 * a checkpoint has it, as Remus does; `epoch` when the backup has the input, as LLM does.
 */

/** What the runs say with `--json`, and what bench/results reads. Times in milliseconds. */
export interface RemusReport {
  readonly kind: 'remus'
  readonly machine: string
  readonly failures: readonly string[]
  readonly missing: readonly string[]
  readonly trials: readonly RemusTrial[]
}

/** Several runs on one machine, put together. */
export interface RemusRuns extends RemusReport {
  readonly runs: number
  /** What trials that were made again had said before. */
  readonly earlier: readonly RemusTrial[]
}

/** A way of protecting a guest. */
export interface Setting {
  readonly mode: DelayMode
  /** `checkpoint_interval`. */
  readonly intervalMs: number
}

/**
 * `network`: clients that each set a small value as soon as they have their answer. `memory`: one client with
 * few and short requests, each of which rewrites 256 KiB.
 */
export type LoadName = 'network' | 'memory'
export const loadNames: readonly LoadName[] = ['network', 'memory']

/** Of the responses to requests at fixed times. */
export interface Delay {
  readonly mean: number
  readonly p50: number
  readonly p99: number
}

/** What was measured over the same time. */
export interface Window {
  /** Replies per second to the clients of the load. */
  readonly rate: number
  readonly delay: Delay
}

/** Compiles per second in the guest, while nobody else asks it for anything. */
export interface Compiles {
  readonly alone: number
  readonly protected: number
}

/** One setting and one load, in hosts of its own. */
export interface RemusTrial extends Setting {
  readonly load: LoadName
  /** Before there was a backup. */
  readonly alone: Window
  readonly protected: Window
  /** Every response while it was protected, at its place in the checkpoint period. */
  readonly series: DelaySeries
  readonly compiles: Compiles
  readonly checkpoints: CheckpointTraffic
  readonly failover: Downtime
}

/** While the guest was protected and loaded. */
export interface CheckpointTraffic {
  readonly bytesPerSecond: number
  /** Median of how long the guest stood still for one. */
  readonly pauseMs: number
}

/** The host was killed in the middle of a period, under load. */
export interface Downtime {
  /** The longest response of one that was asked for around the kill: what a client saw. */
  readonly clientMs: number
  /** From the decision until clients were served. */
  readonly afterDetectionMs: number
  readonly replayedRecords: number
  readonly kept: number
  readonly reset: number
}

export function remusReportOf(figures: Omit<RemusReport, 'kind' | 'machine'>): RemusReport {
  return { kind: 'remus', machine: machineText(), ...figures }
}

/** Trials in the order in which they are told: Remus first, then by intervals and loads. */
export function inOrder(trials: readonly RemusTrial[]): readonly RemusTrial[] {
  return trials.toSorted((one, other) => one.mode.localeCompare(other.mode)
    || one.intervalMs - other.intervalMs || loadNames.indexOf(one.load) - loadNames.indexOf(other.load))
}

/** All trials, in that order. */
export function trialsOf(reports: readonly RemusReport[]): readonly RemusTrial[] {
  return inOrder(reports.flatMap(({ trials }) => trials))
}

/** Whether both are of one setting and load. */
export function isSameTrial(one: RemusTrial, other: RemusTrial): boolean {
  return one.mode === other.mode && one.intervalMs === other.intervalMs && one.load === other.load
}

/** As people call the two ways. */
export function settingText({ mode, intervalMs }: Setting): string {
  const every = intervalMs < 1000 ? `${intervalMs} ms` : `${intervalMs / 1000} s`
  return `${mode === 'checkpoint' ? 'Remus' : 'LLM'}, every ${every}`
}

/** How a trial is called where it is chosen, and where it failed. */
export function trialText(trial: Setting & { readonly load: LoadName }): string {
  return `${settingText(trial)}, ${trial.load}`
}
