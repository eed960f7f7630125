import { Histogram } from '../latency/histogram.ts'
import type { LatencyReport, LoadRun } from '../latency/report.ts'
import { panelled } from './panels.ts'
import { colourOf, faint, line, path, text } from './svg.ts'

const panel = { width: 960, left: 70, right: 270, top: 40, plot: 230, bottom: 46 } as const
/** The share of requests that take longer: each step upwards is a tenth of the one below. */
const marks = [50, 90, 99, 99.9, 99.99, 99.999] as const
const perMs = 1e4

type Scale = (value: number) => number

/** Distributions of latency at fixed rates, a panel per rate. Undefined when there is nothing to draw. */
export function latencyChart(reports: readonly LatencyReport[]): string | undefined {
  const loads = reports.flatMap((report) => report.loads)
  const fractions = [...new Set(loads.map(({ fraction }) => fraction))].toSorted((a, b) => a - b)
  if (fractions.length === 0) return undefined
  const height = panel.top + panel.plot + panel.bottom
  const least = Math.min(...loads.map((load) => histogramOf(load).percentile(1))) / perMs
  const most = Math.max(...loads.map(({ histogramMax }) => histogramMax)) / perMs
  const from = Math.floor(Math.log10(Math.max(least, 0.001)))
  const to = Math.ceil(Math.log10(Math.max(most, 1)))
  const width = panel.width - panel.left - panel.right
  const x: Scale = (ms) => panel.left + (Math.log10(Math.max(ms, 10 ** from)) - from) / (to - from) * width
  return panelled({
    title: 'Latency at fixed rates', verdict: 'further left is better',
    note: 'So many percent of the requests take no longer than this, counted from when they were due.',
    columns: 1, width: panel.width, height
  }, fractions, (fraction, _left, top) =>
    drawn(fraction, loads.filter((load) => load.fraction === fraction), x, [from, to], top))
}

function histogramOf({ histogram, histogramMax }: LoadRun): Histogram {
  return Histogram.fromPairs(histogram, histogramMax)
}

function drawn(
  fraction: number, loads: readonly LoadRun[], x: Scale, [from, to]: readonly [number, number], top: number
): string[] {
  const most = Math.max(...loads.map(({ requests }) => requests))
  const shown = marks.filter((percent) => 1 / (1 - percent / 100) <= most)
  const highest = Math.log10(Math.max(most, 10))
  const [ceiling, floor] = [top + panel.top, top + panel.top + panel.plot]
  const y: Scale = (share) => {
    const nines = -Math.log10(Math.max(1 - share, 1e-12))
    return floor - Math.min(1, nines / highest) * panel.plot
  }
  const decades = Array.from({ length: to - from + 1 }, (_, index) => 10 ** (from + index))
  const right = panel.width - panel.right
  const title = `At ${Math.round(fraction * 100)} % of each one's own capacity`
  return [
    text(16, top + 22, title, { size: 14, bold: true }),
    ...decades.flatMap((ms) => [
      line(x(ms), ceiling, x(ms), floor),
      text(x(ms), floor + 17, msText(ms), { size: 12, colour: faint, anchor: 'middle' })
    ]),
    ...shown.flatMap((percent) => [
      line(panel.left, y(percent / 100), right, y(percent / 100)),
      text(panel.left - 8, y(percent / 100) + 4, `${percent} %`, { size: 12, colour: faint, anchor: 'end' })
    ]),
    line(panel.left, floor, right, floor, { colour: faint }),
    ...loads.map((load) => path(curve(load, x, y), colourOf(load.contender))),
    ...loads.flatMap((load, index) => legend(load, right + 20, ceiling + 14 + index * 44))
  ]
}

/** Points that lie apart by a pixel at least. */
function curve(load: LoadRun, x: Scale, y: Scale): (readonly [number, number])[] {
  const points: (readonly [number, number])[] = []
  for (const { value, upTo } of histogramOf(load).steps()) {
    const next = [x(value / perMs), y(upTo / load.requests)] as const
    const before = points.at(-1)
    const far = before === undefined || Math.hypot(next[0] - before[0], next[1] - before[1]) >= 1
    if (far || upTo === load.requests) points.push(next)
  }
  return points
}

function legend({ contender, rate, latency }: LoadRun, x: number, y: number): string[] {
  const figures = `p50 ${msText(latency.p50.median)}, p99 ${msText(latency.p99.median)}`
  return [
    line(x, y - 4, x + 22, y - 4, { colour: colourOf(contender), width: 3 }),
    text(x + 30, y, `${contender}, ${rate}/s`, { size: 13, bold: true }),
    text(x + 30, y + 17, figures, { size: 12, colour: faint })
  ]
}

/** Three digits, and the unit that a person would take. */
export function msText(ms: number): string {
  if (ms < 0.9995) return `${Number((ms * 1000).toPrecision(3))} µs`
  return ms < 999.5 ? `${Number(ms.toPrecision(3))} ms` : `${Number((ms / 1000).toPrecision(3))} s`
}
