import { median } from '../figures.ts'
import type { CountedCheckpoint } from './counted-checkpoint.ts'
import { EmbeddedInstallation } from './embedded.ts'
import { runOpen } from './generator.ts'
import { Histogram } from './histogram.ts'
import type { OpenReport } from './load.ts'
import type { DelayMode, DelaySeries } from './report.ts'

/**
 * Checkpoint intervals, in milliseconds. 25 to 50 is what checkpointing alone needs to be bearable; 1000 is
 * for a guest whose input is replicated.
 */
export const intervals = [25, 50, 100, 200, 1000] as const
/** A run lasts for so many of its intervals at least. */
const intervalsMin = 6

/** Few enough that no response waits for another. */
const rate = 250
const connections = 4
const warmupSeconds = 1
/** Points of a series that are kept for its picture. */
const pointsMax = 400

/**
 * The response delay of a guest that is checkpointed every `intervalMs`, in one mode after the other. Rejects
 * when it was not protected all the time, or hardly checkpointed.
 */
export async function measureDelays(
  intervalMs: number, secondsMin: number
): Promise<readonly DelaySeries[]> {
  const seconds = Math.max(secondsMin, intervalsMin * intervalMs / 1000)
  const installation = await EmbeddedInstallation.start(intervalMs)
  try {
    const series: DelaySeries[] = []
    for (const mode of ['epoch', 'checkpoint'] as const) {
      const port = installation.portOf(mode)
      const report = await runOpen({ port, connections, seconds, warmupSeconds, rate, points: true })
      const state = await installation.protection()
      if (state !== 'protected') throw new Error(`the guest is ${state} at the end of the ${mode} run`)
      series.push(seriesOf(mode, intervalMs, report, installation.checkpoints))
    }
    return series
  } finally {
    await installation.stop()
  }
}

/** Puts each response at its place in the checkpoint period that it was asked for in. */
export function seriesOf(
  mode: DelayMode, intervalMs: number, report: OpenReport, checkpoints: readonly CountedCheckpoint[]
): DelaySeries {
  // They were reported in the order of their replies.
  const requests = report.points.toSorted(([one], [other]) => one - other)
  const [first = [0, 0], last = [0, 0]] = [requests[0], requests.at(-1)]
  const during = checkpoints.filter(({ markAt }) =>
    markAt >= report.startedAt + first[0] && markAt <= report.startedAt + last[0] + last[1])
  if (during.length < 3) throw new Error(`only ${during.length} checkpoints counted in the ${mode} run`)
  const marks = during.map(({ markAt }) => markAt).toSorted((a, b) => a - b)
  const points = phasePoints(requests, report.startedAt, marks)
  const delays = Histogram.fromPairs(report.histogram, report.max)
  const delay = (percent: number): number => delays.percentile(percent) / 1e4
  return {
    mode, intervalMs, rate: Math.round((requests.length - 1) / (last[0] - first[0]) * 1000),
    requests: report.requests, checkpoints: during.length,
    periodMs: median(marks.slice(1).map((mark, at) => mark - (marks[at] ?? mark))),
    imageBytes: median(during.map(({ bytes }) => bytes)),
    delay: { p50: delay(50), p90: delay(90), p99: delay(99), p999: delay(99.9), max: delay(100) },
    points: thinned(points)
  }
}

/** Of every request that was due between two marks: since the first of them, and its delay. All by time. */
function phasePoints(
  requests: OpenReport['points'], startedAt: number, marks: readonly number[]
): (readonly [number, number])[] {
  const points: (readonly [number, number])[] = []
  let next = 0
  for (const [dueMs, delayMs] of requests) {
    const due = startedAt + dueMs
    while (next < marks.length && (marks[next] ?? 0) <= due) next++
    const before = marks[next - 1]
    if (before === undefined || next === marks.length) continue
    points.push([round(due - before), round(delayMs)])
  }
  return points
}

function thinned<T>(items: readonly T[]): readonly T[] {
  const step = Math.ceil(items.length / pointsMax)
  return items.filter((_, at) => at % step === 0)
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000
}
