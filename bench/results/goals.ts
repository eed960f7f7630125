import { failoverGoal, isGoalPoint, sizeText, spreadOf, type GuestName } from '../failover/report.ts'
import type { Quantity } from '../figures.ts'
import {
  bytesPerConnection, linkParts, workersRatio, type FootprintReport, type IdleFigure
} from '../footprint/report.ts'
import type { LoadRun } from '../latency/report.ts'
import { comparedPeriods, delaySaved, percentText } from './delay-saved.ts'
import type { Measured } from './input.ts'
import { msText } from './latency-chart.ts'

/** The contenders that have goals, by the columns of the tables. */
export const goalContenders = {
  plain: 'tailgate plain', epoch: 'tailgate epoch', disk: 'tailgate epoch disk'
} as const
export type GoalColumn = keyof typeof goalContenders

/** A goal as a ratio to HAProxy: rates are to reach it, times are not to exceed it. */
export interface Goal {
  readonly load: string
  readonly quantity: Quantity
  readonly goals: Readonly<Partial<Record<GoalColumn, number>>>
}

const fifty = (load: string): Goal[] => [
  { load, quantity: 'rate', goals: { plain: 1, epoch: 0.9, disk: 0.6 } },
  { load, quantity: 'p50', goals: { plain: 1, epoch: 1.15 } },
  { load, quantity: 'p99', goals: { plain: 1.3, epoch: 1.5 } },
  { load, quantity: 'cpu', goals: { plain: 1.05, epoch: 1.15 } }
]

const pipeline = (load: string): Goal => ({ load, quantity: 'rate', goals: { plain: 1, epoch: 0.9 } })
const alone = (load: string): Goal => ({ load, quantity: 'p50', goals: { plain: 1, epoch: 1.4 } })

/** All goals that `npm run bench` measures, by the names of its workloads. */
export const goals: readonly Goal[] = [
  ...fifty('get, 50 connections'),
  ...fifty('set, 50 connections'),
  alone('get, 1 connection'),
  alone('set, 1 connection'),
  { load: 'get, 1 connection, service 300 us', quantity: 'p50', goals: { epoch: 1.05 } },
  pipeline('get, 50 x pipeline 16'),
  pipeline('set, 50 x pipeline 16'),
  { load: 'churn, 50 connections', quantity: 'rate', goals: { plain: 0.9, epoch: 0.85 } },
  { load: 'bulk up', quantity: 'rate', goals: { plain: 1.5, epoch: 1 } },
  { load: 'bulk down', quantity: 'rate', goals: { plain: 1.5, epoch: 1.5 } }
]

/** A goal that is no ratio to HAProxy. */
export interface FigureGoal {
  readonly load: string
  readonly quantity: string
  readonly contender: string
  readonly goal: number
  /** Whether the goal is to be reached, and not to be kept below. */
  readonly atLeast: boolean
  /** The figure for people; what it shows is what is judged. */
  text(value: number): string
  /** A figure per run; undefined where a run has none. */
  reached(measured: Measured): readonly (number | undefined)[]
}

const tailgates = [goalContenders.plain, goalContenders.epoch] as const
/** The issue says that latency is to be flat, and no number: so much is taken for flat. */
const flat = 1.1
const twoDecimals = (value: number): string => value.toFixed(2)

/** Of a contender at half of its own capacity. */
function halfLoad(quantity: string, read: (load: LoadRun) => number | undefined): FigureGoal[] {
  return tailgates.map((contender) => ({
    load: 'half of its own capacity', quantity, contender, goal: 5, atLeast: false, text: msText,
    reached: ({ latency }) => latency.map(({ loads }) => {
      const half = loads.find((load) => load.fraction === 0.5 && load.contender === contender)
      return half === undefined ? undefined : read(half)
    })
  }))
}

/** Judged with the most connections that a run had. */
function idle(
  quantity: string, goal: Pick<FigureGoal, 'goal' | 'atLeast' | 'text'>, read: (figure: IdleFigure) => number
): FigureGoal[] {
  return tailgates.map((contender) => ({
    load: 'idle connections', quantity, contender, ...goal,
    reached: ({ footprint }) => footprint.map((run) => {
      const most = mostIdle(run, contender)
      return most === undefined ? undefined : read(most)
    })
  }))
}

function mostIdle({ idle: figures }: FootprintReport, contender: string): IdleFigure | undefined {
  return figures.filter((figure) => figure.contender === contender)
    .toSorted((one, other) => other.connections - one.connections)[0]
}

