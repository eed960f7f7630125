import { parseArgs } from 'node:util'
import type { Contender, Running } from './contender.ts'
import { contenders, yardstick } from './contenders.ts'
import { cpuTimeNs, ratioTable, summarize, yardstickTable, type Sample } from './figures.ts'
import { endProgramsAtExit, pinned } from './program.ts'
import { startServices, workloads, type Workload } from './workloads.ts'

const usage = `usage: npm run bench -- [OPTIONS]
  --quick      three short rounds, under three minutes
  --json       one line of JSON instead of tables
  --rounds N   rounds (5; quick: 3), each with every contender in every workload, in shuffled order
  --seconds S  about how long HAProxy takes for one run (2; quick: 0.4)
  --only TEXT  only contenders whose name holds TEXT, beside direct and haproxy; may be repeated
  --load TEXT  only workloads whose name holds TEXT; may be repeated`

interface Options {
  readonly json: boolean
  readonly rounds: number
  readonly seconds: number
  readonly only: readonly string[]
  readonly load: readonly string[]
}

/** Undefined for a command line that is wrong. */
function options(): Options | undefined {
  try {
    return parsedOptions()
  } catch {
    return undefined
  }
}

function parsedOptions(): Options {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      only: { type: 'string', multiple: true, default: [] },
      load: { type: 'string', multiple: true, default: [] }
    }
  })
  const rounds = Number(values.rounds ?? (values.quick ? 3 : 5))
  const seconds = Number(values.seconds ?? (values.quick ? 0.4 : 2))
  if (!(Number.isInteger(rounds) && rounds > 0 && seconds > 0)) throw new TypeError('rounds or seconds')
  return { json: values.json, rounds, seconds, only: values.only, load: values.load }
}

interface Started {
  readonly contender: Contender
  readonly running: Running
}

/** Everything that runs, and what has been found out. */
class Bench {
  readonly samples: Sample[] = []
  readonly failures: string[] = []
  readonly started: Started[] = []
  #options: Options
  #services: Awaited<ReturnType<typeof startServices>>
  #amounts = new Map<string, number>()

  constructor(options: Options, services: Awaited<ReturnType<typeof startServices>>) {
    this.#options = options
    this.#services = services
  }

  get workloads(): readonly Workload[] {
    const { load } = this.#options
    return workloads.filter(({ name }) => load.length === 0 || load.some((text) => name.includes(text)))
  }

  async startAll(): Promise<void> {
    const { only } = this.#options
    const { redis, bulk } = this.#services.ports
    for (const contender of contenders()) {
      const { name, missing } = contender
      const always = name === 'direct' || name === yardstick
      if (!always && only.length > 0 && !only.some((text) => name.includes(text))) continue
      if (missing !== undefined) {
        say(`SKIPPED ${name}: ${missing}`)
        continue
      }
      try {
        this.started.push({ contender, running: await contender.start([redis, bulk]) })
      } catch (error) {
        this.#failed(`${name} did not start`, error)
      }
    }
  }

  /**
   * Finds how much each workload does in the time asked for, with the yardstick; that much everybody does.
   */
  async calibrate(reference: string): Promise<void> {
    const first = this.started.find(({ contender }) => contender.name === reference)
    if (first === undefined) throw new Error(`${reference} is not there to compare with`)
    for (const workload of this.workloads) {
      const { rate } = await workload.run(portOf(first, workload), workload.amountAtFirst)
      const least = workload.amountAtFirst / 4
      this.#amounts.set(workload.name, Math.round(Math.max(least, rate * this.#options.seconds)))
    }
  }

  async round(round: number): Promise<void> {
    for (const workload of shuffled(this.workloads)) {
      for (const started of shuffled(this.started)) await this.#run(started, workload, round)
    }
  }

  async verify(): Promise<void> {
    for (const { contender, running } of this.started) {
      await running.verify().catch((error: unknown) => this.#failed(contender.name, error))
    }
  }

  async stop(): Promise<void> {
    for (const { running } of this.started) await running.stop()
    await this.#services.stop()
  }

  async #run(started: Started, workload: Workload, round: number): Promise<void> {
    const { contender, running } = started
    const amount = this.#amounts.get(workload.name) ?? workload.amountAtFirst
    try {
      const before = cpuTimeNs(running.pid)
      const figure = await workload.run(portOf(started, workload), amount)
      const used = cpuTimeNs(running.pid)
      const cpuNs = before === undefined || used === undefined ? undefined : (used - before) / amount
      this.samples.push({ contender: contender.name, workload: workload.name, round, cpuNs, ...figure })
    } catch (error) {
      this.#failed(`${contender.name}, ${workload.name}`, error)
    }
  }

  #failed(what: string, error: unknown): void {
    const text = `${what}: ${error instanceof Error ? error.message : String(error)}`
    this.failures.push(text)
    say(`FAILED ${text}`)
  }
}

function portOf({ running }: Started, { service }: Workload): number {
  return running.ports[service === 'redis' ? 0 : 1] ?? 0
}

function shuffled<T>(items: readonly T[]): T[] {
  const placed = items.map((item) => ({ item, at: Math.random() }))
  return placed.sort((a, b) => a.at - b.at).map(({ item }) => item)
}

/** Progress and complaints; the figures alone go to standard output. */
function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

function report(bench: Bench, reference: string, { json, rounds, seconds }: Options): void {
  const summaries = summarize(bench.samples, reference)
  const { failures, workloads } = bench
  if (json) {
    const all = { yardstick: reference, rounds, seconds, pinned, failures, summaries }
    process.stdout.write(`${JSON.stringify(all)}\n`)
    return
  }
  const names = bench.started.map(({ contender }) => contender.name)
  const lines = [
    '', `Ratios to ${reference}: rate (more is better) · p50 (less) · CPU per request or byte (less).`,
    `Medians of ${rounds} interleaved rounds${pinned ? ', contenders on a processor of their own' : ''}.`, '',
    ...ratioTable(summaries, workloads, names), '',
    `${reference} itself:`, ...yardstickTable(summaries, workloads, reference), ''
  ]
  process.stdout.write(lines.join('\n'))
}

async function run(options: Options): Promise<boolean> {
  const bench = new Bench(options, await startServices())
  try {
    await bench.startAll()
    const names = bench.started.map(({ contender }) => contender.name)
    const reference = names.includes(yardstick) ? yardstick : 'direct'
    await bench.calibrate(reference)
    for (let round = 1; round <= options.rounds; round++) {
      say(`round ${round} of ${options.rounds}`)
      await bench.round(round)
    }
    await bench.verify()
    report(bench, reference, options)
  } finally {
    await bench.stop()
  }
  return bench.failures.length === 0
}

endProgramsAtExit()
const chosen = options()
if (chosen === undefined) {
  say(usage)
  process.exitCode = 2
} else {
  process.exitCode = await run(chosen) ? 0 : 1
}
