import { parseArgs } from 'node:util'
import { connectionsMax } from '../contender.ts'
import { laboratoryMissing } from '../laboratory.ts'
import { optionsIfValid } from '../options.ts'
import { runReporting } from '../reporting.ts'
import { say, Shortfalls } from '../shortfalls.ts'
import { LoopbackSite } from './loopback-site.ts'
import { measureFailovers } from './measure.ts'
import {
  embeddedPoints, parsePoint, pointOf, possible, qemuPoints, quickPoints, roundsOf, type Wanted
} from './points.ts'
import {
  failoverReportOf, type CheckpointFigure, type FailoverFigure, type FailoverReport, type Point,
  type ReplayOrder
} from './report.ts'
import { failoverTables, pointText } from './tables.ts'
import { machineImage, measureInLab, type LabAnswer } from './virtual-machine.ts'

const usage = `usage: npm run bench:failover -- [OPTIONS]
  --quick        two small points with the embedded guest, one round
  --json         one line of JSON instead of tables
  --rounds N     failovers at each point (5; quick: 1); with tails of 100 MB and more two at most, of 1 GB one
  --part PART    embedded: only the embedded guest; qemu: only failovers of the virtual machine;
                 checkpoints: only its checkpoints. May be repeated
  --order ORDER  replay.order at every point: output or arrival
  --point POINT  CONNECTIONSxMEGABYTES of the tail, or that with xBYTES for the size of the values that
                 clients set (1024), in the place of the usual points; may be repeated`

const parts = ['embedded', 'qemu', 'checkpoints'] as const
type Part = (typeof parts)[number]

interface Options {
  readonly quick: boolean
  readonly json: boolean
  readonly rounds: number
  readonly parts: readonly Part[]
  readonly points: readonly Wanted[] | undefined
  readonly order: ReplayOrder | undefined
}

/** Undefined for a command line that is wrong. */
function options(): Options | undefined {
  return optionsIfValid(() => {
    const { values: { quick, json, rounds, part, point, order } } = parseArgs({
      options: {
        quick: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        rounds: { type: 'string' },
        order: { type: 'string' },
        part: { type: 'string', multiple: true },
        point: { type: 'string', multiple: true }
      }
    })
    const count = Number(rounds ?? (quick ? 1 : 5))
    if (!Number.isInteger(count) || count < 1) throw new TypeError('rounds')
    const named = part?.map((name) => {
      const found = parts.find((one) => one === name)
      if (found === undefined) throw new TypeError('part')
      return found
    })
    return {
      quick, json, rounds: count, parts: named ?? (quick ? ['embedded'] : parts),
      points: point?.map(parsePoint), order: orderOf(order)
    }
  })
}

function orderOf(text: string | undefined): ReplayOrder | undefined {
  if (text === undefined || text === 'output' || text === 'arrival') return text
  throw new TypeError('order')
}

class FailoverBench {
  readonly #shortfalls = new Shortfalls()
  readonly #options: Options
  readonly #failovers: FailoverFigure[] = []
  readonly #checkpoints: CheckpointFigure[] = []

  constructor(options: Options) {
    this.#options = options
  }

  async run(): Promise<FailoverReport> {
    const { parts: wanted } = this.#options
    if (wanted.includes('embedded')) await this.#embedded()
    if (wanted.includes('qemu') || wanted.includes('checkpoints')) await this.#virtualMachine()
    const { failures, missing } = this.#shortfalls
    return failoverReportOf({
      failures, missing, failovers: this.#failovers, checkpoints: this.#checkpoints
    })
  }

  async #embedded(): Promise<void> {
    const { quick, rounds } = this.#options
    for (const point of this.#points('embedded', quick ? quickPoints : embeddedPoints)) {
      const what = `embedded, ${pointText(point)}`
      say(what)
      await this.#embeddedAt(point, roundsOf(point, rounds))
        .catch((error: unknown) => this.#shortfalls.fail(what, error))
    }
  }

  async #embeddedAt(point: Point, rounds: number): Promise<void> {
    const site = await LoopbackSite.start(point)
    try {
      const found = await measureFailovers(site, point, rounds)
      this.#failovers.push({ guest: 'embedded', ...point, rounds: found })
    } finally {
      await site.stop()
    }
  }

  async #virtualMachine(): Promise<void> {
    const missing = laboratoryMissing()
    if (missing !== undefined) {
      this.#shortfalls.leaveOut(`failovers and checkpoints of a virtual machine: ${missing}`)
      return
    }
    const { parts: wanted, rounds } = this.#options
    const points = wanted.includes('qemu') ? this.#points('qemu', qemuPoints) : []
    const what = 'the virtual machine'
    try {
      const image = await machineImage()
      const order = { image, points, rounds, checkpoints: wanted.includes('checkpoints') }
      await measureInLab(order, (answer) => this.#answered(answer))
    } catch (error) {
      this.#shortfalls.fail(what, error)
    }
  }

  #answered(answer: LabAnswer): void {
    if ('failover' in answer) this.#failovers.push(answer.failover)
    else if ('checkpoints' in answer) this.#checkpoints.push(...answer.checkpoints)
    else this.#shortfalls.fail(answer.failed, new Error(answer.reason))
  }

  /** Those for which there is room; the others are told. */
  #points(guest: string, usual: readonly Wanted[]): readonly Point[] {
    const limits = { connectionsMax: connectionsMax(), memoryBytes: process.availableMemory() }
    const { points, missing } = possible(this.#options.points ?? usual, limits)
    for (const one of missing) this.#shortfalls.leaveOut(`${guest}, ${one}`)
    const { order } = this.#options
    return points.map((point) => pointOf(order === undefined ? point : { ...point, order }))
  }
}

await runReporting(options(), {
  usage, measure: chosen => new FailoverBench(chosen).run(), tables: failoverTables
})
