import type { CheckpointId, Generation, Hash, HistoryId, HostName, Lsn, Millis } from '../ids.ts'
import { noGateway } from '../ids.ts'
import type {
  AgentMessage, CheckpointMessage, Durability, Envelope, GatewayLife, GuestCondition, Role
} from '../message.ts'

/**
 * Names one established link for as long as the agent's process lives; a link that comes again has
 * another.
 */
export type LinkId = number

/**
 * What an agent keeps on disk of each guest. The gateway is the one that it obeys in its generation, by the
 * newest life it has heard of; `noGateway` for nobody yet.
 */
export interface AgentState extends GatewayLife {
  /** The highest generation it was told; 0 before the first. Whatever is older is refused. */
  readonly generation: Generation
  /** The last role it was given. Told to people only: after a restart a role comes from the gateway. */
  readonly role: Role
  /** The guest was once started here from nothing. */
  readonly started: boolean
  /** Checkpoint numbers below this may have been used. */
  readonly checkpoints: number
}

/** What a backup's log is opened with. */
export interface LogSettings {
  readonly durability: Durability
  readonly memoryBytes: number
  /** In memory and on disk together. */
  readonly totalBytes: number
}

/** What an opened log holds. */
export interface LogSnapshot {
  readonly history: HistoryId
  readonly lastLsn: Lsn
  /** The checkpoint it was pruned to. */
  readonly base: { readonly checkpoint: CheckpointId, readonly lsn: Lsn } | undefined
}

/** Figures of the log, for heartbeats. */
export interface LogFigures {
  readonly tailBytes: number
  readonly tailRecords: number
  readonly connections: number
  readonly memoryBytes: number
  readonly diskBytes: number
}

/** A whole checkpoint at the backup. */
export interface ImageInfo {
  readonly checkpoint: CheckpointId
  readonly mark: Lsn
  /** The history and generation in which the mark lies. */
  readonly history: HistoryId
  readonly generation: Generation
  readonly bytes: number
  /** CRC-32 over all of it. */
  readonly crc: number
}

/** An order could not be carried out, for a reason outside the program. */
export interface Failure {
  readonly ok: false
  readonly reason: string
}

export type Outcome = { readonly ok: true } | Failure
/** The guest is in place, and its services listen there. */
export type GuestOutcome = { readonly ok: true, readonly endpoints: readonly string[] } | Failure
export type OpenLogOutcome = { readonly ok: true, readonly log: LogSnapshot } | Failure
export type AppendOutcome = { readonly ok: true, readonly lsn: Lsn } | Failure

export interface TailPiece {
  readonly firstLsn: Lsn
  readonly records: Uint8Array
}

/** No piece: the tail has ended. */
export type TailOutcome = { readonly ok: true, readonly piece: TailPiece | undefined } | Failure

/** What is wanted of one checkpoint. */
export interface CheckpointRequest {
  /**
   * The image that the engine yielded last is whole at the backup that this one is for, so this one may build
   * on it. If not, it must stand alone.
   */
  readonly builds: boolean
  /** The interval at which checkpoints begin, in milliseconds. */
  readonly periodMs: number
}

/** What a checkpoint under way tells. Either `ended` or `failed` comes last, exactly once. */
export interface CheckpointEvents {
  /** The guest stands still, until {@link AgentPort.runOn} or {@link AgentPort.abortCheckpoint}. */
  standing(now: Millis): void
  /**
   * A piece of the image, at most 1 MiB; none between `standing` and runOn. Its bytes do not change any more.
   */
  piece(now: Millis, bytes: Uint8Array): void
  ended(now: Millis): void
  /** The guest runs on (or is gone), and nothing of the image follows. Also the answer to an abort. */
  failed(now: Millis, reason: string): void
}

export type AgentReportType =
  | 'role' | 'generation' | 'stale' | 'refused' | 'gateway-lost'
  | 'guest-running' | 'guest-stopped' | 'guest-failed'
  | 'checkpoint-begun' | 'checkpoint-mark' | 'checkpoint-stored' | 'checkpoint-failed'
  | 'image-begun' | 'image-refused' | 'image-lost' | 'counted' | 'log-begun' | 'log-gap' | 'log-failed'
  | 'promoting' | 'promoted' | 'promote-failed' | 'network-open' | 'tail-end' | 'replayed'

/** What happened, for logs, metrics and the checkers of the simulator. */
export interface AgentReport {
  readonly type: AgentReportType
  readonly checkpoint?: CheckpointId
  readonly lsn?: Lsn
  readonly bytes?: number
  readonly ms?: number
  readonly generation?: Generation
  readonly history?: HistoryId
  readonly role?: Role
  readonly reason?: string
}

/**
 * Everything an agent's core wants done for one guest. Nothing here answers at once, unless it says so:
 * `done` comes once, in a later turn. Orders to one part (engine, log, image store, state) are carried out
 * and answered in the order given; answers of different parts come in any order. `now` is the agent's
 * monotonic clock when the answer came.
 */
