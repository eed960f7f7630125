import { readdirSync, readFileSync } from 'node:fs'
import type { Figure } from './tool-figures.ts'

/** One contender's run of one workload in one round. */
export interface Sample extends Figure {
  readonly contender: string
  readonly workload: string
  readonly round: number
  /**
   * CPU time of the contender's process per request or byte, in nanoseconds; undefined where there is
   * none.
   */
  readonly cpuNs: number | undefined
}

/** The ratio to the yardstick over the rounds. Undefined where there is no such figure, or no yardstick. */
export interface Ratio {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** One cell: a contender in a workload. */
export interface Summary {
  readonly contender: string
  readonly workload: string
  /** What the ratios are to. */
  readonly yardstick: string
  readonly runs: number
  /** Medians over the rounds, as they are. */
  readonly rate: number
  readonly p50Ms: number | undefined
  readonly p99Ms: number | undefined
  readonly cpuNs: number | undefined
  /** Medians of the ratios of each round. */
  readonly rateRatio: number | undefined
  readonly p50Ratio: number | undefined
  readonly p99Ratio: number | undefined
  readonly cpuRatio: number | undefined
  /** The same with the least and the largest. */
  readonly ratios: Readonly<Partial<Record<Quantity, Ratio>>>
  /** Every run, by round. */
  readonly samples: readonly Omit<Sample, 'contender' | 'workload'>[]
}

export type Quantity = 'rate' | 'p50' | 'p99' | 'cpu'
type Reading = (sample: Sample) => number | undefined

const readings: Readonly<Record<Quantity, Reading>> = {
  rate: ({ rate }) => rate, p50: ({ p50Ms }) => p50Ms, p99: ({ p99Ms }) => p99Ms, cpu: ({ cpuNs }) => cpuNs
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

function medianOf(samples: readonly Sample[], read: Reading): number | undefined {
  const values = samples.map(read).filter((value) => value !== undefined)
  return values.length === 0 ? undefined : median(values)
}

/**
 * Pairs each run with the yardstick's of the same round: what else the machine did then was done to both.
 */
function ratioOf(mine: readonly Sample[], theirs: readonly Sample[], read: Reading): Ratio | undefined {
  const ratios: number[] = []
  for (const sample of mine) {
    const other = theirs.find(({ round }) => round === sample.round)
    const [above, below] = [read(sample), other === undefined ? undefined : read(other)]
    if (above !== undefined && below !== undefined && below > 0) ratios.push(above / below)
  }
  if (ratios.length === 0) return undefined
  return { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) }
}

/** Summarizes every cell; `yardstickOf` names the contender that a workload's ratios are to. */
export function summarize(
  samples: readonly Sample[], yardstickOf: (workload: string) => string
): readonly Summary[] {
  const cells = new Map<string, Sample[]>()
  for (const sample of samples) {
    const key = keyOf(sample.workload, sample.contender)
    const cell = cells.get(key)
    if (cell === undefined) cells.set(key, [sample])
    else cell.push(sample)
  }
  return [...cells.values()].flatMap((mine) => {
    const [first] = mine
    if (first === undefined) return []
    const yardstick = yardstickOf(first.workload)
    return [summaryOf(first, mine, yardstick, cells.get(keyOf(first.workload, yardstick)) ?? [])]
  })
}

function keyOf(workload: string, contender: string): string {
  return `${workload}\n${contender}`
}

function summaryOf(
  { contender, workload }: Sample, mine: readonly Sample[], yardstick: string, theirs: readonly Sample[]
): Summary {
  const [rate, p50, p99, cpu] = [readings.rate, readings.p50, readings.p99, readings.cpu]
    .map((read) => ratioOf(mine, theirs, read))
  return {
    contender, workload, yardstick, runs: mine.length,
    rate: median(mine.map(({ rate }) => rate)),
    p50Ms: medianOf(mine, readings.p50), p99Ms: medianOf(mine, readings.p99),
    cpuNs: medianOf(mine, readings.cpu),
    rateRatio: rate?.median, p50Ratio: p50?.median, p99Ratio: p99?.median, cpuRatio: cpu?.median,
    ratios: {
      ...rate && { rate }, ...p50 && { p50 }, ...p99 && { p99 }, ...cpu && { cpu }
    },
    samples: mine.map(({ round, rate, amount, p50Ms, p99Ms, cpuNs }) =>
      ({ round, rate, amount, p50Ms, p99Ms, cpuNs }))
  }
}

/**
 * Of `yardstick` and its variants, whose names begin with it, the one with the best median rate in
 * `workload`. `yardstick` where none ran.
 */
export function bestVariant(samples: readonly Sample[], workload: string, yardstick: string): string {
  const there = samples.filter((sample) => sample.workload === workload)
  const names = [...new Set(there.map(({ contender }) => contender))]
    .filter((name) => name === yardstick || name.startsWith(`${yardstick} `))
  const rateOf = (name: string): number =>
    median(there.filter(({ contender }) => contender === name).map(({ rate }) => rate))
  return names.toSorted((a, b) => rateOf(b) - rateOf(a))[0] ?? yardstick
}

/**
 * CPU time that the threads of a process have used, in nanoseconds; undefined where the kernel does not
 * say.
 */
export function cpuTimeNs(pid: number | undefined): number | undefined {
  if (pid === undefined) return undefined
  try {
    const threads = readdirSync(`/proc/${pid}/task`)
    const times = threads.map((thread) => readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1'))
    return times.reduce((sum, text) => sum + Number(text.split(' ', 1)[0]), 0)
  } catch {
    return undefined
  }
}
