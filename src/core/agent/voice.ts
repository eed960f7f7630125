import type { HistoryId, Millis } from '../ids.ts'
import type { AgentMessage, CheckpointMessage } from '../message.ts'
import type { AgentState, LinkId } from './port.ts'

/** What the parts of one guest's agent share: its envelope, the gateway it obeys, and its durable state. */
export interface AgentVoice {
  /** The state as it is on disk: nothing is acted on before it is here. */
  state(): AgentState
  /** Whether the gateway that commands this guest is connected. */
  hasGateway(): boolean
  /** Tells that gateway; nothing happens when it is not there. */
  toGateway(history: HistoryId, message: AgentMessage): void
  toPeer(link: LinkId, history: HistoryId, message: CheckpointMessage): void
  /**
   * Makes a change of the state durable, then calls `done`. Changes take effect in the order of the
   * calls.
   */
  persist(change: Partial<AgentState>, done: (now: Millis) => void): void
}
