import { parseArgs } from 'node:util'
import { contenders, yardstick } from '../contenders.ts'
import { endProgramsAtExit } from '../program.ts'
import { startServices } from '../services.ts'
import { intervals, measureDelays } from './delay.ts'
import { FixedRate } from './fixed-rate.ts'
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

interface Options {
  readonly json: boolean
  readonly rounds: number
  readonly seconds: number
  readonly only: readonly string[]
  readonly part: string | undefined
}

/** Undefined for a command line that is wrong. */
function options(): Options | undefined {
  try {
    const { values } = parseArgs({
      options: {
        quick: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        rounds: { type: 'string' },
        seconds: { type: 'string' },
        only: { type: 'string', multiple: true, default: [] },
        part: { type: 'string' }
      }
    })
    const rounds = Number(values.rounds ?? (values.quick ? 1 : 5))
    const seconds = Number(values.seconds ?? (values.quick ? 1 : 8))
    const known = [undefined, 'load', 'delay'].includes(values.part)
    if (!(known && Number.isInteger(rounds) && rounds > 0 && seconds > 0)) return undefined
    return { json: values.json, rounds, seconds, only: values.only, part: values.part }
  } catch {
    return undefined
  }
}

/** Progress and complaints; the figures alone go to standard output. */
function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

class Latency {
  readonly #failures: string[] = []
  readonly #options: Options

  constructor(options: Options) {
    this.#options = options
  }

  async run(): Promise<LatencyReport> {
    const { part } = this.#options
    const loads = part === 'delay' ? [] : await this.#loads()
    const delays = part === 'load' ? [] : await this.#delays()
    return reportOf(this.#failures, loads, delays)
  }

  async #loads(): Promise<readonly LoadRun[]> {
    const { rounds, seconds, only } = this.#options
    const wanted = contenders().filter(({ name }) =>
      name === 'direct' || name === yardstick
        || (only.length === 0 ? usual.includes(name) : only.some((text) => name.includes(text))))
    const services = await startServices()
    try {
      const failed = (what: string, error: unknown): void => this.#failed(what, error)
      return await new FixedRate({ rounds, seconds, say, failed }).run(wanted, services.ports.redis ?? 0)
    } finally {
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
        this.#failed(`a checkpoint every ${intervalMs} ms`, error)
      }
    }
    return series
  }

  #failed(what: string, error: unknown): void {
    const text = `${what}: ${error instanceof Error ? error.message : String(error)}`
    this.#failures.push(text)
    say(`FAILED ${text}`)
  }
}

endProgramsAtExit()
const chosen = options()
if (chosen === undefined) {
  say(usage)
  process.exitCode = 2
} else {
  const report = await new Latency(chosen).run()
  const text = chosen.json
    ? `${JSON.stringify(report)}\n`
    : `\n${[...loadTable(report.loads), '', ...delayTable(report.delays)].join('\n')}\n`
  process.stdout.write(text)
  process.exitCode = report.failures.length === 0 ? 0 : 1
}
