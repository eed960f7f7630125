import { TailgateError } from '../base/errors.ts'
import { version } from '../base/version.ts'
import type { GatewayConfig } from '../config/types.ts'
import { exposition, mergedFamilies } from '../observe/exposition.ts'
import type { Health } from '../observe/http.ts'
import { createLogger, failureFields, type Logger } from '../observe/logger.ts'
import { MetricRegistry } from '../observe/metric-registry.ts'
import { supervisorMetrics, type SupervisorMetrics } from '../observe/metrics.ts'
import { statusFormat, type GatewayStatus } from '../observe/status.ts'
import { KeptWorker } from './kept-worker.ts'
import { OperatorDoors } from './operator-doors.ts'
import { noSuchGuest } from './served-guests.ts'
import { deathsMax, WorkerDeaths } from './worker-deaths.ts'
import type { QuestionType, WorkerAnswers } from './worker-protocol.ts'
import { workerShares } from './worker-share.ts'

/** Questions that every worker is asked, and that need nothing said beside them. */
type Survey = Extract<QuestionType, 'status' | 'metrics' | 'ready'>

/** One worker and what it said; undefined if it did not. */
interface Surveyed<T extends Survey> {
  readonly worker: KeptWorker
  readonly answer: WorkerAnswers[T] | undefined
}

/**
 * The process of a gateway with several workers: keeps them running and answers for all of them. No client's
 * byte passes it.
 *
 *     operators, scrapers ──► supervisor ──IPC──► worker 1 ══ clients, guests, agents
 *                                        └──IPC──► worker 2 ══ clients, guests, agents
 */
export class Supervisor {
  readonly #config: GatewayConfig
  readonly #logger: Logger
  readonly #registry = new MetricRegistry()
  readonly #metrics: SupervisorMetrics
  readonly #doors = new OperatorDoors()
  readonly #workers: readonly KeptWorker[]
  readonly #deaths = new WorkerDeaths()
  readonly #killAll = (): void => { for (const worker of this.#workers) worker.kill() }
  #stopping = false

  constructor(config: GatewayConfig) {
    this.#config = config
    this.#logger = createLogger({ name: config.name, part: 'gateway', level: config.logLevel, shared: true })
    this.#metrics = supervisorMetrics(this.#registry)
    this.#metrics.buildInfo.with({ version, node: process.versions.node, part: 'gateway' }).value = 1
    this.#workers = workerShares(config).map((share, index) => this.#newWorker(index + 1, share))
  }

