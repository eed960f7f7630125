import { parseArgs } from 'node:util'
import { connectionsMax } from '../contender.ts'
import { contenders, yardstick } from '../contenders.ts'
import { commonFlags, commonOptions, optionsIfValid, type CommonOptions } from '../options.ts'
import { runReporting } from '../reporting.ts'
import { startRedisServers, startServices, type Services } from '../services.ts'
import { say, Shortfalls } from '../shortfalls.ts'
import { workloads } from '../workloads.ts'
import { measureIdle } from './idle.ts'
import { linkLoads, linkMissing, measureLink } from './link.ts'
import {
  footprintOf, type FootprintReport, type IdleFigure, type LinkFigure, type WorkersFigure
} from './report.ts'
import { footprintTables } from './tables.ts'
import { measureWorkers, workersGuests, workersMissing } from './workers.ts'

const usage = `usage: npm run bench:footprint -- [OPTIONS]
  --quick          fewer connections, smaller loads, one round
  --json           one line of JSON instead of tables
  --rounds N       rounds of the active connection with and without idle ones (3; quick: 1)
  --seconds S      about how long each takes (1; quick: 0.4)
  --connections N  so many idle connections (2000, 8000 and 50000; quick: 500 and 2000), at most what the
                   limit of open files allows; may be repeated
  --only TEXT      only contenders whose name holds TEXT; may be repeated
  --part PART      idle: only memory and latency with idle connections; link: only bytes on the link;
                   workers: only four guests with one and two worker processes`

interface Options extends CommonOptions {
  readonly connections: readonly number[]
  readonly part: string | undefined
}

/** Undefined for a command line that is wrong. */
function options(): Options | undefined {
  return optionsIfValid(() => {
    const { values } = parseArgs({
      options: { ...commonFlags, connections: { type: 'string', multiple: true }, part: { type: 'string' } }
    })
    const { part, quick } = values
    if (![undefined, 'idle', 'link', 'workers'].includes(part)) throw new TypeError('part')
    const connections = values.connections?.map(Number) ?? (quick ? [500, 2000] : [2000, 8000, 50_000])
    if (!connections.every((count) => Number.isInteger(count) && count > 0)) {
      throw new TypeError('connections')
    }
    const usual = { full: { rounds: 3, seconds: 1 }, quick: { rounds: 1, seconds: 0.4 } }
    return { ...commonOptions(values, usual), connections, part }
  })
}

/** The rest is for the active connection, and for looking whether ports answer. */
const idleMax = connectionsMax() - 50
/** Each run is short, and what else the machine does shows in it. */
const pairsPerRound = 3
const idleNames = [yardstick, 'tailgate plain', 'tailgate epoch']

class Footprint {
  readonly #shortfalls = new Shortfalls()
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  async run(): Promise<FootprintReport> {
    const isWanted = (part: string): boolean => [undefined, part].includes(this.#options.part)
    const [idle, link] = isWanted('idle') || isWanted('link')
      ? await this.#withServices(async (services) => [
        isWanted('idle') ? await this.#idle(services) : [],
        isWanted('link') ? await this.#link(services) : []
      ] as const)
      : [[], []]
    const workers = isWanted('workers') ? await this.#workers() : []
    const { failures, missing } = this.#shortfalls
    return footprintOf({ failures, missing, connectionsMax: idleMax, idle, link, workers })
  }

  async #withServices<T>(measure: (services: Services) => Promise<T>): Promise<T> {
    const services = await startServices()
    try {
      return await measure(services)
    } finally {
      await services.stop()
    }
  }

  async #workers(): Promise<readonly WorkersFigure[]> {
    if (workersMissing !== undefined) {
      this.#shortfalls.leaveOut(`worker processes: ${workersMissing}`)
      return []
    }
    const figures: WorkersFigure[] = []
    const services = await startRedisServers(workersGuests)
    try {
      for (const mode of ['plain', 'epoch'] as const) {
        const name = `tailgate ${mode}`
        if (!this.#wanted(name, [name])) continue
        say(`${name}, ${workersGuests} guests, one worker process and two`)
        const { rounds, seconds } = this.#options
        await this.#attempt(`${name}, worker processes`, async () => {
          const options = { rounds: rounds * pairsPerRound, seconds }
          figures.push(...await measureWorkers(mode, services.ports, options))
        })
      }
    } finally {
      await services.stop()
    }
    return figures
  }

  async #idle({ ports }: Services): Promise<readonly IdleFigure[]> {
    const active = workloads.find(({ name }) => name === 'get, 1 connection')
    if (active === undefined || active.missing !== undefined) {
      this.#shortfalls.leaveOut(`idle connections: ${active?.missing ?? 'there is no such load'}`)
      return []
    }
    const counts = [...new Set(this.#options.connections.map((count) => Math.min(count, idleMax)))]
      .toSorted((a, b) => a - b)
    const figures: IdleFigure[] = []
    for (const contender of contenders().filter(({ name }) => this.#wanted(name, idleNames))) {
      if (contender.missing !== undefined) {
        this.#shortfalls.leaveOut(`${contender.name}: ${contender.missing}`)
        continue
      }
      say(`${contender.name} with ${counts.join(', ')} idle connections`)
      const { rounds, seconds } = this.#options
      await this.#attempt(`${contender.name}, idle connections`, async () => {
        figures.push(...await measureIdle(contender, ports.redis ?? 0, { counts, rounds, seconds, active }))
      })
    }
    return figures
  }

  async #link({ ports }: Services): Promise<readonly LinkFigure[]> {
    if (linkMissing !== undefined) {
      this.#shortfalls.leaveOut(`bytes on the link: ${linkMissing}`)
      return []
    }
    const figures: LinkFigure[] = []
    for (const mode of ['epoch', 'epoch disk'] as const) {
      const contender = contenders().find(({ name }) => name === `tailgate ${mode}`)
      if (contender === undefined || !this.#wanted(contender.name, [contender.name])) continue
      const reason = contender.missing
      if (reason !== undefined) {
        this.#shortfalls.leaveOut(`${contender.name}: ${reason}`)
        continue
      }
      say(`${contender.name}, bytes on the link`)
      const loads = linkLoads(this.#options.quick).filter(({ workload }) => workload.missing === undefined)
      await this.#attempt(`${contender.name}, bytes on the link`, async () => {
        figures.push(...await measureLink(mode, ports, loads))
      })
    }
    return figures
  }

  #wanted(name: string, usual: readonly string[]): boolean {
    const { only } = this.#options
    return usual.includes(name) && (only.length === 0 || only.some((text) => name.includes(text)))
  }

  async #attempt(what: string, measure: () => Promise<void>): Promise<void> {
    await measure().catch((error: unknown) => this.#shortfalls.fail(what, error))
  }
}

await runReporting(options(), {
  usage, measure: chosen => new Footprint(chosen).run(), tables: footprintTables
})
