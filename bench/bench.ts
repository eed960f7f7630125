import { messageOf } from '../src/base/errors.ts'
import { runsWith, type Contender, type Running } from './contender.ts'
import { cpuTimeNs, type Sample } from './figures.ts'
import { inputBytesMax, logRoom } from './log-room.ts'
import type { Options } from './options.ts'
import type { Services } from './services.ts'
import { say, Shortfalls } from './shortfalls.ts'
import type { Figure } from './tool-figures.ts'
import { serviceNames, type ServiceName, type Workload } from './workloads.ts'

interface Started {
  readonly contender: Contender
  readonly running: Running
}

/** Progress and complaints; the figures alone go to standard output. */
/**
 * After so long no further workload is begun: with the last runs and the stopping, a quick run takes less
 * than three minutes, a full one less than twenty, and all that RESULTS.md is made of less than an hour.
 */
const enoughMs = { quick: 150_000, goals: 600_000, full: 1_110_000 }
/** The first run, whose length is a guess. */
const firstLimitMs = 20_000

/** Everything that runs, and what has been found out. */
export class Bench {
  readonly samples: Sample[] = []
  /** Contenders and workloads that are left out, and why. */
  get missing(): readonly string[] { return this.#shortfalls.missing }
  /** Runs that failed and were done again. */
  readonly repeated: string[] = []
  /** What makes the figures void. */
  get failures(): readonly string[] { return this.#shortfalls.failures }
  readonly workloads: readonly Workload[]
  readonly #shortfalls = new Shortfalls()
  #started: Started[] = []
  #rounds = 0
  #options: Options
  #services: Services
  #end: number
  /** What each contender does of each workload in about the seconds that were asked for. */
  #amounts = new Map<string, number>()

  /** Of `workloads`, those run that `options` ask for and that can be run. */
  constructor(options: Options, services: Services, workloads: readonly Workload[]) {
    this.#options = options
    this.#services = services
    const extent = options.quick ? 'quick' : options.goals ? 'goals' : 'full'
    this.#end = performance.now() + enoughMs[extent]
    for (const reason of services.missing) this.#shortfalls.leaveOut(reason)
    this.workloads = workloads.filter(({ name, service, missing }) => {
      if (options.load.length > 0 && !options.load.some((text) => name.includes(text))) return false
      if (missing !== undefined) this.#shortfalls.leaveOut(`${name}: ${missing}`)
      return missing === undefined && services.ports[service] !== undefined
    })
  }

  /** Those that run, in the order of the table. */
  get contenders(): readonly Contender[] {
    return this.#started.map(({ contender }) => contender)
  }

  /** Rounds that were done as a whole. */
  get rounds(): number {
    return this.#rounds
  }

  async startAll(contenders: readonly Contender[]): Promise<void> {
    const ports = this.#servicesThere().map((name) => this.#services.ports[name] ?? 0)
    for (const contender of contenders) {
      const { name, missing } = contender
      if (missing !== undefined) {
        this.#shortfalls.leaveOut(`${name}: ${missing}`)
        continue
      }
      try {
        this.#started.push({ contender, running: await contender.start(ports) })
      } catch (error) {
        this.#shortfalls.fail(`${name} did not start`, error)
      }
    }
  }

  /** Warms everything up, and finds how much of each workload each contender does in the time asked for. */
  async calibrate(): Promise<void> {
    say('warming up')
    for (const workload of this.workloads) {
      for (const started of this.#runningWith(workload)) {
        await this.#twice(`${started.contender.name}, ${workload.name}, warming up`, async () => {
          const { amountAtFirst } = workload
          const work = { amount: amountAtFirst, seconds: this.#options.seconds, limitMs: firstLimitMs }
          this.#learn(started, workload, await workload.run(this.#portOf(started, workload), work))
        })
      }
    }
  }

  /** All rounds, or as many as there is time for. */
  async measure(): Promise<void> {
    const { rounds } = this.#options
    for (let round = 1; round <= rounds; round++) {
      say(`round ${round} of ${rounds}`)
      if (!await this.#round(round)) {
        say(`there was no time for more than ${this.#rounds} rounds`)
        if (round === 1) this.#shortfalls.fail('round 1', new Error('there was no time for all of it'))
        return
      }
      this.#rounds = round
    }
  }

  /** What was measured did what it was measured for. */
  async verify(): Promise<void> {
    for (const { contender, running } of this.#started) {
      await running.verify().catch((error: unknown) => this.#shortfalls.fail(contender.name, error))
    }
  }

  async stop(): Promise<void> {
    for (const { running } of this.#started) await running.stop()
    await this.#services.stop()
  }

  /** Whether there was time for it. What was measured of it counts in any case. */
  async #round(round: number): Promise<boolean> {
    for (const workload of shuffled(this.workloads)) {
      if (performance.now() > this.#end) return false
      for (const started of shuffled(this.#runningWith(workload))) {
        const what = `${started.contender.name}, ${workload.name}, round ${round}`
        await this.#twice(what, () => this.#run(started, workload, round))
      }
    }
    return true
  }

  async #run(started: Started, workload: Workload, round: number): Promise<void> {
    const { contender, running } = started
    const { seconds } = this.#options
    const amount = this.#amounts.get(keyOf(started, workload)) ?? workload.amountAtFirst
    const limitMs = 8000 + 5000 * seconds
    const before = cpuTimeNs(running.pid)
    const figure = await workload.run(this.#portOf(started, workload), { amount, seconds, limitMs })
    const used = cpuTimeNs(running.pid)
    const cpuNs = before === undefined || used === undefined ? undefined : (used - before) / figure.amount
    this.samples.push({ contender: contender.name, workload: workload.name, round, cpuNs, ...figure })
    this.#learn(started, workload, figure)
  }

  /** What it did in `seconds` this time, it does the next time. */
  #learn(started: Started, workload: Workload, { rate }: Figure): void {
    const { rounds, seconds } = this.#options
    const most = workload.fillsLog ? inputBytesMax(logRoom, rounds) : Infinity
    const least = workload.amountAtFirst / 4
    this.#amounts.set(keyOf(started, workload), Math.round(Math.min(most, Math.max(least, rate * seconds))))
  }

  /** Once more where it failed: a load generator that nobody schedules stands still now and then. */
  async #twice(what: string, attempt: () => Promise<void>): Promise<void> {
    try {
      await attempt()
      return
    } catch (error) {
      const text = `${what}: ${messageOf(error).trim()}`
      this.repeated.push(text)
      say(`AGAIN ${text}`)
    }
    await attempt().catch((error: unknown) => this.#shortfalls.fail(what, error))
  }

  #runningWith({ service }: Workload): readonly Started[] {
    return this.#started.filter(({ contender }) => runsWith(contender, service))
  }

  #portOf({ running }: Started, { service }: Workload): number {
    return running.ports[this.#servicesThere().indexOf(service)] ?? 0
  }

  #servicesThere(): ServiceName[] {
    return serviceNames.filter((name) => this.#services.ports[name] !== undefined)
  }
}

function keyOf({ contender }: Started, workload: Workload): string {
  return `${workload.name}\n${contender.name}`
}

function shuffled<T>(items: readonly T[]): T[] {
  const placed = items.map((item) => ({ item, at: Math.random() }))
  return placed.sort((a, b) => a.at - b.at).map(({ item }) => item)
}
