import type {
  CheckpointId, ConnectionId, GatewayId, Generation, Hash, HistoryId, HostName, Lsn, OutputOffset
} from '../ids.ts'
import type { Envelope, GatewayLife, GatewayMessage } from '../message.ts'
import type { AttachAnswer, OpenedPath } from '../path.ts'
import type { StreamEvents } from '../stream.ts'
import type { Connection, Ending } from './connection.ts'
import type { Protection } from './protection.ts'

/**
 * What the gateway keeps on disk of each guest, and which of its lives wrote that: written before anybody
 * hears of a life or a promotion, read at a start. `noGateway` in one that names none.
 */
export interface GatewayState extends GatewayLife {
  readonly generation: Generation
  readonly active: HostName
  /** The guest has run: it is never started from nothing again. */
  readonly started: boolean
  /**
   * The generation was claimed, and perhaps not all hosts know of it. The active one is told when all others
   * do; when it has answered, too, the claim is finished.
   */
  readonly claiming: boolean
  /** Why the guest's state may differ from what clients were told; undefined if it does not. */
  readonly diverged?: string | undefined
}

export type OpenResult =
  | { readonly ok: true, readonly path: OpenedPath }
  /** `refused`: the guest itself said no. Otherwise it did not answer: its host may be dead. */
  | { readonly ok: false, readonly refused: boolean, readonly reason: string }

export type AttachResult =
  | { readonly ok: true, readonly answer: AttachAnswer }
  | { readonly ok: false, readonly reason: string }

/** What happened, for logs, metrics, status and the checkers of the simulator. */
export type GatewayReport =
  | { readonly type: 'protection', readonly protection: Protection }
  | { readonly type: 'connection-open', readonly connection: Connection }
  /** The guest took it. */
  | { readonly type: 'connection-connected', readonly connection: Connection }
  /** The first of its output is released. */
  | { readonly type: 'connection-answered', readonly connection: Connection }
  | { readonly type: 'connection-end', readonly connection: Connection, readonly ending: Ending }
  | { readonly type: 'history', readonly history: HistoryId, readonly backup: HostName }
  | { readonly type: 'link-resumed', readonly host: HostName, readonly lsn: Lsn }
  | { readonly type: 'mark', readonly checkpoint: CheckpointId, readonly lsn: Lsn }
  | { readonly type: 'mark-refused', readonly checkpoint: CheckpointId, readonly reason: string }
  | {
    readonly type: 'checkpoint-counted', readonly checkpoint: CheckpointId, readonly mark: Lsn,
    readonly bytes: number
  }
  | { readonly type: 'checkpoint-failed', readonly checkpoint: CheckpointId, readonly reason: string }
  /** It counted, and the backup cannot restore it any more. */
  | { readonly type: 'checkpoint-lost', readonly checkpoint: CheckpointId, readonly reason: string }
  | { readonly type: 'clock-jump', readonly ms: number }
  | { readonly type: 'failover-phase', readonly phase: string }
  | { readonly type: 'failover-done', readonly summary: FailoverSummary }
  | {
    readonly type: 'diverged', readonly connection: ConnectionId, readonly alive: boolean,
    readonly reason: string
  }
  /** A client goes on of whose output so much was made again and could not be compared. */
  | { readonly type: 'unverified', readonly connection: ConnectionId, readonly bytes: number }
  /** Clients were served before all input of others was replayed: the guest is marked as diverged. */
  | { readonly type: 'served-early' }
  | { readonly type: 'stale-message', readonly host: HostName, readonly generation: Generation }

export interface FailoverSummary {
  readonly reason: string
  readonly from: HostName
  readonly to: HostName
  readonly generation: Generation
  readonly checkpoint: CheckpointId
  readonly mark: Lsn
  readonly tailRecords: number
  readonly tailBytes: number
  /** Alive connections that went on, and those that were reset, for whatever reason. */
  readonly kept: number
  readonly reset: number
  readonly diverged: number
  /** How often input was sent before output that it had come after (see replay.ts). */
  readonly reordered: number
  /** Output that should have been compared and could not be. */
  readonly unverifiedBytes: number
}

/** Who wants a connection of the guest. To ask for the address may cost a system call. */
export interface Dialer {
  /** The client, as `address:port`. */
  readonly clientAddress: string
}

/**
 * Everything the gateway's core wants done. Nothing here fails or answers at once, unless it says so: answers
 * come as calls of the callbacks given, or as messages, in a later turn.
 */
export interface GatewayPort {
  readonly hash: Hash
  /** A random id, never used before. Answers at once. */
  newHistory(): HistoryId
  /** Likewise, for a gateway that has no state. */
  newGateway(): GatewayId
  send(host: HostName, envelope: Envelope, message: GatewayMessage): void
  /** Calls {@link GuestGateway.flush} at the end of this turn. */
  flushSoon(): void
  /** From now on `open` and `attach` go to these endpoints; one per service. */
  openPath(endpoints: readonly string[]): void
  open(
    connection: ConnectionId, service: number, events: StreamEvents, done: (result: OpenResult) => void,
    dialer: Dialer
  ): void
  /** Output is wanted from the place `received` on. */
  attach(
    connection: ConnectionId, service: number, path: Uint8Array, received: OutputOffset, events: StreamEvents,
    done: (result: AttachResult) => void
  ): void
  /** Output up to here has been read. */
  acknowledge(connection: ConnectionId, received: OutputOffset): void
  /**
   * Calls `done` when what the kernel holds at this moment for guest-facing sides that are being read has
   * been delivered.
   */
  afterReads(done: () => void): void
  /**
   * Cuts the guest's path: what the kernel had already received for the guest-facing sides is still delivered
   * to them, then `done` is called, and then nothing of the old guest arrives any more.
   */
  cutPath(done: () => void): void
  /** Makes `state` durable; never calls back if that fails, but stops the process. */
  persist(state: GatewayState, done: () => void): void
  /** Runs the fence command of `host`: true when it succeeded, and the host can do no more. */
  fence(host: HostName, done: (fenced: boolean) => void): void
  report(report: GatewayReport): void
}
