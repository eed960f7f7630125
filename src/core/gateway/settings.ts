import type { HostName } from '../ids.ts'
import type { Durability } from '../message.ts'

/**
 * When a response may go to the client (design, "Release modes"):
 * `epoch` when every event logged before the gateway read it is committed; `checkpoint` when the guest's
 * state that made it is in a checkpoint that counts (Remus); `immediate` at once (the published LLM).
 */
export type ReleaseMode = 'epoch' | 'checkpoint' | 'immediate'

export interface ServiceSettings {
  readonly name: string
  readonly release: ReleaseMode
}

export interface HostSettings {
  readonly name: HostName
  /** Where its agent listens for links, `host:port`; told to the other agent. */
  readonly address: string
  /** Whether a fence command is configured for it. */
  readonly fence: boolean
}

/**
 * What an operator has set for one guest, with every default filled in. Times in milliseconds, sizes in
 * bytes.
 */
export interface GuestSettings {
  readonly name: string
  /** In the order of preference; empty for a guest that is only proxied. */
  readonly hosts: readonly HostSettings[]
  readonly services: readonly ServiceSettings[]
  readonly durability: Durability
  readonly checkpointMs: number
  readonly heartbeatMs: number
  /** Heartbeats of the primary that may be missing before it is taken for dead. */
  readonly misses: number
  /** 0: no lease; promotion then needs the fence command or an operator. */
  readonly leaseMs: number
  /** Whether to serve on without a backup, or to hold everything until it is back. */
  readonly onLinkLoss: 'continue' | 'stall'
  readonly onDivergence: 'reset' | 'reset-all' | 'stop'
  /** `output`: inputs that overlapped are replayed one at a time, in the order of their first output. */
  readonly replayOrder: 'output' | 'arrival'
  /** How long replay waits for one connection's output before it is taken for diverged. */
  readonly replayTimeoutMs: number
  /** How long each step of a failover that depends on the other side may take. */
  readonly stepTimeoutMs: number
  /** The backup's limits. */
  readonly logMemoryBytes: number
  readonly logBytes: number
  /** An epoch of this size leaves even while others are not acknowledged. */
  readonly epochBytes: number
  /** Log not acknowledged by the backup; above it no input is read. */
  readonly inFlightBytes: number
  /** Output held back, over all connections; above it no output is read. */
  readonly heldBytes: number
  /** Per connection and direction: bytes the other side has not taken; above it reading stops. */
  readonly connectionBytes: number
  readonly connections: number
  /**
   * Takes what the kernel has taken as acknowledged by the guest. Only where connections cannot be joined
   * again, so that the guest is never protected: a real floor needs the guest's own acknowledgements.
   */
  readonly floorsFromBacklog: boolean
  /**
   * The guest tells when it has taken a client's reset, and its guest-facing sides deliver all input before
   * it. Without this a reset side sends nothing more, and a mark that counts after the reset must do.
   */
  readonly resetsTold: boolean
}
