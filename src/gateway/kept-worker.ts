import { TailgateError } from '../base/errors.ts'
import type { GatewayConfig } from '../config/types.ts'
import type { WorkerState, WorkerStatus } from '../observe/status.ts'
import { WorkerProcess } from './worker-process.ts'
import type { QuestionOf, QuestionType, WorkerAnswers } from './worker-protocol.ts'

/** Reading the state and listening; beyond, a start has failed. Milliseconds. */
const openMs = 30_000
/** For what a worker knows at once; well below what operators and scrapers wait. Milliseconds. */
const answerMs = 2000
/** A failover ends by its own limits, unless it waits for an operator. Milliseconds. */
const failoverMs = 60 * 60_000
/** For a worker to close what is left after its drain; beyond, it is killed. Milliseconds. */
const closeMs = 5000

export interface KeptWorkerOptions {
  /** From 1. */
  readonly worker: number
  /** Its share of the gateway's configuration (worker-share.ts). */
  readonly config: GatewayConfig
  /**
   * It ended by itself, for the reason given. Returns how long to wait before it is started again, in
   * milliseconds, or undefined for never.
   */
  readonly died: (reason: string, pid: number | undefined) => number | undefined
  /** It serves again after a death. */
  readonly restarted: (pid: number) => void
}

/*
 *   open() ──► opening ──► serve() ──► serving ──died──► waiting ──back-off──► restarting
 *                                         ▲                 ▲─────────died─────────┤
 *                                         └────────────────────────────────────────┘
 *   serving ──stop()──► draining ──► ended, for good; any other one at once, and all at kill()
 */
type Phase = 'opening' | 'serving' | 'waiting' | 'restarting' | 'draining' | 'ended'

/** One worker of the gateway, whichever process runs as it: one that dies is followed by another. */
export class KeptWorker {
  readonly number: number
  /** The names of its guests. */
  readonly guests: readonly string[]
  readonly #options: KeptWorkerOptions
  #phase: Phase = 'opening'
  #process: WorkerProcess | undefined
  #retry: NodeJS.Timeout | undefined
  /** Why the process that runs now is about to be killed. */
  #fault: string | undefined
  #deaths = 0

  constructor(options: KeptWorkerOptions) {
    this.#options = options
    this.number = options.worker
    this.guests = options.config.guests.map(({ name }) => name)
  }

  get deaths(): number { return this.#deaths }

  /**
   * Starts its first process, which listens for its guests' clients. Rejects with what that says, E_WORKER if
   * it dies, E_TIMEOUT if it does not answer; a process that is left must be killed by the caller.
   */
  async open(): Promise<void> {
    this.#process = this.#newProcess()
    await this.#ask('open', openMs)
  }

  /** All others are open too: dials the agents. Rejects as {@link open} does. */
  async serve(): Promise<void> {
    await this.#ask('serve', answerMs)
    this.#phase = 'serving'
  }

  /**
   * Asks the process that serves. Rejects with what it says, E_TIMEOUT if it does not answer in time, and
   * E_WORKER if there is none now.
   */
  ask<T extends QuestionType>(question: QuestionOf<T>): Promise<WorkerAnswers[T]> {
    if (this.#process === undefined || !this.#answers) {
      const why = this.#phase === 'ended' ? 'has ended' : 'is being started again: ask again in a moment'
      const what = `worker ${this.number}, which serves ${this.guests.join(', ')}, ${why}`
      return Promise.reject(new TailgateError('E_WORKER', what, { context: { worker: this.number } }))
    }
    return this.#process.ask<T>(question, question.type === 'failover' ? failoverMs : answerMs)
  }

  /** Whether its process can be asked. */
  get #answers(): boolean {
    return this.#phase === 'serving' || this.#phase === 'draining'
  }

  /** `answered`: whether it has just answered. */
  status(answered: boolean): WorkerStatus {
    const mute: WorkerState = this.#answers ? 'silent' : this.#phase === 'ended' ? 'ended' : 'starting'
    return {
      worker: this.number, pid: this.#process?.pid ?? null, state: answered ? 'serving' : mute,
      deaths: this.#deaths, guests: this.guests
    }
  }

  /** Lets it drain and end; resolves when it is gone. A second call lets it end without draining. */
  async stop(): Promise<void> {
    const child = this.#process
    if (!this.#answers) this.kill()
    else this.#phase = 'draining'
    if (child === undefined) return
    const limitMs = this.#options.config.timeouts.drainMs + closeMs
    const limit = setTimeout(() => child.kill(), limitMs)
    // Its answer says no more than its end.
    child.ask<'stop'>({ type: 'stop' }, limitMs).catch(() => undefined)
    await child.gone
    clearTimeout(limit)
  }

  /** Ends it at once. */
  kill(): void {
    this.#phase = 'ended'
    clearTimeout(this.#retry)
    this.#process?.kill()
  }

  /** Resolves when its process is gone. */
  async gone(): Promise<void> {
    await this.#process?.gone
  }

  #newProcess(): WorkerProcess {
    const child = new WorkerProcess(this.number, (how) => this.#exited(child, how))
    return child
  }

  #exited(child: WorkerProcess, how: string): void {
    this.#process = undefined
    if (this.#phase === 'draining') this.#phase = 'ended'
    // The one that waits for the first start is told by its question.
    if (this.#phase === 'opening' || this.#phase === 'ended') return
    const reason = this.#fault ?? how
    this.#fault = undefined
    this.#phase = 'waiting'
    this.#deaths++
    const retryMs = this.#options.died(reason, child.pid)
    if (retryMs !== undefined) this.#retry = setTimeout(() => this.#restart(), retryMs)
  }

  #restart(): void {
    this.#phase = 'restarting'
    const child = this.#process = this.#newProcess()
    const began = this.#ask('open', openMs).then(() => this.#ask('serve', answerMs))
    began.then(() => {
      if (this.#phase !== 'restarting') return
      this.#phase = 'serving'
      this.#options.restarted(child.pid ?? 0)
    }, (error: unknown) => {
      if (!(error instanceof TailgateError)) throw error
      if (this.#process !== child) return
      // A start that fails is a death like any other, with a better reason.
      this.#fault = `${error.code}: ${error.message}`
      child.kill()
    })
  }

  #ask(type: 'open' | 'serve', limitMs: number): Promise<null> {
    const { config, worker } = this.#options
    const child = this.#process
    if (child === undefined) {
      return Promise.reject(new TailgateError('E_WORKER', `worker ${worker} has ended`))
    }
    return type === 'open'
      ? child.ask<'open'>({ type, config, worker }, limitMs)
      : child.ask<'serve'>({ type }, limitMs)
  }
}
