import { invariant } from '../../base/invariant.ts'
import type { Millis } from '../ids.ts'
import type { GuestCondition } from '../message.ts'
import type { AgentPort } from './port.ts'

/** The place for the one guest on this host: what is in it, and which answer of the engine still matters. */
export class GuestSlot {
  readonly #port: AgentPort
  readonly #changed: (now: Millis) => void
  #condition: GuestCondition
  #endpoints: readonly string[]
  #reason = ''
  #starting = false
  #stopping: ((now: Millis) => void)[] | undefined
  /** Counts starts, restores and stops: an answer to an older one is not heard. */
  #order = 0

  /** `changed` is called whenever the condition has. */
  constructor(
    port: AgentPort, condition: GuestCondition, endpoints: readonly string[], changed: (now: Millis) => void
  ) {
    this.#port = port
    this.#condition = condition
    this.#endpoints = endpoints
    this.#changed = changed
  }

  get condition(): GuestCondition { return this.#condition }
  get endpoints(): readonly string[] { return this.#endpoints }
  /** Why it failed or could not be started. */
  get reason(): string { return this.#reason }
  get starting(): boolean { return this.#starting }
  /** Nothing is there, and nothing is about to be. */
  get empty(): boolean {
    return this.#condition === 'absent' && !this.#starting && this.#stopping === undefined
  }

  start(): void {
    invariant(this.empty, 'only an absent guest is started')
    const order = ++this.#order
    this.#starting = true
    this.#reason = ''
    this.#port.startGuest((now, outcome) => {
      if (order !== this.#order) return
      this.#starting = false
      if (outcome.ok) return this.run(now, outcome.endpoints)
      this.#reason = outcome.reason
      this.#port.report({ type: 'guest-failed', reason: outcome.reason })
      this.#changed(now)
    })
  }

  /** A guest runs here: started, or restored and let go. */
  run(now: Millis, endpoints: readonly string[]): void {
    this.#condition = 'running'
    this.#endpoints = endpoints
    this.#reason = ''
    this.#port.report({ type: 'guest-running' })
    this.#changed(now)
  }

  /** Ends whatever is there or about to be there; `done` when it is gone. */
  stop(reason: string, done: (now: Millis) => void): void {
    if (this.#stopping !== undefined) {
      this.#stopping.push(done)
      return
    }
    const order = ++this.#order
    this.#starting = false
    this.#reason = reason
    const waiting = this.#stopping = [done]
    this.#port.stopGuest(now => {
      if (order !== this.#order) return
      this.#stopping = undefined
      this.#condition = 'absent'
      this.#endpoints = []
      this.#port.report({ type: 'guest-stopped', reason })
      this.#changed(now)
      for (const call of waiting) call(now)
    })
  }

  /** The engine says that the guest failed by itself. */
  failed(now: Millis, reason: string): void {
    if (this.#stopping !== undefined) return
    this.#order++
    this.#starting = false
    this.#condition = 'failed'
    this.#reason = reason
    this.#port.report({ type: 'guest-failed', reason })
    this.#changed(now)
  }
}
