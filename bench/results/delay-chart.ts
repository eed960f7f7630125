import { median } from '../figures.ts'
import type { DelaySeries, LatencyReport } from '../latency/report.ts'
import { msText } from './latency-chart.ts'
import { panelled } from './panels.ts'
import { colourOf, dots, faint, line, text, ticks } from './svg.ts'

const panel = { width: 500, left: 62, right: 24, top: 52, plot: 220, bottom: 58 } as const

/** Response delay over a checkpoint period, a panel per interval. Undefined when there is nothing to draw. */
export function delayChart(reports: readonly LatencyReport[]): string | undefined {
  const delays = reports.flatMap((report) => report.delays)
  const intervals = [...new Set(delays.map(({ intervalMs }) => intervalMs))].toSorted((a, b) => a - b)
  if (intervals.length === 0) return undefined
  const height = panel.top + panel.plot + panel.bottom
  return panelled({
    title: 'Response delay over a checkpoint period', verdict: 'lower is better',
    note: 'A dot is a request: when it was due, and how long its response took. Dashed: the median.',
    columns: 2, width: panel.width, height
  }, intervals, (intervalMs, left, top) =>
    drawn(intervalMs, delays.filter((series) => series.intervalMs === intervalMs), left, top))
}

function drawn(intervalMs: number, all: readonly DelaySeries[], left: number, top: number): string[] {
  const width = panel.width - panel.left - panel.right
  const across = 1.1 * median(all.map(({ periodMs }) => periodMs))
  // What few requests had to bear must not press the rest against the axis; those dots lie on the upper edge.
  const most = 1.1 * Math.max(...all.map(({ delay }) => delay.p99))
  const [floor, first] = [top + panel.top + panel.plot, left + panel.left]
  const middle = first + width / 2
  const small = { size: 12, colour: faint, anchor: 'middle' } as const
  const x = (ms: number): number => first + ms / across * width
  const y = (ms: number): number => floor - Math.min(1, ms / most) * panel.plot
  return [
    text(left + 16, top + 20, `A checkpoint every ${intervalMs} ms`, { size: 14, bold: true }),
    ...all.flatMap((series, index) => legend(series, left + 16 + index * 236, top + 40)),
    ...ticks(most, 5).flatMap((tick) => [
      line(first, y(tick), first + width, y(tick)),
      text(first - 8, y(tick) + 4, `${tick} ms`, { size: 12, colour: faint, anchor: 'end' })
    ]),
    ...ticks(across, 6).map((tick) =>
      text(x(tick), floor + 17, String(tick), small)),
    text(middle, floor + 35, 'ms since the last checkpoint', small),
    line(first, floor, first + width, floor, { colour: faint }),
    // A checkpoint that came late would stretch the axis for all the others.
    ...all.map(({ mode, points }) => {
      const here = points.filter(([phase]) => phase <= across)
      return dots(here.map(([phase, delay]) => [x(phase), y(delay)]), colourOf(mode))
    }),
    ...all.map(({ mode, delay: { p50 } }) =>
      line(first, y(p50), first + width, y(p50), { colour: colourOf(mode), width: 2, dashed: true }))
  ]
}

function legend({ mode, delay }: DelaySeries, x: number, y: number): string[] {
  return [
    line(x, y - 4, x + 22, y - 4, { colour: colourOf(mode), width: 3, dashed: true }),
    text(x + 30, y, `${mode}: median ${msText(delay.p50)}`, { size: 13 })
  ]
}
