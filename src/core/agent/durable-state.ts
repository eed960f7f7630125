import type { Millis } from '../ids.ts'
import type { AgentPort, AgentState } from './port.ts'

/** What this agent keeps on disk of the guest. A change is seen only when it is there. */
export class DurableState {
  readonly #port: AgentPort
  #now: AgentState
  /** As it will be when everything ordered has been written. */
  #ordered: AgentState

  constructor(port: AgentPort, state: AgentState) {
    this.#port = port
    this.#now = this.#ordered = state
  }

  /** As it is on disk. */
  get now(): AgentState { return this.#now }

  /** Whether it is on disk so already, with nothing on its way there. */
  is(change: Partial<AgentState>): boolean {
    const keys = Object.keys(change) as (keyof AgentState)[]
    return this.#ordered === this.#now && keys.every(key => this.#now[key] === change[key])
  }

  /** Makes a change durable, then calls `done`. Changes take effect in the order of the calls. */
  change(change: Partial<AgentState>, done: (now: Millis) => void): void {
    const next = this.#ordered = { ...this.#ordered, ...change }
    this.#port.persist(next, now => {
      const before = this.#now.generation
      this.#now = next
      if (next.generation !== before) this.#port.report({ type: 'generation', generation: next.generation })
      done(now)
    })
  }
}
