import { setTimeout as after } from 'node:timers/promises'
import { askStatus } from '../../src/observe/admin-client.ts'
import { answers, lastFailover } from '../failover/measure.ts'
import { within } from '../failover/site.ts'
import { median } from '../figures.ts'
import { seriesOf } from '../latency/delay.ts'
import { runOpen } from '../latency/generator.ts'
import type { OpenReport } from '../latency/load.ts'
import { CompileJob } from './compile-job.ts'
import { Load } from './loads.ts'
import type { Trial } from './plan.ts'
import type { CheckpointTraffic, Delay, Downtime, RemusTrial } from './report.ts'
import type { XenSite } from './xen-site.ts'

const bootMsMax = 180_000
const endMsMax = 300_000
/** Requests at fixed times beside the load, few enough to be no load. */
const probe = { rate: 20, connections: 4, warmupSeconds: 1, points: true } as const
/** A response may be held for a checkpoint or a failover. */
const graceSeconds = 300
/** The host is killed so long after these requests have begun, and they go on for as long. */
const aroundKillSeconds = 3

/**
 * One trial, with the guest at first alone, then with a backup, and at last killed:
 *
 *   boots ─► compiles, load ─► first checkpoint ─► compiles, load ─► half a period under load ─► kill
 *
 * Rejects when a connection was lost or a reply was wrong.
 */
export async function measureTrial(site: XenSite, trial: Trial): Promise<RemusTrial> {
  await answers(site, bootMsMax)
  const job = await CompileJob.prepare(site.guest)
  const compilesAlone = await job.rate(trial.aloneSeconds)
  const load = await Load.begin(trial.load, site.service)
  const alone = await measured(site, load, trial.aloneSeconds)
  await load.end()
  await site.protect()
  const compiles = { alone: compilesAlone, protected: await job.rate(trial.compileSeconds) }
  const loadAgain = await Load.begin(trial.load, site.service)
  const { report, ...loaded } = await measured(site, loadAgain, trial.loadSeconds)
  const { state } = (await askStatus(site.admin)).guests[0]?.protection ?? {}
  if (state !== 'protected') throw new Error(`the guest is ${state ?? 'unknown'} after the load`)
  const { mode, intervalMs } = trial
  const window = { from: report.startedAt, until: report.startedAt + trial.loadSeconds * 1000 }
  const figures = {
    mode, intervalMs, load: trial.load, alone: { rate: alone.rate, delay: alone.delay }, protected: loaded,
    series: seriesOf(mode, intervalMs, report, site.checkpoints), compiles,
    checkpoints: trafficOf(site, window)
  }
  const failover = await downtime(site, intervalMs)
  await within(loadAgain.end(), endMsMax, 'the end of the load')
  return { ...figures, failover }
}

/** What the load reaches in so many seconds, and how long other requests take meanwhile. */
async function measured(
  { service }: XenSite, load: Load, seconds: number
): Promise<{ readonly rate: number, readonly delay: Delay, readonly report: OpenReport }> {
  const [since, before] = [performance.now(), load.answered]
  const report = await runOpen({ ...service, ...probe, seconds, graceSeconds })
  const rate = (load.answered - before) / (performance.now() - since) * 1000
  return { rate, delay: delayOf(report), report }
}

function delayOf({ points }: OpenReport): Delay {
  const delays = points.map(([, delay]) => delay).toSorted((a, b) => a - b)
  const last = delays.length - 1
  const at = (part: number): number => delays[Math.min(last, Math.floor(part * delays.length))] ?? 0
  return { mean: delays.reduce((sum, delay) => sum + delay, 0) / delays.length, p50: at(0.5), p99: at(0.99) }
}

function trafficOf(
  { checkpoints, pauses }: XenSite, { from, until }: { readonly from: number, readonly until: number }
): CheckpointTraffic {
  const bytes = checkpoints.filter(({ markAt }) => markAt >= from && markAt < until)
    .reduce((sum, checkpoint) => sum + checkpoint.bytes, 0)
  const stood = pauses.filter(({ at }) => at >= from && at < until).map(({ pauseMs }) => pauseMs)
  return { bytesPerSecond: bytes / (until - from) * 1000, pauseMs: median(stood) }
}

/** Kills the host in the middle of a checkpoint period, and waits until every request is answered. */
async function downtime(site: XenSite, intervalMs: number): Promise<Downtime> {
  await site.nextCheckpoint()
  await after(Math.max(0, intervalMs / 2 - aroundKillSeconds * 1000))
  const asking = runOpen({
    ...site.service, ...probe, warmupSeconds: 0, seconds: 2 * aroundKillSeconds, graceSeconds
  })
  await after(aroundKillSeconds * 1000)
  const [report] = await Promise.all([asking, site.failOver()])
  const last = await lastFailover(site.admin)
  return {
    clientMs: Math.max(...report.points.map(([, delay]) => delay)), afterDetectionMs: last.totalMs,
    replayedRecords: last.replayedRecords, kept: last.connectionsKept, reset: last.connectionsReset
  }
}