  #newWorker(number: number, config: GatewayConfig): KeptWorker {
    const worker: KeptWorker = new KeptWorker({
      worker: number, config,
      died: (reason, pid) => this.#died(worker, reason, pid),
      restarted: pid => this.#logger.event('worker.restarted', { worker: number, workerPid: pid })
    })
    return worker
  }

  /** Rejects as runGateway does; the caller must close it then. */
  async start(): Promise<void> {
    const about = `${this.#config.name} (supervisor of ${this.#workers.length} workers)`
    this.#logger.event('process.started', { version, config: about, worker: null })
    process.on('exit', this.#killAll)
    await Promise.all(this.#workers.map(worker => worker.open()))
    await Promise.all(this.#workers.map(worker => worker.serve()))
    await this.#doors.open(this.#config, this.#logger, {
      scrapers: {
        registry: { expose: () => this.#expose() }, live: () => this.#live(), ready: () => this.#ready()
      },
      operators: {
        status: () => this.#status(),
        plan: guest => this.#workerOf(guest).ask<'plan'>({ type: 'plan', guest }),
        failover: request => this.#workerOf(request.guest).ask<'failover'>({ type: 'failover', ...request })
      }
    })
  }

  // ---- deaths

  #died(worker: KeptWorker, reason: string, pid: number | undefined): number | undefined {
    const retryMs = this.#deaths.add(worker.number, performance.now(), Math.random())
    this.#logger.event('worker.died', {
      worker: worker.number, workerPid: pid ?? null, reason, guests: worker.guests.join(', '),
      retryMs: retryMs === undefined ? null : Math.round(retryMs)
    })
    if (retryMs === undefined) this.#giveUp()
    return retryMs
  }

  /** Fail-stop: what dies again and again is not mended by starting it once more. */
  #giveUp(): never {
    const { deaths, withinMs } = deathsMax
    const what = `workers died more than ${deaths} times within ${withinMs / 1000} s: mend what worker.died `
      + 'above says, and start the gateway again'
    this.#logger.event('process.failed', failureFields(new TailgateError('E_WORKER', what)))
    this.#logger.flush()
    process.exit(1)
  }

  // ---- for operators and scrapers

  #workerOf(guest: string): KeptWorker {
    const worker = this.#workers.find(({ guests }) => guests.includes(guest))
    if (worker === undefined) throw noSuchGuest(guest, this.#config.guests.map(({ name }) => name))
    return worker
  }

  /** Asks all workers at the same time; one that does not answer in time is waited for no longer. */
  #survey<T extends Survey>(type: T): Promise<readonly Surveyed<T>[]> {
    return Promise.all(this.#workers.map(async (worker): Promise<Surveyed<T>> => {
      try {
        return { worker, answer: await worker.ask<Survey>({ type }) as WorkerAnswers[T] }
      } catch (error) {
        if (error instanceof TailgateError) return { worker, answer: undefined }
        throw error
      }
    }))
  }

  async #status(): Promise<GatewayStatus> {
    const surveyed = await this.#survey('status')
    const reports = surveyed.flatMap(({ answer }) => answer === undefined ? [] : [answer])
    const known = new Map(reports.flatMap(({ guests }) => guests.map(guest => [guest.guest, guest])))
    return {
      format: statusFormat, gateway: this.#config.name, version, pid: process.pid,
      uptimeMs: Math.round(process.uptime() * 1000), sockets: reports[0]?.sockets ?? 'unknown',
      workers: surveyed.map(({ worker, answer }) => worker.status(answer !== undefined)),
      guests: this.#config.guests.flatMap(({ name }) => known.get(name) ?? [])
    }
  }

  async #expose(): Promise<string> {
    const surveyed = await this.#survey('metrics')
    for (const { worker, answer } of surveyed) {
      const labels = { worker: String(worker.number) }
      this.#metrics.workerUp.with(labels).value = Number(answer !== undefined)
      this.#metrics.workerDeaths.with(labels).value = worker.deaths
    }
    this.#metrics.logLinesDropped.with({}).value = this.#logger.droppedLines
    return exposition(mergedFamilies([
      { worker: 'supervisor', families: this.#registry.snapshot() },
      ...surveyed.map(({ worker, answer }) => ({ worker: String(worker.number), families: answer ?? [] }))
    ]))
  }

  /** A worker that is being started again is being mended; one that is silent may never speak again. */
  async #live(): Promise<Health> {
    const silent = (await this.#survey('ready'))
      .find(({ worker, answer }) => worker.status(answer !== undefined).state === 'silent')
    if (silent === undefined) return { ok: true, text: 'live' }
    return { ok: false, text: `worker ${silent.worker.number} does not answer` }
  }

  async #ready(): Promise<Health> {
    for (const { worker, answer } of await this.#survey('ready')) {
      if (answer === undefined) {
        return { ok: false, text: `worker ${worker.number} does not serve its guests` }
      }
      if (!answer.ok) return answer
    }
    return { ok: true, text: 'ready' }
  }

  // ---- the end

  /** As RunningGateway says. */
  async stop(): Promise<void> {
    const stopped = Promise.all(this.#workers.map(worker => worker.stop()))
    if (this.#stopping) return
    this.#stopping = true
    await stopped
    await this.close()
  }

  /** Ends everything at once. */
  async close(): Promise<void> {
    await this.#doors.close()
    this.#killAll()
    await Promise.all(this.#workers.map(worker => worker.gone()))
    process.off('exit', this.#killAll)
    this.#logger.flush()
  }
}
