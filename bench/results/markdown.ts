import type { Quantity, Summary } from '../figures.ts'
import { median } from '../figures.ts'
import { percents, type LatencyReport, type LoadRun, type Percentile } from '../latency/report.ts'
import { comparedPeriods, delaySaved, percentText } from './delay-saved.ts'
import { failoverPart } from './failover-part.ts'
import { footprintPart } from './footprint-part.ts'
import { agreementPart, goalPart } from './goal-part.ts'
import { cellsOf, namesOf, pooled, type Measured } from './input.ts'
import { msText } from './latency-chart.ts'
import { table } from './markdown-table.ts'
import { remusPart } from './remus-part.ts'

/** The charts that were drawn, as paths from where RESULTS.md is. */
export interface Charts {
  readonly throughput?: string
  readonly latency?: string
  readonly delay?: string
  readonly failover?: string
  readonly remus?: string
}

const percentiles = Object.keys(percents) as Percentile[]
const percentileTexts = ['p50', 'p90', 'p99', 'p99.9', 'max']

/** The whole of RESULTS.md. The same input gives the same text. */
export function resultsText(measured: Measured, charts: Charts): string {
  const { bench, latency, footprint, failover, remus } = measured
  return `${[
    '# Results', '',
    'Made by `npm run bench:results`; bench/README.md says what runs and how to read it.', '',
    ...provenance(measured), ...warnings(measured),
    ...goalPart(measured), ...agreementPart(measured),
    ...bench.length === 0 ? [] : ratioPart(measured, charts.throughput),
    ...footprintPart(footprint),
    ...latency.some(({ loads }) => loads.length > 0) ? loadPart(latency, charts.latency) : [],
    ...latency.some(({ delays }) => delays.length > 0) ? delayPart(latency, charts.delay) : [],
    ...failoverPart(failover, picture('Phases of failovers against connections and tails', charts.failover)),
    ...remusPart(remus, picture('Response delay of a Xen guest, Remus and LLM', charts.remus))
  ].join('\n').trimEnd()}\n`
}

function picture(what: string, file: string | undefined): string[] {
  return file === undefined ? [] : [`![${what}](${file})`, '']
}

function provenance({ bench, latency, footprint, failover, remus }: Measured): string[] {
  const told = [...latency, ...footprint, ...failover, ...remus]
  const machines = [...new Set(told.map(({ machine }) => machine))]
  const runs = bench.map(({ rounds, seconds, pinned }) =>
    `- ${rounds} rounds, about ${seconds} s each, `
      + (pinned ? 'contenders on a processor of their own' : 'all on the same processors'))
  const missing = namesOf([...bench, ...footprint, ...failover, ...remus].map((report) => report.missing))
  return [
    ...machines.map((machine) => `- ${machine}`), ...runs, ...missing.map((one) => `- left out: ${one}`), ''
  ]
}

function warnings({ bench, latency, footprint, failover, remus }: Measured): string[] {
  const failures = [...bench, ...latency, ...footprint, ...failover, ...remus].flatMap((run) => run.failures)
  if (failures.length === 0) return []
  return ['**Something failed, so these figures do not hold:**', '',
    ...failures.map((failure) => `- ${failure.split('\n', 1)[0] ?? ''}`), '']
}

// ---- ratios

function ratioPart(measured: Measured, chart: string | undefined): string[] {
  const { bench } = measured
  const workloads = [...new Map(bench.flatMap((run) => run.workloads).map((one) => [one.name, one])).values()]
  const contenders = namesOf(bench.map((run) => run.contenders))
  return [
    '## Throughput', '', ...picture('Throughput of each contender as a ratio to HAProxy', chart),
    ...workloads.flatMap(({ name, unit }) => {
      const rows = contenders.flatMap((contender) => ratioRow(measured, name, unit, contender))
      if (rows.length === 0) return []
      return [`### ${name}`, '', ...table(['', 'rate', 'p50', 'p99', 'CPU', 'itself', 'p50', 'p99'], rows)]
    })
  ]
}

function ratioRow(measured: Measured, workload: string, unit: string, contender: string): string[][] {
  const cells = cellsOf(measured, workload, contender)
  if (cells.length === 0) return []
  const ratio = (quantity: Quantity): string =>
    pooled(measured, workload, contender, quantity)?.median.toFixed(2) ?? ''
  const rate = median(cells.map((cell) => cell.rate))
  return [[
    contender, ratio('rate'), ratio('p50'), ratio('p99'), ratio('cpu'),
    unit === 'bytes' ? `${Math.round(rate / 1e6)} MB/s` : `${Math.round(rate)}/s`,
    timeOf(cells, ({ p50Ms }) => p50Ms), timeOf(cells, ({ p99Ms }) => p99Ms)
  ]]
}

function timeOf(cells: readonly Summary[], read: (cell: Summary) => number | undefined): string {
  const times = cells.map(read).filter((time) => time !== undefined)
  return times.length === 0 ? '' : msText(median(times))
}

// ---- latency

function loadPart(reports: readonly LatencyReport[], chart: string | undefined): string[] {
  const loads = reports.flatMap((report) => report.loads).toSorted((a, b) => a.fraction - b.fraction)
  const rows = loads.map((load) => [
    load.contender, `${Math.round(load.fraction * 100)} %`, `${load.rate}/s`,
    ...percentiles.map((name) => msText(load.latency[name].median)), p99Spread(load)
  ])
  return [
    '## Latency at fixed rates', '',
    'Requests leave at fixed times over 50 connections, whether or not others were answered, and latency '
      + 'counts from the moment when a request was due. Rates are parts of what each contender reaches '
      + 'itself with this load. Medians of the rounds.', '',
    ...picture('Distribution of latency at 10, 50 and 90 % of capacity', chart),
    ...table(['', 'of capacity', 'rate', ...percentileTexts, 'p99 of the rounds'], rows)
  ]
}

function p99Spread({ latency: { p99 }, rounds }: LoadRun): string {
  return rounds === 1 ? 'one round' : `${msText(p99.min)} to ${msText(p99.max)}`
}

// ---- delay

function delayPart(reports: readonly LatencyReport[], chart: string | undefined): string[] {
  const delays = reports.flatMap((report) => report.delays).toSorted((a, b) => a.intervalMs - b.intervalMs)
  const rows = delays.map(({ mode, intervalMs, periodMs, checkpoints, delay }) => [
    `${intervalMs} ms`, mode, `${periodMs.toFixed(1)} ms`, String(checkpoints),
    ...percentiles.map((name) => msText(delay[name]))
  ])
  const saved = median(reports.map(delaySaved).filter((percent) => percent !== undefined))
  const rate = delays[0]?.rate ?? 0
  return [
    '## Response delay over a checkpoint period', '',
    `The embedded guest behind Tailgate, ${rate} requests/s at fixed times. In \`checkpoint\` mode (Remus) a `
      + 'response waits for a checkpoint that contains it; in `epoch` mode only until the backup has the '
      + 'input.', '',
    ...Number.isNaN(saved) ? [] : [
      `The median delay in \`epoch\` mode with a checkpoint every ${comparedPeriods.epochMs} ms is `
        + `**${percentText(saved)} less** than in \`checkpoint\` mode with one every `
        + `${comparedPeriods.checkpointMs} ms.`, ''
    ],
    ...picture('Response delay against the place in the checkpoint period, in both modes', chart),
    ...table(['a checkpoint every', 'mode', 'period', 'checkpoints', ...percentileTexts], rows)
  ]
}
