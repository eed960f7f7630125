import { median, type Quantity, type Summary } from '../figures.ts'
import type { FailoverReport } from '../failover/report.ts'
import type { FootprintReport } from '../footprint/report.ts'
import type { LatencyReport } from '../latency/report.ts'
import { isSameTrial, trialText, type RemusReport, type RemusRuns, type RemusTrial } from '../remus/report.ts'

/** What `npm run bench -- --json` says, as far as it is read here. */
export interface BenchRun {
  readonly yardstick: string
  readonly rounds: number
  readonly seconds: number
  readonly pinned: boolean
  readonly contenders: readonly string[]
  readonly workloads: readonly { readonly name: string, readonly unit: 'requests' | 'bytes' }[]
  readonly missing: readonly string[]
  readonly failures: readonly string[]
  readonly summaries: readonly Summary[]
}

/** All that RESULTS.md is made of. */
export interface Measured {
  /** One after the other, on the same machine. */
  readonly bench: readonly BenchRun[]
  readonly latency: readonly LatencyReport[]
  readonly footprint: readonly FootprintReport[]
  readonly failover: readonly FailoverReport[]
  readonly remus: readonly RemusRuns[]
}

export const nothingMeasured: Measured = {
  bench: [], latency: [], footprint: [], failover: [], remus: []
}

/** A ratio to the yardstick over all runs. */
export interface Pooled {
  /** Of the runs' medians. */
  readonly median: number
  /** Of the rounds of all runs. */
  readonly min: number
  readonly max: number
  /** Each run's own. */
  readonly medians: readonly number[]
  /** Whether the spreads of the runs overlap. */
  readonly agree: boolean
}

/** Reads what one run wrote, of any kind; npm's own lines before it do no harm. */
export function addFile(measured: Measured, file: string, text: string): Measured {
  const line = text.split('\n').findLast((one) => one.startsWith('{'))
  if (line === undefined) throw new Error(`${file}: there is no line of JSON`)
  const value: unknown = JSON.parse(line)
  if (isLatency(value)) return { ...measured, latency: withLatency(measured.latency, value) }
  if (isFootprint(value)) return { ...measured, footprint: withFootprint(measured.footprint, value) }
  if (isFailover(value)) return { ...measured, failover: withFailover(measured.failover, value) }
  if (isRemus(value)) return { ...measured, remus: withRemus(measured.remus, value) }
  if (isBench(value)) return { ...measured, bench: [...measured.bench, value] }
  const sources = '`npm run bench -- --json` nor from the latency, footprint, failover or Remus runs'
  throw new Error(`${file}: this is neither from ${sources}`)
}

function isLatency(value: unknown): value is LatencyReport {
  return has(value, ['loads', 'delays', 'failures']) && 'kind' in value && value.kind === 'latency'
}

function isFootprint(value: unknown): value is FootprintReport {
  return has(value, ['idle', 'link', 'failures']) && 'kind' in value && value.kind === 'footprint'
}

function isFailover(value: unknown): value is FailoverReport {
  return has(value, ['failovers', 'checkpoints', 'failures', 'missing']) && 'kind' in value
    && value.kind === 'failover'
}

function isRemus(value: unknown): value is RemusReport {
  return has(value, ['trials', 'failures', 'missing']) && 'kind' in value && value.kind === 'remus'
}

function isBench(value: unknown): value is BenchRun {
  return has(value, ['contenders', 'workloads', 'missing', 'failures', 'summaries'])
}

function has(value: unknown, lists: readonly string[]): value is object {
  if (typeof value !== 'object' || value === null) return false
  const fields = new Map<string, unknown>(Object.entries(value))
  return lists.every((name) => Array.isArray(fields.get(name)))
}

/**
 * A run of `--part delay` and one that has loads, on the same machine and whichever comes first, make one:
 * what the former measured counts.
 */
function withLatency(reports: readonly LatencyReport[], read: LatencyReport): readonly LatencyReport[] {
  const place = reports.findIndex(({ machine, loads }) =>
    machine === read.machine && (loads.length === 0) !== (read.loads.length === 0))
  const before = reports[place]
  if (before === undefined) return [...reports, read]
  const [whole, part] = before.loads.length > 0 ? [before, read] : [read, before]
  const older = whole.delays.filter(({ mode, intervalMs }) =>
    !part.delays.some((series) => series.mode === mode && series.intervalMs === intervalMs))
  return reports.with(place, {
    ...whole, failures: [...whole.failures, ...part.failures], delays: [...older, ...part.delays]
  })
}

