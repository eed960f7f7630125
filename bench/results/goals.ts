import type { Quantity } from '../figures.ts'

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
  pipeline('get, 50 x pipeline 16'),
  pipeline('set, 50 x pipeline 16'),
  { load: 'churn, 50 connections', quantity: 'rate', goals: { plain: 0.9, epoch: 0.85 } },
  { load: 'bulk up', quantity: 'rate', goals: { plain: 1.5, epoch: 1 } },
  { load: 'bulk down', quantity: 'rate', goals: { plain: 1.5, epoch: 1.5 } }
]

/** p99.9 at half of the capacity, in milliseconds: above are the pauses of a garbage collector. */
export const halfLoadP999Ms = 5

/** The goal of one contender in one workload, for a mark in a chart. */
export function goalOf(contender: string, load: string, quantity: Quantity): number | undefined {
  const columns = Object.entries(goalContenders) as [GoalColumn, string][]
  const column = columns.find(([, name]) => name === contender)?.[0]
  const goal = goals.find((one) => one.load === load && one.quantity === quantity)
  return column === undefined ? undefined : goal?.goals[column]
}

/** Judges what the table shows: two decimals. */
export function isMet(quantity: Quantity, goal: number, reached: number): boolean {
  const shown = Number(reached.toFixed(2))
  return quantity === 'rate' ? shown >= goal : shown <= goal
}
