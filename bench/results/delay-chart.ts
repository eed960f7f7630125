import { median } from '../figures.ts'
import type { DelaySeries, LatencyReport } from '../latency/report.ts'
import { msText } from './latency-chart.ts'
import { periodChart, plottedOverPeriod } from './period-panel.ts'
import { colourOf, line, text } from './svg.ts'

const height = 220

/** Response delay over a checkpoint period, a panel per interval. Undefined when there is nothing to draw. */
export function delayChart(reports: readonly LatencyReport[]): string | undefined {
  const delays = reports.flatMap((report) => report.delays)
  const intervals = [...new Set(delays.map(({ intervalMs }) => intervalMs))].toSorted((a, b) => a - b)
  if (intervals.length === 0) return undefined
  return periodChart('Response delay over a checkpoint period', height, intervals, (intervalMs, left, top) =>
    drawn(intervalMs, delays.filter((series) => series.intervalMs === intervalMs), left, top))
}

function drawn(intervalMs: number, all: readonly DelaySeries[], left: number, top: number): string[] {
  // What few requests had to bear must not press the rest against the axis, nor a checkpoint that came late.
  const mostMs = 1.1 * Math.max(...all.map(({ delay }) => delay.p99))
  const acrossMs = 1.1 * median(all.map(({ periodMs }) => periodMs))
  return [
    text(left + 16, top + 20, `A checkpoint every ${intervalMs} ms`, { size: 14, bold: true }),
    ...all.flatMap((series, index) => legend(series, left + 16 + index * 236, top + 40)),
    ...plottedOverPeriod({ left, top, height, ticks: 5, acrossMs, mostMs }, all)
  ]
}

function legend({ mode, delay }: DelaySeries, x: number, y: number): string[] {
  return [
    line(x, y - 4, x + 22, y - 4, { colour: colourOf(mode), width: 3, dashed: true }),
    text(x + 30, y, `${mode}: median ${msText(delay.p50)}`, { size: 13 })
  ]
}
