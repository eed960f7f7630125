import type { DelayMode, LatencyReport } from '../latency/report.ts'

/**
 * What is compared: with the input replicated, checkpoints can be rare; without, a guest that is checkpointed
 * this often holds its responses for most of such a period. Milliseconds.
 */
export const comparedPeriods = { epochMs: 1000, checkpointMs: 200 } as const

/** How much less the median response delay is, in percent; undefined where one was not measured. */
export function delaySaved({ delays }: LatencyReport): number | undefined {
  const medianOf = (mode: DelayMode, periodMs: number): number | undefined =>
    delays.find((series) => series.mode === mode && series.intervalMs === periodMs)?.delay.p50
  const epoch = medianOf('epoch', comparedPeriods.epochMs)
  const checkpoint = medianOf('checkpoint', comparedPeriods.checkpointMs)
  return epoch === undefined || checkpoint === undefined ? undefined : 100 * (1 - epoch / checkpoint)
}

export function percentText(percent: number): string {
  return `${percent.toFixed(1)} %`
}
