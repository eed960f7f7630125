import { Bench } from './bench.ts'
import { chosenContenders, contenders, yardstick } from './contenders.ts'
import { bestVariant, summarize } from './figures.ts'
import { parseOptions, usage, type Options } from './options.ts'
import { endProgramsAtExit, pinned } from './program.ts'
import { goals } from './results/goals.ts'
import { startServices } from './services.ts'
import { say } from './shortfalls.ts'
import { ratioTable } from './tables.ts'
import { workloads } from './workloads.ts'

function report(bench: Bench, reference: string, options: Options): void {
  const { samples, rounds, missing, repeated, failures } = bench
  // HAProxy's buffers are tuned for bulk, so that is what bulk is compared with.
  const summaries = summarize(samples, (name) => {
    const bulk = bench.workloads.some((workload) => workload.name === name && workload.unit === 'bytes')
    return bulk ? bestVariant(samples, name, reference) : reference
  })
  if (options.json) {
    const { quick, seconds } = options
    const loads = bench.workloads.map(({ name, unit }) => ({ name, unit }))
    const all = {
      yardstick: reference, quick, rounds, seconds, pinned,
      contenders: bench.contenders.map(({ name }) => name), workloads: loads,
      missing, repeated, failures, summaries
    }
    process.stdout.write(`${JSON.stringify(all)}\n`)
    return
  }
  const lines = [
    '', `Ratios to ${reference}: rate (more is better), p50, p99, CPU per request or byte (less is better);`,
    `then the rate, p50 and p99 themselves. Medians of ${rounds} interleaved rounds`
      + `${pinned ? ', contenders on a processor of their own' : ''}.`, '',
    ...ratioTable(summaries, bench.workloads, bench.contenders, reference),
    ...toldTwice('Left out', missing), ...toldTwice('Done again', repeated), ...toldTwice('FAILED', failures)
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}

/** What was said while it ran is easily missed. */
function toldTwice(what: string, texts: readonly string[]): string[] {
  return texts.map((text) => `${what}: ${text.split('\n', 1)[0] ?? ''}`)
}

async function run(options: Options): Promise<boolean> {
  const wanted = workloads.filter(({ name }) => !options.goals || goals.some(({ load }) => load === name))
  const bench = new Bench(options, await startServices(), wanted)
  try {
    await bench.startAll(chosenContenders(contenders(), options))
    const names = bench.contenders.map(({ name }) => name)
    const reference = names.includes(yardstick) ? yardstick : 'direct'
    if (!names.includes(reference)) throw new Error('there is nothing to compare with')
    if (bench.workloads.length === 0) throw new Error('there is no workload to run')
    await bench.calibrate()
    await bench.measure()
    await bench.verify()
    report(bench, reference, options)
  } finally {
    await bench.stop()
  }
  return bench.failures.length === 0
}

endProgramsAtExit()
const options = parseOptions(process.argv.slice(2))
if (options === undefined) {
  say(usage)
  process.exitCode = 2
} else {
  process.exitCode = await run(options) ? 0 : 1
}
