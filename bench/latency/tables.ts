import { renderTable, type Align } from '../../src/observe/table.ts'
import { percents, type DelaySeries, type LoadRun, type Percentile } from './report.ts'

const names = Object.keys(percents) as Percentile[]
const right = (count: number): Align[] => Array.from({ length: count }, () => 'right')

/** For a terminal: a line per contender and rate. */
export function loadTable(loads: readonly LoadRun[]): string[] {
  const first = ['latency in ms, since a request was due', 'of capacity', 'requests/s']
  const head = [...first, ...names, 'left late by', 'longest GC']
  const rows = loads.map(({ contender, fraction, rate, latency, lateP50, lateP99, gcLongestMs }) => [
    contender, `${fraction * 100} %`, String(rate),
    ...names.map((name) => latency[name].median.toFixed(3)),
    `${lateP50.toFixed(3)}, p99 ${lateP99.toFixed(3)}`,
    gcLongestMs?.toFixed(3) ?? '-'
  ])
  return renderTable([head, ...rows], { align: ['left', ...right(9)] })
}

/** For a terminal: a line per interval and mode. */
export function delayTable(delays: readonly DelaySeries[]): string[] {
  const head = ['response delay in ms', 'a checkpoint every', 'period', ...names]
  const rows = delays.map(({ mode, intervalMs, periodMs, delay }) => [
    mode, `${intervalMs} ms`, `${periodMs} ms`, ...names.map((name) => delay[name].toFixed(3))
  ])
  return renderTable([head, ...rows], { align: ['left', ...right(7)] })
}
