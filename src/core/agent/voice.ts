import type { HistoryId, Millis } from '../ids.ts'
import type { AgentMessage, CheckpointMessage, Envelope } from '../message.ts'
import type { DurableState } from './durable-state.ts'
import type { AgentPort, AgentState, LinkId } from './port.ts'

/** What the parts of one guest's agent share: its envelope, the gateway it obeys, and its durable state. */
export class AgentVoice {
  /** The link of the gateway that commands this guest: the one whose `assign` was taken last. */
  gateway: LinkId | undefined
  readonly #port: AgentPort
  readonly #guest: string
  readonly #state: DurableState

  constructor(port: AgentPort, guest: string, state: DurableState) {
    this.#port = port
    this.#guest = guest
    this.#state = state
  }

  /** The state as it is on disk: nothing is acted on before it is here. */
  get state(): AgentState { return this.#state.now }

  /** Tells the gateway that commands; nothing happens when it is not there. */
  toGateway(history: HistoryId, message: AgentMessage): void {
    if (this.gateway !== undefined) this.answer(this.gateway, history, message)
  }

  /** Tells whoever speaks on this link, whether it commands or not. */
  answer(link: LinkId, history: HistoryId, message: AgentMessage): void {
    this.#port.sendGateway(link, this.#envelope(history), message)
  }

  toPeer(link: LinkId, history: HistoryId, message: CheckpointMessage): void {
    this.#port.sendPeer(link, this.#envelope(history), message)
  }

  /**
   * Makes a change of the state durable, then calls `done`. Changes take effect in the order of the
   * calls.
   */
  persist(change: Partial<AgentState>, done: (now: Millis) => void): void {
    this.#state.change(change, done)
  }

  #envelope(history: HistoryId): Envelope {
    return { guest: this.#guest, generation: this.#state.now.generation, history }
  }
}