/** A run with `--part` completes the first run on the same machine that has nothing of the kind. */
function withFailover(reports: readonly FailoverReport[], read: FailoverReport): readonly FailoverReport[] {
  const place = reports.findIndex(({ machine, failovers, checkpoints }) => machine === read.machine
    && (checkpoints.length === 0 || read.checkpoints.length === 0)
    && !failovers.some(({ guest }) => read.failovers.some((figure) => figure.guest === guest)))
  const before = reports[place]
  if (before === undefined) return [...reports, read]
  return reports.with(place, {
    ...before, failures: [...before.failures, ...read.failures],
    missing: [...before.missing, ...read.missing], failovers: [...before.failovers, ...read.failovers],
    checkpoints: [...before.checkpoints, ...read.checkpoints]
  })
}

/** A run completes the first one on the same machine; of a trial that was made again the newer one counts. */
function withRemus(reports: readonly RemusRuns[], read: RemusReport): readonly RemusRuns[] {
  const place = reports.findIndex(({ machine }) => machine === read.machine)
  const before = reports[place]
  if (before === undefined) return [...reports, { ...read, runs: 1, earlier: [] }]
  const isAgain = (trial: RemusTrial): boolean => read.trials.some((fresh) => isSameTrial(fresh, trial))
  const failures = before.failures.filter((failure) =>
    !read.trials.some((fresh) => failure.startsWith(`${trialText(fresh)}: `)))
  return reports.with(place, {
    ...before, runs: before.runs + 1, failures: [...failures, ...read.failures],
    missing: [...before.missing, ...read.missing],
    trials: [...before.trials.filter((trial) => !isAgain(trial)), ...read.trials],
    earlier: [...before.earlier, ...before.trials.filter(isAgain)]
  })
}

const footprintParts = ['idle', 'link', 'workers'] as const

/**
 * A run with `--part` completes the first run on the same machine that has none of its parts, so that a part
 * can be measured by itself. Runs from before there was a part do not have it.
 */
function withFootprint(
  reports: readonly FootprintReport[], read: Partial<FootprintReport> & FootprintReport
): readonly FootprintReport[] {
  const added: FootprintReport = { ...read, workers: read.workers ?? [] }
  const place = reports.findIndex((report) => report.machine === added.machine
    && footprintParts.every((part) => report[part].length === 0 || added[part].length === 0))
  const before = reports[place]
  if (before === undefined) return [...reports, added]
  const both: FootprintReport = {
    ...before,
    connectionsMax: before.idle.length > 0 ? before.connectionsMax : added.connectionsMax,
    failures: [...before.failures, ...added.failures], missing: [...before.missing, ...added.missing],
    idle: [...before.idle, ...added.idle], link: [...before.link, ...added.link],
    workers: [...before.workers, ...added.workers]
  }
  return reports.with(place, both)
}

/** The cells of one contender in one workload, a run each. */
export function cellsOf({ bench }: Measured, workload: string, contender: string): readonly Summary[] {
  return bench.flatMap(({ summaries }) => summaries.filter((summary) =>
    summary.workload === workload && summary.contender === contender))
}

/** Undefined where it was not measured. */
export function pooled(
  measured: Measured, workload: string, contender: string, quantity: Quantity
): Pooled | undefined {
  const ratios = cellsOf(measured, workload, contender)
    .map((summary) => summary.ratios[quantity]).filter((ratio) => ratio !== undefined)
  if (ratios.length === 0) return undefined
  const [mins, maxs] = [ratios.map(({ min }) => min), ratios.map(({ max }) => max)]
  const medians = ratios.map((ratio) => ratio.median)
  return {
    median: median(medians), min: Math.min(...mins), max: Math.max(...maxs), medians,
    agree: Math.max(...mins) <= Math.min(...maxs)
  }
}

/** Each run's own median; undefined where a run did not measure it. */
export function mediansByRun(
  { bench }: Measured, workload: string, contender: string, quantity: Quantity
): readonly (number | undefined)[] {
  return bench.map(({ summaries }) => summaries.find((summary) =>
    summary.workload === workload && summary.contender === contender)?.ratios[quantity]?.median)
}

/** Names in the order in which they come first. */
export function namesOf(lists: readonly (readonly string[])[]): readonly string[] {
  return [...new Set(lists.flat())]
}
