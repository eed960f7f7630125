import { goalOf } from './goals.ts'
import { namesOf, pooled, type Measured, type Pooled } from './input.ts'
import { panelled } from './panels.ts'
import { box, colourOf, faint, ink, line, text, ticks } from './svg.ts'

const panel = { width: 500, left: 140, right: 56, top: 34, bar: 20, bottom: 34 } as const

interface Bar {
  readonly name: string
  readonly ratio: Pooled
  readonly goal: number | undefined
}

/** Rates as ratios to HAProxy, a panel per workload. Undefined when there is nothing to draw. */
export function throughputChart(measured: Measured): string | undefined {
  const workloads = namesOf(measured.bench.map((run) => run.workloads.map(({ name }) => name)))
  // The socket layer alone is a step on the way and no product; it is in the tables.
  const contenders = namesOf(measured.bench.map((run) => run.contenders))
    .filter((name) => !name.startsWith('sockets'))
  const panels = workloads.map((workload) => ({ workload, bars: barsOf(measured, workload, contenders) }))
    .filter(({ bars }) => bars.length > 0)
  if (panels.length === 0) return undefined
  const most = Math.max(...panels.map(({ bars }) => bars.length))
  const height = panel.top + most * panel.bar + panel.bottom
  return panelled({
    title: 'Throughput as a ratio to HAProxy', verdict: 'longer is better',
    note: 'Dashed: HAProxy. Black mark: the goal. Thin line: the spread of all rounds.',
    columns: 2, width: panel.width, height
  }, panels, ({ workload, bars }, left, top) =>
    drawn(`${workload}, ratio to ${yardstickOf(measured, workload)}`, bars, left, top))
}

function yardstickOf({ bench }: Measured, workload: string): string {
  const summaries = bench.flatMap((run) => run.summaries)
  return summaries.find((summary) => summary.workload === workload)?.yardstick ?? 'haproxy'
}

function barsOf(measured: Measured, workload: string, contenders: readonly string[]): Bar[] {
  return contenders.flatMap((name) => {
    const ratio = pooled(measured, workload, name, 'rate')
    return ratio === undefined ? [] : [{ name, ratio, goal: goalOf(name, workload, 'rate') }]
  })
}

function drawn(title: string, bars: readonly Bar[], left: number, top: number): string[] {
  const width = panel.width - panel.left - panel.right
  const most = Math.max(1.2, ...bars.flatMap(({ ratio, goal = 0 }) => [ratio.max, goal])) * 1.02
  const x = (ratio: number): number => left + panel.left + ratio / most * width
  const [first, last] = [top + panel.top, top + panel.top + bars.length * panel.bar]
  return [
    text(left + 16, top + 20, title, { size: 14, bold: true }),
    ...ticks(most, 5).flatMap((tick) => [
      line(x(tick), first, x(tick), last),
      text(x(tick), last + 15, String(tick), { size: 12, colour: faint, anchor: 'middle' })
    ]),
    ...bars.flatMap((bar, index) => drawnBar(bar, x, left, first + index * panel.bar)),
    line(x(1), first, x(1), last, { colour: ink, dashed: true })
  ]
}

function drawnBar(
  { name, ratio, goal }: Bar, x: (ratio: number) => number, left: number, top: number
): string[] {
  const middle = top + panel.bar / 2
  const mark = { colour: ink, width: 3 } as const
  return [
    text(left + panel.left - 8, middle + 4, name, { size: 12, anchor: 'end' }),
    box(x(0), top + 3, x(ratio.median) - x(0), panel.bar - 6, colourOf(name)),
    line(x(ratio.min), middle, x(ratio.max), middle, { colour: ink }),
    ...goal === undefined ? [] : [line(x(goal), top + 1, x(goal), top + panel.bar - 1, mark)],
    text(left + panel.width - 48, middle + 4, ratio.median.toFixed(2), { size: 12, bold: true })
  ]
}
