import { renderTable } from '../src/observe/table.ts'
import { runsWith, type Contender } from './contender.ts'
import type { Summary } from './figures.ts'
import type { Workload } from './workloads.ts'

type NamedLoad = Pick<Workload, 'name' | 'unit' | 'service'>
type NamedContender = Pick<Contender, 'name' | 'only'>

/**
 * A part per workload, a line per contender in it: rate, p50, p99 and CPU as ratios to the yardstick, and
 * then rate, p50 and p99 themselves.
 */
export function ratioTable(
  summaries: readonly Summary[], workloads: readonly NamedLoad[], contenders: readonly NamedContender[],
  yardstick: string
): string[] {
  const rows: string[][] = []
  for (const workload of workloads) {
    const here = summaries.filter((summary) => summary.workload === workload.name)
    const other = here.find((summary) => summary.yardstick !== yardstick)
    const heading = other === undefined ? workload.name : `${workload.name} (to ${other.yardstick})`
    rows.push([heading, 'rate', 'p50', 'p99', 'CPU'])
    for (const { name } of contenders.filter((one) => runsWith(one, workload.service))) {
      const found = here.find(({ contender }) => contender === name)
      rows.push([`  ${name}`, ...found === undefined ? ['failed'] : cellsOf(found, workload.unit)])
    }
    rows.push([])
  }
  return renderTable(rows, { align: ['left', ...Array.from({ length: 7 }, () => 'right' as const)] })
}

function cellsOf(summary: Summary, unit: Workload['unit']): string[] {
  const { rateRatio, p50Ratio, p99Ratio, cpuRatio, rate, p50Ms, p99Ms } = summary
  const own = unit === 'bytes' ? `${Math.round(rate / 1e6)} MB/s` : `${Math.round(rate)}/s`
  return [...[rateRatio, p50Ratio, p99Ratio, cpuRatio].map(ratioText), own, timeText(p50Ms), timeText(p99Ms)]
}

function ratioText(ratio: number | undefined): string {
  return ratio === undefined ? '-' : ratio.toFixed(2)
}

function timeText(milliseconds: number | undefined): string {
  return milliseconds === undefined ? '' : `${milliseconds.toFixed(3)} ms`
}
