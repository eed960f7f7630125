import type { DelaySeries } from '../latency/report.ts'
import { msText } from './latency-chart.ts'
import { panelled } from './panels.ts'
import { colourOf, dots, faint, line, text, ticks } from './svg.ts'

/** A panel of response delay over a checkpoint period, in pixels; how high its plot is, is the chart's. */
const periodPanel = { width: 500, left: 72, right: 24, top: 52, bottom: 52 } as const

/** A panel for each of `items`, with a plot of that height. */
export function periodChart<T>(
  title: string, height: number, items: readonly T[], draw: (item: T, left: number, top: number) => string[]
): string {
  return panelled({
    title, verdict: 'lower is better',
    note: 'A dot is a request: when it was due, and how long its response took. Dashed: the median.',
    columns: 2, width: periodPanel.width, height: periodPanel.top + height + periodPanel.bottom
  }, items, draw)
}

export interface PeriodPlot {
  readonly left: number
  readonly top: number
  readonly height: number
  readonly ticks: number
  /** What the axes reach to. What came later, or took longer, lies outside, or on the upper edge. */
  readonly acrossMs: number
  readonly mostMs: number
}

/** Both axes, a dot for each request, and a dashed line for the median of each series. */
export function plottedOverPeriod(plot: PeriodPlot, all: readonly DelaySeries[]): string[] {
  const { acrossMs, mostMs, height } = plot
  const width = periodPanel.width - periodPanel.left - periodPanel.right
  const [floor, first] = [plot.top + periodPanel.top + height, plot.left + periodPanel.left]
  const x = (ms: number): number => first + ms / acrossMs * width
  const y = (ms: number): number => floor - Math.min(1, ms / mostMs) * height
  const small = { size: 12, colour: faint, anchor: 'middle' } as const
  return [
    ...ticks(mostMs, plot.ticks).flatMap((tick) => [
      line(first, y(tick), first + width, y(tick)),
      text(first - 8, y(tick) + 4, toldMs(tick), { ...small, anchor: 'end' })
    ]),
    ...ticks(acrossMs, 5).map((tick) => text(x(tick), floor + 17, toldMs(tick), small)),
    text(first + width / 2, floor + 35, 'since the last checkpoint', small),
    line(first, floor, first + width, floor, { colour: faint }),
    ...all.map(({ mode, points }) => {
      const here = points.filter(([phase]) => phase <= acrossMs)
      return dots(here.map(([phase, delay]) => [x(phase), y(delay)]), colourOf(mode))
    }),
    ...all.map(({ mode, delay: { p50 } }) =>
      line(first, y(p50), first + width, y(p50), { colour: colourOf(mode), width: 2, dashed: true }))
  ]
}

function toldMs(ms: number): string {
  return ms === 0 ? '0' : msText(ms)
}