const onTheLink = [
  'get, 50 connections', 'get, 50 x pipeline 16', 'bulk up', 'one byte at a time, 1 connection',
  'one byte at a time, 50 connections'
].map((load): FigureGoal => ({
  load, quantity: 'bytes on the link, of 1.05 × input + 16 per event', contender: goalContenders.epoch,
  goal: 1, atLeast: false, text: twoDecimals,
  reached: ({ footprint }) => footprint.map(({ link }) => {
    const figure = link.find((one) => one.load === load && one.contender === goalContenders.epoch)
    return figure === undefined ? undefined : linkParts(figure).ofAllowed
  })
}))

/** Commits that take longer are fewer: what came meanwhile goes together. */
const growing: FigureGoal = {
  load: 'get, 50 connections', quantity: 'events per epoch, to those in memory', goal: 1, atLeast: true,
  contender: goalContenders.disk, text: twoDecimals,
  reached: ({ footprint }) => footprint.map(({ link }) => {
    const [memory, disk] = [goalContenders.epoch, goalContenders.disk].map((contender) =>
      link.find((one) => one.load === 'get, 50 connections' && one.contender === contender))
    if (memory === undefined || disk === undefined) return undefined
    return linkParts(disk).eventsPerEpoch / linkParts(memory).eventsPerEpoch
  })
}

/** The issue says that throughput is to grow as the cores allow: on few cores it is at least not to fall. */
const twoWorkers = tailgates.map((contender): FigureGoal => ({
  load: 'four guests, two worker processes', quantity: 'throughput, to that of one', contender,
  goal: 1, atLeast: true, text: twoDecimals,
  reached: ({ footprint }) => footprint.map(({ workers }) => {
    const figure = workers.find((one) => one.contender === contender && one.load === 'get, 50 connections')
    return figure === undefined ? undefined : workersRatio(figure)
  })
}))

/** Rare checkpoints with the input replicated, to frequent ones without. */
const lessDelay: FigureGoal = {
  load: `a checkpoint every ${comparedPeriods.epochMs} ms`, contender: goalContenders.epoch,
  quantity: `median delay, less than with one every ${comparedPeriods.checkpointMs} ms in checkpoint mode`,
  goal: 95, atLeast: true, text: percentText, reached: ({ latency }) => latency.map(delaySaved)
}

const { connections, tailBytes, afterDetectionMs } = failoverGoal
const guests: Readonly<Record<GuestName, string>> = {
  embedded: 'embedded guest', qemu: 'virtual machine, emulated'
}

const orders = [undefined, 'arrival'] as const

const failovers = orders.flatMap((order) => Object.entries(guests).map(([guest, contender]): FigureGoal => ({
  load: `failover, ${connections} connections, tail of ${sizeText(tailBytes)}`
    + (order === undefined ? '' : `, with \`replay.order: ${order}\``),
  quantity: 'from the detection until clients are served', contender,
  goal: afterDetectionMs, atLeast: false, text: msText,
  reached: ({ failover }) => failover.map((run) => {
    const figure = run.failovers.find((one) => one.guest === guest
      && one.order === (order ?? 'output') && isGoalPoint(one))
    if (figure === undefined) return undefined
    return spreadOf(figure.rounds, (round) => round.afterDetectionMs).median
  })
})))

const whole = (value: number): string => String(Math.round(value))
const noMore = { atLeast: false, text: twoDecimals } as const

/** All other goals. */
export const figureGoals: readonly FigureGoal[] = [
  ...halfLoad('longest pause of the garbage collector', ({ gcLongestMs }) => gcLongestMs),
  ...halfLoad('p99.9', ({ latency }) => latency.p999.median),
  ...idle('memory of each, bytes', { goal: 8192, atLeast: false, text: whole }, bytesPerConnection),
  ...idle('open at once', { goal: 50_000, atLeast: true, text: whole }, ({ connections }) => connections),
  ...idle('p50 of an active one, to that without them', { goal: flat, ...noMore },
    ({ p50Ms, p50AloneMs }) => p50Ms / p50AloneMs),
  ...idle('p99 of an active one, to that without them', { goal: flat, ...noMore },
    ({ p99Ms, p99AloneMs }) => p99Ms / p99AloneMs),
  ...onTheLink,
  growing,
  ...twoWorkers,
  lessDelay,
  ...failovers
]

/** The goal of one contender in one workload, for a mark in a chart. */
export function goalOf(contender: string, load: string, quantity: Quantity): number | undefined {
  const columns = Object.entries(goalContenders) as [GoalColumn, string][]
  const column = columns.find(([, name]) => name === contender)?.[0]
  const goal = goals.find((one) => one.load === load && one.quantity === quantity)
  return column === undefined ? undefined : goal?.goals[column]
}

/** Judges what the table shows: two decimals. */
export function isMet(atLeast: boolean, goal: number, reached: number): boolean {
  const shown = Number(reached.toFixed(2))
  return atLeast ? shown >= goal : shown <= goal
}
