import { performance } from 'node:perf_hooks'
import { canaries } from './canaries/all.ts'
import { runSeed } from './run.ts'

interface Options {
  from: number
  count: number
  minutes: number | undefined
  trace: boolean
  canary: string | undefined
  keepGoing: boolean
}

const usage = `npm run sim -- [--seed N [--trace]] [--seeds A..B] [--from N] [--count N] [--minutes M]
  [--canary NAME] [--keep-going]
Runs the simulator: one run for each seed, until one breaks a rule. The same seed gives the same run.
canaries: ${canaries.map(({ name }) => name).join(', ')}`

function parse(args: readonly string[]): Options | undefined {
  const options: Options = { from: 1, count: 1000, minutes: undefined, trace: false, canary: undefined,
    keepGoing: false }
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]
    if (arg === '--trace') { options.trace = true; continue }
    if (arg === '--keep-going') { options.keepGoing = true; continue }
    const value = args[++i]
    if (value === undefined) return undefined
    if (arg === '--seed') { options.from = Number(value); options.count = 1 }
    else if (arg === '--seeds') {
      const [from, to] = value.split('..').map(Number)
      options.from = from ?? 1
      options.count = (to ?? options.from) - options.from + 1
    } else if (arg === '--from') options.from = Number(value)
    else if (arg === '--count') options.count = Number(value)
    else if (arg === '--minutes') { options.minutes = Number(value); options.count = Infinity }
    else if (arg === '--canary') options.canary = value
    else return undefined
  }
  const numbers = [options.from, options.count, options.minutes ?? 0]
  return numbers.some(Number.isNaN) ? undefined : options
}

function sumUp(totals: Map<string, number>): string {
  return [...totals].sort(([a], [b]) => a < b ? -1 : 1).map(([what, n]) => `${what} ${n}`).join(', ')
}

function main(): number {
  const options = parse(process.argv.slice(2))
  const canary = canaries.find(({ name }) => name === options?.canary)
  if (options === undefined || (options.canary !== undefined && canary === undefined)) {
    console.error(usage)
    return 2
  }
  const totals = new Map<string, number>()
  const start = performance.now()
  const end = options.minutes === undefined ? Infinity : start + options.minutes * 60_000
  let seeds = 0
  let failures = 0
  let events = 0
  for (let seed = options.from; seeds < options.count && performance.now() < end; seed++) {
    const result = runSeed(seed, { canary, trace: options.trace })
    seeds++
    events += result.events
    for (const [what, n] of result.counts) totals.set(what, (totals.get(what) ?? 0) + n)
    for (const line of result.trace) console.log(line)
    const other = canary !== undefined && (result.rule === undefined || !canary.rules.includes(result.rule))
    if (result.failure !== undefined && !other) {
      console.log(`seed ${seed} FAILED: ${result.failure}`)
      const planted = canary === undefined ? '' : ` --canary ${canary.name}`
      console.log(`again: npm run sim -- --seed ${seed} --trace${planted}`)
      failures++
      if (!options.keepGoing) return 1
    }
  }
  const seconds = (performance.now() - start) / 1000
  const verdict = failures === 0 ? 'all rules held' : `${failures} FAILED`
  console.log(`seeds ${options.from}..${options.from + seeds - 1}: ${verdict}; ${seconds.toFixed(1)} s, `
    + `${(seconds * 1000 / seeds).toFixed(2)} ms and ${Math.round(events / seeds)} events each`)
  console.log(sumUp(totals))
  return failures === 0 ? 0 : 1
}

process.exitCode = main()