export interface AgentPort {
  readonly hash: Hash
  /** Sends to a gateway; nothing happens when the link is gone. */
  sendGateway(link: LinkId, envelope: Envelope, message: AgentMessage): void
  /** Ends a link to a gateway that does not keep to the protocol. */
  closeGateway(link: LinkId, reason: string): void
  /** Sends to another agent, over a link it opened or one that {@link connectPeer} made. */
  sendPeer(link: LinkId, envelope: Envelope, message: CheckpointMessage): void
  /**
   * Keeps a link to this agent, and to no other, until told otherwise: `peerUp` and `peerDown` tell of
   * it.
   */
  connectPeer(name: HostName, address: string): void
  disconnectPeer(): void
  /** Makes `state` durable; never calls back if that fails, but stops the process. */
  persist(state: AgentState, done: (now: Millis) => void): void

  /** Starts the guest from nothing. */
  startGuest(done: (now: Millis, outcome: GuestOutcome) => void): void
  /** Ends the guest, and whatever start or restore is under way: `done` when it is gone. */
  stopGuest(done: (now: Millis) => void): void
  beginCheckpoint(checkpoint: CheckpointId, request: CheckpointRequest, events: CheckpointEvents): void
  /** The guest that stands still may run on, and the image is wanted. */
  runOn(checkpoint: CheckpointId): void
  /** The guest runs on, and the image is not wanted; `failed` follows unless `ended` was under way. */
  abortCheckpoint(checkpoint: CheckpointId): void
  /** Puts a guest in place from a whole image, its network closed. */
  restoreGuest(checkpoint: CheckpointId, done: (now: Millis, outcome: GuestOutcome) => void): void
  openNetwork(done: (now: Millis, outcome: Outcome) => void): void
  attached(): void
  renewLease(remainingMs: number): void

  /**
   * Opens the log, again if it is open; what it cannot read is an outcome, and stays on disk until
   * `beginLog`.
   */
  openLog(settings: LogSettings, done: (now: Millis, outcome: OpenLogOutcome) => void): void
  /** Begins a history, and with it a log: also where opening one had failed. */
  beginLog(
    history: HistoryId, generation: Generation, firstLsn: Lsn, done: (now: Millis, outcome: Outcome) => void
  ): void
  append(
    firstLsn: Lsn, lastLsn: Lsn, records: readonly Uint8Array[],
    done: (now: Millis, outcome: AppendOutcome) => void
  ): void
  /** The lsn of a checkpoint's MARK record, if the log holds it. Answers at once. */
  markOf(checkpoint: CheckpointId): Lsn | undefined
  pruneLog(checkpoint: CheckpointId, mark: Lsn, done: (now: Millis, outcome: Outcome) => void): void
  /**
   * Reads on in the tail; a `reader` not seen before begins at its start. The piece is undefined at its
   * end.
   */
  readTail(reader: number, bytesMax: number, done: (now: Millis, outcome: TailOutcome) => void): void
  closeTail(reader: number): void
  /** Forgets the log and its files. */
  dropLog(): void
  /** Answers at once. */
  logFigures(): LogFigures

  /** Begins to store a checkpoint; it does not count in any way until `finishImage` is done. */
  beginImage(checkpoint: CheckpointId): void
  imagePiece(checkpoint: CheckpointId, bytes: Uint8Array): void
  /**
   * All pieces were right: makes the image durable, as far as `durability` asks for it, and has it absorbed
   * by an engine that does that.
   */
  finishImage(info: ImageInfo, durability: Durability, done: (now: Millis, outcome: Outcome) => void): void
  /** Forgets an image, whole or not. */
  dropImage(checkpoint: CheckpointId): void
  report(report: AgentReport): void
}

/** Bounds of one guest's agent. Times in milliseconds. */
export interface AgentLimits {
  /** How long the guest may stand still for one checkpoint before it runs on without. */
  readonly standStillMs: number
  /** How long the engine may take to bring the guest to a stand, or to give up a checkpoint. */
  readonly engineMs: number
  /** How long a checkpoint may go without a piece of the image, or without its answer after the end. */
  readonly imageMs: number
  /** After a checkpoint that failed, the next is tried so soon; doubled each time up to the interval. */
  readonly retryMs: number
  readonly imageBytesMax: number
  /** Messages that wait while a generation or role is being made durable. */
  readonly waitingMax: number
  /** The longest piece of the tail that is asked for, in bytes. */
  readonly tailPieceBytes: number
}

export const defaultAgentLimits: AgentLimits = {
  standStillMs: 1000,
  engineMs: 30_000,
  imageMs: 60_000,
  retryMs: 250,
  imageBytesMax: 8 * 1024 ** 3,
  waitingMax: 1024,
  tailPieceBytes: 256 * 1024
}

/** What an agent knows of a guest it has never heard of. */
export const freshAgentState: AgentState = {
  generation: 0 as Generation, gateway: noGateway, incarnation: 0, role: 'idle', started: false,
  checkpoints: 0
}

export interface AgentSettings {
  readonly guest: string
  /** Whether the engine's images can be restored. If not, this agent never promotes. */
  readonly canRestore: boolean
  /**
   * The engine absorbs each image when it has come whole, and can restore only the one absorbed last: its
   * images build on one another.
   */
  readonly absorbs: boolean
  readonly limits: AgentLimits
  /** As it was persisted last. */
  readonly state: AgentState
  /** The guest as the engine found it. */
  readonly condition: GuestCondition
  readonly endpoints: readonly string[]
  /** Whole images found in the store. */
  readonly images: readonly ImageInfo[]
}
