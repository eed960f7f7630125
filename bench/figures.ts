import { readdirSync, readFileSync } from 'node:fs'
import { renderTable } from '../src/observe/table.ts'
import type { Figure, Workload } from './workloads.ts'

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

/** Medians, and the medians of each round's ratios to the yardstick of the same round. */
export interface Summary {
  readonly contender: string
  readonly workload: string
  readonly runs: number
  readonly rate: number
  readonly p50Ms: number | undefined
  readonly cpuNs: number | undefined
  readonly rateRatio: number | undefined
  readonly p50Ratio: number | undefined
  readonly cpuRatio: number | undefined
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

type Reading = (sample: Sample) => number | undefined

function medianOf(samples: readonly Sample[], read: Reading): number | undefined {
  const values = samples.map(read).filter((value) => value !== undefined)
  return values.length === 0 ? undefined : median(values)
}

/**
 * Pairs each run with the yardstick's of the same round: what else the machine did then was done to both.
 */
function ratioOf(mine: readonly Sample[], theirs: readonly Sample[], read: Reading): number | undefined {
  const ratios: number[] = []
  for (const sample of mine) {
    const other = theirs.find(({ round }) => round === sample.round)
    const [above, below] = [read(sample), other === undefined ? undefined : read(other)]
    if (above !== undefined && below !== undefined && below > 0) ratios.push(above / below)
  }
  return ratios.length === 0 ? undefined : median(ratios)
}

export function summarize(samples: readonly Sample[], yardstick: string): readonly Summary[] {
  const cells = new Map<string, Sample[]>()
  for (const sample of samples) {
    const key = `${sample.workload}\n${sample.contender}`
    cells.set(key, [...cells.get(key) ?? [], sample])
  }
  return [...cells.values()].flatMap((mine) => {
    const [first] = mine
    if (first === undefined) return []
    const theirs = cells.get(`${first.workload}\n${yardstick}`) ?? []
    return [{
      contender: first.contender, workload: first.workload, runs: mine.length,
      rate: median(mine.map(({ rate }) => rate)),
      p50Ms: medianOf(mine, ({ p50Ms }) => p50Ms),
      cpuNs: medianOf(mine, ({ cpuNs }) => cpuNs),
      rateRatio: ratioOf(mine, theirs, ({ rate }) => rate),
      p50Ratio: ratioOf(mine, theirs, ({ p50Ms }) => p50Ms),
      cpuRatio: ratioOf(mine, theirs, ({ cpuNs }) => cpuNs)
    }]
  })
}

/** A line per workload, a column per contender: rate · p50 · CPU, as ratios to the yardstick. */
export function ratioTable(
  summaries: readonly Summary[], workloads: readonly Workload[], contenders: readonly string[]
): string[] {
  const rows = [['', ...contenders]]
  for (const { name } of workloads) {
    const cell = (contender: string): string => {
      const found = summaries.find((summary) => summary.workload === name && summary.contender === contender)
      if (found === undefined) return 'failed'
      return [found.rateRatio, found.p50Ratio, found.cpuRatio].map(ratioText).join(' · ')
    }
    rows.push([name, ...contenders.map(cell)])
  }
  return renderTable(rows, { gap: '   ' })
}

/** The yardstick's own medians, so that the ratios can be read as figures. */
export function yardstickTable(
  summaries: readonly Summary[], workloads: readonly Workload[], yardstick: string
): string[] {
  const rows = workloads.flatMap((workload) => {
    const found = summaries.find(({ contender, workload: name }) =>
      contender === yardstick && name === workload.name)
    if (found === undefined) return []
    const rate = workload.unit === 'bytes'
      ? `${Math.round(found.rate / 1e6)} MB/s`
      : `${Math.round(found.rate)} requests/s`
    return [[workload.name, rate, found.p50Ms === undefined ? '' : `p50 ${found.p50Ms.toFixed(3)} ms`]]
  })
  return renderTable(rows, { align: ['left', 'right', 'right'], indent: '  ' })
}

function ratioText(ratio: number | undefined): string {
  return ratio === undefined ? '-' : ratio.toFixed(2)
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
