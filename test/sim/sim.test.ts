import t from 'tap'
import { canaries } from './canaries/all.ts'
import { runSeed, type RunResult } from './run.ts'

/** Seeds that every `npm test` runs; the long runs are `npm run sim -- --minutes 30`. */
const seeds = 3000
/** Each planted fault must be caught within these. */
const canarySeeds = 1000

function again(result: RunResult, canary = ''): string {
  return `npm run sim -- --seed ${result.seed} --trace${canary}`
}

// Thousands of runs take longer than a test's usual limit, on a machine with other work.
t.setTimeout(300_000)

void t.test('the same seed gives the same run', t => {
  for (const seed of [3, 9, 20, 41]) {
    const [first, second] = [runSeed(seed, { trace: true }), runSeed(seed, { trace: true })]
    t.ok(first.trace.length > 100, 'there is something to compare')
    t.equal(first.trace.join('\n') === second.trace.join('\n'), true, `seed ${seed}`)
    t.equal(runSeed(seed).events, first.events, 'tracing changes nothing')
  }
  t.not(runSeed(1).events, runSeed(2).events)
  t.end()
})

void t.test('every planted fault is caught', t => {
  for (const canary of canaries) {
    let caught: RunResult | undefined
    for (let seed = 1; seed <= canarySeeds && caught === undefined; seed++) {
      const result = runSeed(seed, { canary })
      if (result.rule !== undefined && canary.rules.includes(result.rule)) caught = result
    }
    t.ok(caught, `${canary.name}: ${caught === undefined ? 'nobody noticed'
      : `seed ${caught.seed}: ${caught.failure ?? ''}`}`)
  }
  t.end()
})

void t.test('all rules hold', t => {
  const totals = new Map<string, number>()
  for (let seed = 1; seed <= seeds; seed++) {
    const result = runSeed(seed)
    if (result.failure !== undefined) t.fail(`seed ${seed}: ${result.failure}`, { again: again(result) })
    for (const [what, n] of result.counts) totals.set(what, (totals.get(what) ?? 0) + n)
  }
  // A simulator in which nothing happens would find nothing.
  for (const what of ['failovers', 'kept', 'replayed', 'diverged', 'torn', 'stale', 'fenced', 'jumps',
    'unreadable', 'live pieces', 'absorbed after another', 'standby lost', 'restored the standby',
    'end finished', 'taken over from one that does not know']) {
    t.ok((totals.get(what) ?? 0) > 10, `${what}: ${totals.get(what) ?? 0}`)
  }
  t.end()
})
