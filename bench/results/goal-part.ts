import { median } from '../figures.ts'
import { figureGoals, goalContenders, goals, isMet, type FigureGoal, type GoalColumn } from './goals.ts'
import { mediansByRun, pooled, type Measured } from './input.ts'
import { quantityTexts, table } from './markdown-table.ts'

const columns = Object.keys(goalContenders) as GoalColumn[]

/** Every goal with what each run reached, and whether the median of the runs meets it. */
export function goalPart(measured: Measured): string[] {
  const { bench, footprint, latency, failover } = measured
  const runs = Math.max(...[bench, footprint, latency, failover].map(({ length }) => length))
  const head = [
    'load', 'quantity', 'contender', 'goal', ...Array.from({ length: runs }, (_, run) => `run ${run + 1}`),
    'median', ''
  ]
  const rows = [...ratioGoals(), ...figureGoals].map((goal) => goalRow(goal, measured, runs))
  return [
    '## Goals, and what was reached', '',
    'Rates, times and CPU are ratios to HAProxy in the same round, the medians of each run\'s rounds. '
      + 'For bulk, HAProxy has the buffers that are best for it. `tailgate plain` replicates nothing, '
      + '`tailgate epoch` holds responses until the backup has their input in memory, `tailgate epoch disk` '
      + "until it is on the backup's disk. That latency is to stay flat has no number; 1.10 is taken.", '',
    ...table(head, rows)
  ]
}

/** The goals that are ratios to HAProxy, one by one. */
function ratioGoals(): FigureGoal[] {
  return goals.flatMap(({ load, quantity, goals: values }) => columns.flatMap((column) => {
    const goal = values[column]
    if (goal === undefined) return []
    const contender = goalContenders[column]
    return [{
      load, quantity: quantityTexts[quantity], contender, goal, atLeast: quantity === 'rate',
      text: (value: number) => value.toFixed(2),
      reached: (measured: Measured) => mediansByRun(measured, load, contender, quantity)
    }]
  }))
}

function goalRow(goal: FigureGoal, measured: Measured, runs: number): string[] {
  const reached = goal.reached(measured)
  const known = reached.filter((value) => value !== undefined)
  const cells = Array.from({ length: runs }, (_, run) => {
    const value = reached[run]
    return value === undefined ? '' : goal.text(value)
  })
  const start = [
    goal.load, goal.quantity, goal.contender, `${goal.atLeast ? '≥' : '≤'} ${goal.text(goal.goal)}`, ...cells
  ]
  if (known.length === 0) return [...start, '', 'not measured']
  const middle = median(known)
  const met = isMet(goal.atLeast, goal.goal, middle)
  return [...start, `**${goal.text(middle)}**`, met ? 'met' : '**not met**']
}

/** Only several runs can agree. */
export function agreementPart(measured: Measured): string[] {
  if (measured.bench.length < 2) return []
  const rows = goals.flatMap(({ load, quantity, goals: values }) => columns.flatMap((column) => {
    if (values[column] === undefined) return []
    const reached = pooled(measured, load, goalContenders[column], quantity)
    if (reached === undefined) return []
    const spread = `${reached.min.toFixed(2)} to ${reached.max.toFixed(2)}`
    return [[load, quantityTexts[quantity], goalContenders[column], spread, reached.agree ? 'yes' : '**no**']]
  }))
  return [
    '## Do the runs agree?', '',
    'The least and the largest ratio of all rounds, and whether the spreads of the runs overlap.', '',
    ...table(['load', 'quantity', 'contender', 'rounds', 'agree'], rows)
  ]
}
