import { loadNames, type LoadName, type Setting } from './report.ts'

/** One guest, which is protected in one way and then failed over. */
export interface Trial extends Setting {
  readonly load: LoadName
  /** How long load and compiler are measured before there is a backup. */
  readonly aloneSeconds: number
  /** How long they are while the guest is protected. */
  readonly compileSeconds: number
  readonly loadSeconds: number
}

/**
 * Remus at an interval that clients can bear where a checkpoint takes milliseconds, and at the shortest that
 * leaves an emulated guest half of its time; LLM at those that it is for.
 */
const settings: readonly Setting[] = [
  ...[200, 2000].map((intervalMs) => ({ mode: 'checkpoint' as const, intervalMs })),
  ...[1000, 5000, 30_000].map((intervalMs) => ({ mode: 'epoch' as const, intervalMs }))
]
const quickSettings: readonly Setting[] = [
  { mode: 'checkpoint', intervalMs: 200 }, { mode: 'epoch', intervalMs: 1000 }
]

const aloneSeconds = 15
const secondsMin = 24
/** An emulated host needs up to ten seconds for a checkpoint, however short the interval is. */
const busySecondsMin = 72
const busyIntervalMs = 1000
/** A window has so many intervals at least: three checkpoints, wherever it begins. */
const intervalsMin = 4.2
const compileIntervalsMin = 2

/** What is measured, in this order; `only` names settings and loads by parts of their names. */
export function trials(isQuick: boolean, only: (trial: Trial) => boolean = () => true): readonly Trial[] {
  const loads = isQuick ? ['network' as const] : loadNames
  return (isQuick ? quickSettings : settings).flatMap((setting) => loads.map((load) => {
    const seconds = setting.intervalMs / 1000
    const windowMin = setting.intervalMs <= busyIntervalMs ? busySecondsMin : secondsMin
    return {
      ...setting, load, aloneSeconds,
      compileSeconds: Math.max(secondsMin, compileIntervalsMin * seconds),
      loadSeconds: Math.max(windowMin, intervalsMin * seconds)
    }
  })).filter(only)
}
