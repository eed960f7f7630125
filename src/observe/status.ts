import type { ReleaseMode } from '../config/types.ts'
import type { FailoverPhase as CorePhase } from '../core/gateway/protection.ts'
import type { Durability, GuestCondition, Role } from '../core/message.ts'

/**
 * The JSON that `GET /status` answers and `tailgate status --json` prints. Fields are added at need and never
 * change their meaning within one {@link statusFormat}. A figure that is not known is `null`, never left out
 * or 0. Times end in `Ms` (milliseconds), sizes in `Bytes`. Text for people: src/observe/status-text.ts.
 */
export interface GatewayStatus {
  readonly format: typeof statusFormat
  readonly gateway: string
  readonly version: string
  readonly pid: number
  readonly uptimeMs: number
  /** The implementation of sockets in use, as `node`. */
  readonly sockets: string
  /** The processes that serve the guests; empty where the gateway's own process does. */
  readonly workers: readonly WorkerStatus[]
  /** Those of a worker that does not answer are missing here, and named there. */
  readonly guests: readonly GuestStatus[]
}

export const statusFormat = 1

/**
 * `serving`: it answers; `starting`: it has died and is being started again; `silent`: it runs, and did not
 * answer in time; `ended`: the gateway was asked to stop, and it has.
 */
export type WorkerState = 'serving' | 'starting' | 'silent' | 'ended'

export interface WorkerStatus {
  /** From 1. */
  readonly worker: number
  /** Null while there is no process. */
  readonly pid: number | null
  readonly state: WorkerState
  /** Times it ended by itself since the gateway started. */
  readonly deaths: number
  /** The names of its guests. */
  readonly guests: readonly string[]
}

/** What would happen if the primary died now (design, "Protection states"). */
export type ProtectionState = 'unprotected' | 'syncing' | 'protected' | 'failing-over' | 'lost'

/**
 * A guest's protection, why it is so and what a person should do. `reason` is a clause that can follow a
 * colon ("no backup is linked"); `todo` is a sentence, or '' where there is nothing to do but wait.
 */
export interface Protection {
  readonly state: ProtectionState
  readonly reason: string
  readonly todo: string
}

export interface GuestStatus {
  readonly guest: string
  readonly protection: Protection
  readonly generation: number
  /** The id of the history, or null while none has begun. */
  readonly history: string | null
  /** Where the guest runs, or null while it runs nowhere (failing over, lost). */
  readonly activeHost: string | null
  readonly hosts: readonly HostStatus[]
  readonly services: readonly ServiceStatus[]
  readonly connections: ConnectionCounts
  readonly durability: Durability
  readonly positions: PositionStatus
  readonly lag: LagStatus
  /** Output that waits for its commit or checkpoint, and the limit at which reading from the guest stops. */
  readonly heldBytes: number
  readonly heldBytesMax: number
  /** Epochs sent to the backup and not acknowledged. */
  readonly epochsInFlight: number
  /** The newest checkpoint that counts in this history. */
  readonly checkpoint: CheckpointStatus | null
  /** What a failover now would replay, as the backup last told. */
  readonly tail: TailStatus | null
  readonly lastFailover: FailoverStatus | null
  readonly divergence: DivergenceStatus
}

export interface HostStatus {
  readonly host: string
  /** Where its agent listens, `host:port`. */
  readonly address: string
  readonly role: Role
  readonly link: 'up' | 'down'
  /** Since its newest heartbeat came; null if none ever came. */
  readonly heartbeatAgeMs: number | null
  readonly condition: GuestCondition
}

export interface ServiceStatus {
  readonly service: string
  readonly listen: string
  readonly release: ReleaseMode
  readonly connections: number
}

/** The states a connection can be in, each connection in one of them. */
export const connectionStates = ['connecting', 'open', 'closing', 'replaying'] as const

/**
 * `connecting`: the guest has not taken it yet; `open`: both directions; `closing`: one direction has ended;
 * `replaying`: after a failover, not yet attached or its share of the tail not yet replayed.
 */
export type ConnectionState = (typeof connectionStates)[number]

export type ConnectionCounts = Readonly<Record<ConnectionState, number>>

export interface PositionStatus {
  /** Bytes of input read from clients. */
  readonly receivedBytes: number
  /** The newest event that has its place in the log. */
  readonly loggedLsn: number
  /** The newest event that the backup has acknowledged. */
  readonly committedLsn: number
  /** Bytes of output handed to clients. */
  readonly releasedBytes: number
}

