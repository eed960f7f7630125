import type { Contender, Running } from '../contender.ts'
import { median } from '../figures.ts'
import { runClosed, runOpen } from './generator.ts'
import type { GcPauses, GcWatch } from './gc-watch.ts'
import { Histogram } from './histogram.ts'
import type { OpenReport } from './load.ts'
import { percents, type LoadRun, type Percentile, type Spread } from './report.ts'

/** Parts of a contender's capacity at which it is measured. */
export const fractions = [0.1, 0.5, 0.9] as const

const connections = 50
const capacityRuns = 3
/** Histograms hold tenths of a microsecond. */
const perMs = 1e4

export interface FixedRateOptions {
  readonly rounds: number
  readonly seconds: number
  readonly gc: GcWatch
  say(text: string): void
  failed(what: string, error: unknown): void
}

interface Started {
  readonly contender: Contender
  readonly running: Running
  /** What each closed run reached. */
  readonly reached: number[]
}

interface Outcome {
  readonly started: Started
  readonly fraction: number
  readonly rate: number
  readonly report: OpenReport
  readonly gc: GcPauses | undefined
}

/**
 * Latency at 10, 50 and 90 % of each contender's own capacity. They are all started once and measured in
 * rounds, in an order that is shuffled each time.
 */
export class FixedRate {
  readonly #options: FixedRateOptions
  readonly #started: Started[] = []
  readonly #outcomes: Outcome[] = []

  constructor(options: FixedRateOptions) {
    this.#options = options
  }

  /** `port` is the Redis behind all contenders. */
  async run(contenders: readonly Contender[], port: number): Promise<readonly LoadRun[]> {
    try {
      for (const contender of contenders) await this.#start(contender, port)
      await this.#findCapacities()
      for (let round = 1; round <= this.#options.rounds; round++) {
        this.#options.say(`latency at fixed rates, round ${round} of ${this.#options.rounds}`)
        await this.#round()
      }
      for (const { contender, running } of this.#started) {
        await running.verify().catch((error: unknown) => this.#options.failed(contender.name, error))
      }
    } finally {
      for (const { running } of this.#started) await running.stop()
    }
    return this.#started.flatMap((started) =>
      fractions.flatMap((fraction) => this.#summary(started, fraction)))
  }

  async #start(contender: Contender, port: number): Promise<void> {
    if (contender.missing !== undefined) {
      this.#options.say(`SKIPPED ${contender.name}: ${contender.missing}`)
      return
    }
    try {
      this.#started.push({ contender, running: await contender.start([port]), reached: [] })
    } catch (error) {
      this.#options.failed(`${contender.name} did not start`, error)
    }
  }

  async #findCapacities(): Promise<void> {
    const seconds = Math.min(2, this.#options.seconds)
    for (let run = 0; run < capacityRuns; run++) {
      for (const { contender, running, reached } of shuffled(this.#started)) {
        const order = { port: running.ports[0] ?? 0, connections, seconds, warmupSeconds: seconds / 4 }
        try {
          reached.push((await runClosed(order)).rate)
        } catch (error) {
          this.#options.failed(`${contender.name}, capacity`, error)
        }
      }
    }
  }

  async #round(): Promise<void> {
    for (const fraction of shuffled(fractions)) {
      for (const started of shuffled(this.#started)) await this.#measure(started, fraction)
    }
  }

  async #measure(started: Started, fraction: number): Promise<void> {
    const { contender, running, reached } = started
    const rate = fraction * median(reached)
    if (!(rate > 0)) return
    const { seconds, gc } = this.#options
    const port = running.ports[0] ?? 0
    const order = { port, connections, seconds, warmupSeconds: seconds / 4, rate, points: false }
    try {
      await gc.take(running.pid)
      const report = await runOpen(order)
      this.#outcomes.push({ started, fraction, rate, report, gc: await gc.take(running.pid) })
    } catch (error) {
      this.#options.failed(`${contender.name} at ${fraction * 100} %`, error)
    }
  }

  #summary(started: Started, fraction: number): LoadRun[] {
    const mine = this.#outcomes.filter((outcome) =>
      outcome.started === started && outcome.fraction === fraction)
    const [first] = mine
    if (first === undefined) return []
    const pauses = mine.flatMap(({ gc }) => gc === undefined ? [] : [gc.longestMs])
    return [{
      contender: started.contender.name, capacity: Math.round(median(started.reached)),
      fraction, rate: Math.round(first.rate), connections, ...summaryOf(mine.map(({ report }) => report)),
      ...pauses.length === 0 ? {} : { gcLongestMs: Math.max(...pauses) }
    }]
  }
}

type Summary = Omit<LoadRun, 'contender' | 'capacity' | 'fraction' | 'rate' | 'connections' | 'gcLongestMs'>

/** Several rounds as one. */
export function summaryOf(reports: readonly OpenReport[]): Summary {
  const histograms = reports.map(({ histogram, max }) => Histogram.fromPairs(histogram, max))
  const all = new Histogram()
  for (const histogram of histograms) all.add(histogram)
  const spread = (name: Percentile): Spread =>
    spreadOf(histograms.map((histogram) => histogram.percentile(percents[name]) / perMs))
  return {
    rounds: reports.length, requests: all.count,
    latency: {
      p50: spread('p50'), p90: spread('p90'), p99: spread('p99'), p999: spread('p999'), max: spread('max')
    },
    histogram: all.pairs(), histogramMax: all.max,
    lateP50: median(reports.map(({ lateP50 }) => lateP50 / perMs)),
    lateP99: median(reports.map(({ lateP99 }) => lateP99 / perMs))
  }
}

function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) }
}

function shuffled<T>(items: readonly T[]): T[] {
  const placed = items.map((item) => ({ item, at: Math.random() }))
  return placed.sort((a, b) => a.at - b.at).map(({ item }) => item)
}
