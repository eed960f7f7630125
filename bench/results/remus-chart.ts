import { settingText, trialsOf, type RemusReport, type RemusTrial } from '../remus/report.ts'
import { msText } from './latency-chart.ts'
import { periodChart, plottedOverPeriod } from './period-panel.ts'
import { text } from './svg.ts'

const height = 150

/** Response delay over a checkpoint period, a panel per trial. Undefined when there is nothing to draw. */
export function remusChart(reports: readonly RemusReport[]): string | undefined {
  const trials = trialsOf(reports)
  if (trials.length === 0) return undefined
  return periodChart('Response delay of a Xen guest over a checkpoint period', height, trials, drawn)
}

function drawn({ load, series, ...setting }: RemusTrial, left: number, top: number): string[] {
  const { delay, periodMs } = series
  const title = `${settingText(setting)}, ${load}: median ${msText(delay.p50)}`
  const reach = { acrossMs: 1.1 * periodMs, mostMs: 1.1 * delay.p99 }
  return [
    text(left + 16, top + 20, title, { size: 14, bold: true }),
    ...plottedOverPeriod({ left, top, height, ticks: 4, ...reach }, [series])
  ]
}
