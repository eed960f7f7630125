import { availableParallelism } from 'node:os'
import { askStatus } from '../../src/observe/admin-client.ts'
import { cpuTimeNs, median } from '../figures.ts'
import { startDivided, type Mode, type RunningTailgate } from '../tailgate.ts'
import { workloadsAnywhere, type Workload } from '../workloads.ts'
import type { WorkersFigure } from './report.ts'

/** Services, each the only one of a guest. */
export const workersGuests = 4
const counts = [1, 2] as const
const runLimitMs = 60_000

/** Why it cannot be run here; undefined when it can. */
export const workersMissing = workloadsAnywhere.find(({ missing }) => missing !== undefined)?.missing

export interface WorkersOptions {
  /** Pairs of a run with one worker and one with two. */
  readonly rounds: number
  /** About how long a run takes. */
  readonly seconds: number
}

/** What one load on all guests at once did. */
interface Run {
  /** Requests per second, of all guests together. */
  readonly rate: number
  /** Processors that each process with guests used. */
  readonly busy: readonly number[]
}

/**
 * Loads all guests at once, with one worker and with two, in pairs of which the one and the other comes first
 * in turn. Everything may use every processor: what two workers gain is what the machine has left for them.
 */
export async function measureWorkers(
  mode: Mode, services: readonly number[], options: WorkersOptions
): Promise<readonly WorkersFigure[]> {
  const gateways: RunningTailgate[] = []
  try {
    for (const workers of counts) {
      gateways.push(await startDivided(mode, {
        guests: services.map((port) => [port]), workers, gateways: counts.length,
        places: { gateway: 'anywhere', agents: 'anywhere' }
      }))
    }
    const figures: WorkersFigure[] = []
    for (const workload of workloadsAnywhere) {
      const [one = [], two = []] = await pairs(gateways, workload, options)
      figures.push({
        contender: `tailgate ${mode}`, load: workload.name, guests: services.length,
        processors: availableParallelism(), pairs: one.length,
        oneRate: median(one.map(({ rate }) => rate)), twoRate: median(two.map(({ rate }) => rate)),
        oneBusy: busyOf(one, 0), firstBusy: busyOf(two, 0), secondBusy: busyOf(two, 1)
      })
    }
    for (const gateway of gateways) await gateway.verify()
    return figures
  } finally {
    for (const gateway of gateways) await gateway.stop()
  }
}

/** The runs of each gateway, after one of each that only tells how much is to be done. */
async function pairs(
  gateways: readonly RunningTailgate[], workload: Workload, { rounds, seconds }: WorkersOptions
): Promise<readonly (readonly Run[])[]> {
  let amount = 0
  for (const gateway of gateways) {
    const { rate } = await load(gateway, workload, workload.amountAtFirst)
    amount = Math.max(amount, Math.round(rate * seconds / gateway.ports.length))
  }
  const runs: readonly Run[][] = gateways.map(() => [])
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? [...gateways.keys()] : [...gateways.keys()].toReversed()
    for (const index of order) {
      const gateway = gateways[index]
      if (gateway !== undefined) runs[index]?.push(await load(gateway, workload, amount))
    }
  }
  return runs
}

/** Does `amount` requests with each guest, all at once; the slowest ends it. */
async function load(gateway: RunningTailgate, workload: Workload, amount: number): Promise<Run> {
  const { workers } = await askStatus(gateway.admin)
  const pids = workers.length === 0 ? [gateway.pid] : workers.map(({ pid }) => pid ?? undefined)
  const before = pids.map(cpuTimeNs)
  const began = performance.now()
  const work = { amount, seconds: 1, limitMs: runLimitMs }
  await Promise.all(gateway.ports.map((port) => workload.run(port, work)))
  const ms = performance.now() - began
  const busy = pids.map((pid, index) => ((cpuTimeNs(pid) ?? NaN) - (before[index] ?? NaN)) / 1e6 / ms)
  return { rate: amount * gateway.ports.length / ms * 1000, busy }
}

function busyOf(runs: readonly Run[], process: number): number {
  return median(runs.map(({ busy }) => busy[process] ?? NaN))
}
