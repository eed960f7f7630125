import { parseArgs } from 'node:util'
import { runsWith } from '../contender.ts'
import { contenders, yardstick } from '../contenders.ts'
import { commonFlags, commonOptions, optionsIfValid, type CommonOptions } from '../options.ts'
import { runReporting } from '../reporting.ts'
import { startServices } from '../services.ts'
import { say, Shortfalls } from '../shortfalls.ts'
import { intervals, measureDelays } from './delay.ts'
import { FixedRate } from './fixed-rate.ts'
import { GcWatch } from './gc-watch.ts'
import { reportOf, type DelaySeries, type LatencyReport, type LoadRun } from './report.ts'
import { delayTable, loadTable } from './tables.ts'

const usage = `usage: node --import=tsx bench/latency/main.ts [OPTIONS]
  --quick      one short round
  --json       one line of JSON instead of tables
  --rounds N   rounds of each contender at each rate (5; quick: 1)
  --seconds S  how long one run lasts, without its warm-up (8; quick: 1)
  --only TEXT  only contenders whose name holds TEXT, beside direct and haproxy; may be repeated
  --part PART  load: only latency at fixed rates; delay: only response delay over a checkpoint period`

const usual = ['tailgate plain', 'tailgate epoch']

interface Options extends CommonOptions {
  readonly part: string | undefined
}

/** Undefined for a command line that is wrong. */
function options(): Options | undefined {
  return optionsIfValid(() => {
    const { values } = parseArgs({ options: { ...commonFlags, part: { type: 'string' } } })
    const { part } = values
    if (![undefined, 'load', 'delay'].includes(part)) throw new TypeError('part')
    const usual = { full: { rounds: 5, seconds: 8 }, quick: { rounds: 1, seconds: 1 } }
    return { ...commonOptions(values, usual), part }
  })
}

class Latency {
  readonly #shortfalls = new Shortfalls()
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  async run(): Promise<LatencyReport> {
    const { part } = this.#options
    const loads = part === 'delay' ? [] : await this.#loads()
    const delays = part === 'load' ? [] : await this.#delays()
    return reportOf(this.#shortfalls.failures, loads, delays)
  }

  async #loads(): Promise<readonly LoadRun[]> {
    const { rounds, seconds, only } = this.#options
    const wanted = contenders().filter((contender) => runsWith(contender, 'redis')).filter(({ name }) =>
      name === 'direct' || name === yardstick
        || (only.length === 0 ? usual.includes(name) : only.some((text) => name.includes(text))))
    const services = await startServices()
    const gc = await GcWatch.prepare()
    try {
      const failed = (what: string, error: unknown): void => this.#shortfalls.fail(what, error)
      return await new FixedRate({ rounds, seconds, gc, say, failed }).run(wanted, services.ports.redis ?? 0)
    } finally {
      await gc.end()
      await services.stop()
    }
  }

  async #delays(): Promise<readonly DelaySeries[]> {
    const series: DelaySeries[] = []
    for (const intervalMs of intervals) {
      say(`response delay, a checkpoint every ${intervalMs} ms`)
      try {
        series.push(...await measureDelays(intervalMs, this.#options.seconds))
      } catch (error) {
        this.#shortfalls.fail(`a checkpoint every ${intervalMs} ms`, error)
      }
    }
    return series
  }
}

await runReporting(options(), {
  usage, measure: chosen => new Latency(chosen).run(),
  tables: ({ loads, delays }) => [...loadTable(loads), '', ...delayTable(delays)]
})
