import { renderTable } from '../../src/observe/table.ts'
import { settingText, trialsOf, type Delay, type RemusReport, type RemusTrial } from './report.ts'

export const protectedHead = [
  'while it is protected', 'load', 'mean', 'p50', 'p99', 'without a backup, p50', 'replies/s',
  'of those without', 'compiles', 'period', 'MB/s of checkpoints', 'stood still for one'
] as const

export const downtimeHead = [
  'host killed', 'load', 'a client waited', 'after detection', 'records replayed', 'kept', 'reset'
] as const

/** Delays in milliseconds; rates and compiles as parts of what they were without a backup. */
export function protectedCells(trial: RemusTrial): string[] {
  const { load, alone, protected: now, compiles, checkpoints, series } = trial
  return [
    settingText(trial), load, ...delayCells(now.delay), ms(alone.delay.p50),
    now.rate < 10 ? now.rate.toPrecision(2) : now.rate.toFixed(0), part(now.rate / alone.rate),
    part(compiles.protected / compiles.alone), ms(series.periodMs),
    (checkpoints.bytesPerSecond / 1e6).toFixed(2), ms(checkpoints.pauseMs)
  ]
}

export function downtimeCells(trial: RemusTrial): string[] {
  const { clientMs, afterDetectionMs, replayedRecords, kept, reset } = trial.failover
  return [
    settingText(trial), trial.load, ms(clientMs), ms(afterDetectionMs), String(replayedRecords), String(kept),
    String(reset)
  ]
}

function delayCells({ mean, p50, p99 }: Delay): string[] {
  return [ms(mean), ms(p50), ms(p99)]
}

function part(ratio: number): string {
  return ratio < 0.1 ? ratio.toPrecision(2) : ratio.toFixed(2)
}

function ms(value: number): string {
  return `${value < 100 ? value.toPrecision(3) : Math.round(value)} ms`
}

/** For a terminal. */
export function remusTables(report: RemusReport): string[] {
  const trials = trialsOf([report])
  return [[protectedHead, trials.map(protectedCells)], [downtimeHead, trials.map(downtimeCells)]]
    .flatMap(([head = [], rows = []]) => {
      const align = ['left' as const, 'left' as const, ...head.slice(2).map(() => 'right' as const)]
      return [...renderTable([head, ...rows] as readonly (readonly string[])[], { align }), '']
    })
}
