import { usualConnections, usualTailBytes } from '../failover/points.ts'
import {
  phaseMs, sizeText, spreadOf, toldPhaseNames, usualValueBytes,
  type FailoverFigure, type FailoverReport, type GuestName, type ToldPhase
} from '../failover/report.ts'
import { msText } from './latency-chart.ts'
import { panelled } from './panels.ts'
import { box, faint, ink, line, text, ticks } from './svg.ts'

const panel = { width: 500, left: 78, right: 84, top: 62, bar: 24, bottom: 40 } as const

const colours: Readonly<Record<Exclude<ToldPhase, 'detect'>, string>> = {
  'fence to persist': '#9aa4af', restore: '#1a73e8', attach: '#0f8a6d', replay: '#d9480f'
}
/** How long detection takes is configured, so it would only push the rest aside. */
const shown = toldPhaseNames.filter((phase) => phase !== 'detect')

const guestTexts: Readonly<Record<GuestName, string>> = {
  embedded: 'Embedded guest', qemu: 'Virtual machine, emulated'
}

interface Bar {
  readonly name: string
  readonly figure: FailoverFigure
}

interface Panel {
  readonly title: string
  readonly bars: readonly Bar[]
}

/** Phases stacked, against connections and against the tail. Undefined when there is nothing to draw. */
export function failoverChart(reports: readonly FailoverReport[]): string | undefined {
  const all = reports.flatMap(({ failovers }) => failovers)
  const panels = (['embedded', 'qemu'] as const).flatMap((guest) => {
    const own = all.filter((figure) => figure.guest === guest)
    return [
      {
        title: `${guestTexts[guest]}: connections, with a tail of ${sizeText(usualTailBytes)}`,
        bars: barsOf(own.filter(({ tailBytes }) => tailBytes === usualTailBytes),
          ({ connections }) => connections, String)
      }, {
        title: `${guestTexts[guest]}: the tail, with ${usualConnections} connections`,
        bars: barsOf(own.filter(({ connections, valueBytes }) =>
          connections === usualConnections && valueBytes === usualValueBytes),
        ({ tailBytes }) => tailBytes, sizeText)
      }
    ]
  }).filter(({ bars }) => bars.length > 0)
  if (panels.length === 0) return undefined
  const most = Math.max(...panels.map(({ bars }) => bars.length))
  return panelled({
    title: 'Failovers, from the decision until clients are served', verdict: 'shorter is better',
    note: 'Medians of the rounds. Thin line: the spread of all rounds. Detection is left out.',
    columns: 2, width: panel.width, height: panel.top + most * panel.bar + panel.bottom
  }, panels, drawn)
}

function barsOf(
  figures: readonly FailoverFigure[], along: (figure: FailoverFigure) => number,
  said: (value: number) => string
): Bar[] {
  return figures.toSorted((one, other) => along(one) - along(other))
    .map((figure) => ({ name: said(along(figure)), figure }))
}

function afterDetection({ rounds }: FailoverFigure): ReturnType<typeof spreadOf> {
  return spreadOf(rounds, ({ afterDetectionMs }) => afterDetectionMs)
}

function drawn({ title, bars }: Panel, left: number, top: number): string[] {
  const width = panel.width - panel.left - panel.right
  const most = Math.max(1, ...bars.map(({ figure }) => afterDetection(figure).max)) * 1.02
  const x = (ms: number): number => left + panel.left + ms / most * width
  const [first, last] = [top + panel.top, top + panel.top + bars.length * panel.bar]
  return [
    text(left + 16, top + 20, title, { size: 14, bold: true }),
    ...shown.flatMap((phase, index) =>
      legend(phase, left + 16 + index * 96 + (index === 0 ? 0 : 40), top + 42)),
    ...ticks(most, 4).flatMap((tick) => [
      line(x(tick), first, x(tick), last),
      text(x(tick), last + 16, tick === 0 ? '0' : msText(tick), { size: 12, colour: faint, anchor: 'middle' })
    ]),
    ...bars.flatMap((bar, index) => drawnBar(bar, x, left, first + index * panel.bar))
  ]
}

function legend(phase: keyof typeof colours, x: number, y: number): string[] {
  return [box(x, y - 10, 12, 12, colours[phase]), text(x + 18, y, phase, { size: 12 })]
}

function drawnBar({ name, figure }: Bar, x: (ms: number) => number, left: number, top: number): string[] {
  const { median, min, max } = afterDetection(figure)
  const middle = top + panel.bar / 2
  let ms = 0
  return [
    text(left + panel.left - 8, middle + 4, name, { size: 12, anchor: 'end' }),
    ...shown.map((phase) => {
      const from = ms
      ms += spreadOf(figure.rounds, (round) => phaseMs(round, phase)).median
      return box(x(from), top + 4, x(ms) - x(from), panel.bar - 8, colours[phase])
    }),
    line(x(min), middle, x(max), middle, { colour: ink }),
    text(left + panel.width - panel.right + 8, middle + 4, msText(median), { size: 12, bold: true })
  ]
}
