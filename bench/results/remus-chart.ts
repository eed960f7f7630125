import { settingText, trialsOf, type RemusReport, type RemusTrial } from '../remus/report.ts'
import { msText } from './latency-chart.ts'
import { panelled } from './panels.ts'
import { colourOf, dots, faint, line, text, ticks } from './svg.ts'

const panel = { width: 500, left: 72, right: 24, top: 52, plot: 150, bottom: 52 } as const

/** Response delay over a checkpoint period, a panel per trial. Undefined when there is nothing to draw. */
export function remusChart(reports: readonly RemusReport[]): string | undefined {
  const trials = trialsOf(reports)
  if (trials.length === 0) return undefined
  return panelled({
    title: 'Response delay of a Xen guest over a checkpoint period', verdict: 'lower is better',
    note: 'A dot is a request: when it was due, and how long its response took. Dashed: the median.',
    columns: 2, width: panel.width, height: panel.top + panel.plot + panel.bottom
  }, trials, drawn)
}

function drawn({ load, series, ...setting }: RemusTrial, left: number, top: number): string[] {
  const { mode, delay, periodMs, points } = series
  const width = panel.width - panel.left - panel.right
  const across = 1.1 * periodMs
  const most = 1.1 * delay.p99
  const [floor, first] = [top + panel.top + panel.plot, left + panel.left]
  const x = (ms: number): number => first + ms / across * width
  const y = (ms: number): number => floor - Math.min(1, ms / most) * panel.plot
  const small = { size: 12, colour: faint, anchor: 'middle' } as const
  return [
    text(left + 16, top + 20, `${settingText(setting)}, ${load}: median ${msText(delay.p50)}`,
      { size: 14, bold: true }),
    ...ticks(most, 4).flatMap((tick) => [
      line(first, y(tick), first + width, y(tick)),
      text(first - 8, y(tick) + 4, toldMs(tick), { ...small, anchor: 'end' })
    ]),
    ...ticks(across, 5).map((tick) => text(x(tick), floor + 17, toldMs(tick), small)),
    text(first + width / 2, floor + 35, 'since the last checkpoint', small),
    line(first, floor, first + width, floor, { colour: faint }),
    dots(points.filter(([phase]) => phase <= across).map(([phase, ms]) => [x(phase), y(ms)]), colourOf(mode)),
    line(first, y(delay.p50), first + width, y(delay.p50), { colour: colourOf(mode), width: 2, dashed: true })
  ]
}

function toldMs(ms: number): string {
  return ms === 0 ? '0' : msText(ms)
}