/** How far the backup is behind: events, bytes of records, and the age of the oldest of them. */
export interface LagStatus {
  readonly lsn: number
  readonly bytes: number
  readonly ms: number
}

export interface CheckpointStatus {
  readonly id: number
  readonly mark: number
  /** Since its mark was taken. */
  readonly ageMs: number
  readonly bytes: number
  /** From the guest's stop to the moment it counted. */
  readonly durationMs: number | null
}

export interface TailStatus {
  readonly bytes: number
  readonly records: number
  readonly connections: number
}

/** The parts of a failover, in their order; a metric label and the rows of the demo's table. */
export const failoverPhases = [
  'detect', 'fence', 'drain', 'commit', 'persist', 'restore', 'open-network', 'attach', 'replay'
] as const satisfies readonly ('detect' | CorePhase)[]

/**
 * `detect`: from the last sign of life to the decision; `fence`: the command, or waiting for the lease;
 * `drain`: cut the path and empty the old sockets; `commit`: what was not committed yet; `persist`:
 * generation and host on disk; `restore`: promote until the guest stands ready; `open-network`; `attach`:
 * join the connections; `replay`: until clients are served again.
 */
export type FailoverPhase = (typeof failoverPhases)[number]

/** What began a failover: a closed list, because it is a metric label. */
export const failoverTriggers = ['automatic', 'operator'] as const

export type FailoverTrigger = (typeof failoverTriggers)[number]

export interface FailoverStatus {
  readonly trigger: FailoverTrigger
  /** A clause: `host-a missed 3 heartbeats`. */
  readonly reason: string
  readonly from: string
  readonly to: string
  /** The generation it led to. */
  readonly generation: number
  /** Since it ended. */
  readonly agoMs: number
  /** Phases that did not take place are null. */
  readonly phasesMs: Readonly<Record<FailoverPhase, number | null>>
  readonly totalMs: number
  readonly checkpoint: number
  readonly replayedBytes: number
  readonly replayedRecords: number
  readonly connectionsKept: number
  readonly connectionsReset: number
  /** How often input was replayed before output that it had come after. */
  readonly reordered: number
  /** Whether it was done with --accept-loss. */
  readonly acceptedLoss: boolean
}

export interface DivergenceStatus {
  /** Whether this guest has told clients things it no longer knows. Stays until a person starts it anew. */
  readonly diverged: boolean
  /** Connections whose regenerated output differed, since the gateway started. */
  readonly connections: number
  /** Regenerated output that could not be compared, since the gateway started. */
  readonly unverifiedBytes: number
}

/** What stands in the way of a failover. `loss` ones yield to --accept-loss, `wait` ones to time. */
export interface PlanBlocker {
  readonly kind: 'wait' | 'loss' | 'hard'
  /** A sentence: what it is and what to do. */
  readonly text: string
  /** For `wait`: how long at most. */
  readonly waitMs: number | null
}

/** One connection in a plan. */
export interface PlanConnection {
  readonly connection: number
  readonly service: string
  readonly client: string
  /** Input that would be replayed into it. */
  readonly inputBytes: number
  /** Output that is held back at this moment. */
  readonly heldBytes: number
}

/** How many connections one list of a plan names at most; the count beside it is whole. */
export const planConnectionsMax = 100

export interface PlanConnections {
  readonly count: number
  /** At most {@link planConnectionsMax}, the oldest first. */
  readonly first: readonly PlanConnection[]
}

/**
 * What `GET /plan` answers and `tailgate failover --plan --json` prints: a failover at this moment, not done.
 */
export interface FailoverPlan {
  readonly format: typeof statusFormat
  readonly guest: string
  readonly state: ProtectionState
  readonly generation: number
  readonly from: string | null
  readonly to: string | null
  /** The checkpoint that would be restored. */
  readonly checkpoint: CheckpointStatus | null
  readonly tail: TailStatus | null
  /** Connections the checkpoint knows, to be joined. */
  readonly attach: PlanConnections
  /** Connections opened after the mark, to be made anew and replayed from their first byte. */
  readonly anew: PlanConnections
  /** Connections that would be reset, such as all of them with --accept-loss. */
  readonly reset: PlanConnections
  /** From the decision to serving again; null where nothing is known to judge by. */
  readonly estimateMs: number | null
  readonly blockers: readonly PlanBlocker[]
}

/** What `POST /failover` answers once the guest serves again. */
export interface FailoverResult {
  readonly format: typeof statusFormat
  readonly guest: string
  readonly generation: number
  readonly failover: FailoverStatus
}
