import type { CheckpointId, GatewayId, Generation, HistoryId, HostName, Lsn } from './ids.ts'

/** What every message says beside its own fields: whose it is, and of which generation and history. */
export interface Envelope {
  readonly guest: string
  readonly generation: Generation
  /** The history the message is about; `noHistory` where none is. */
  readonly history: HistoryId
}

/** Which life of which gateway: within one generation an agent obeys one gateway, and its newest life. */
export interface GatewayLife {
  readonly gateway: GatewayId
  /** Grows by one at each start of the gateway; 1 for the first. */
  readonly incarnation: number
}

export type Role = 'primary' | 'backup' | 'idle'

/**
 * `memory`: an epoch is acknowledged when the backup has it in memory; `disk`: when fdatasync has returned.
 */
export type Durability = 'memory' | 'disk'

export type GuestCondition = 'absent' | 'running' | 'failed'

/** What a backup holds, as told in its heartbeats; the figures of `status` and of `failover --plan`. */
export interface LogPosition {
  readonly lastLsn: Lsn
  /** The newest checkpoint that counts in the history of the envelope; 0 if none does. */
  readonly checkpoint: CheckpointId
  readonly mark: Lsn
  /** Length of that checkpoint's image. */
  readonly checkpointBytes: number
  /** What would be replayed: input payload, records, and connections the restored guest should know. */
  readonly tailBytes: number
  readonly tailRecords: number
  readonly connections: number
  /** What the log takes in memory and on disk. */
  readonly memoryBytes: number
  readonly diskBytes: number
}

/** Gateway to agent. */
export type GatewayMessage =
  /**
   * Take this role, and obey this life of this gateway. The first message about a guest on every link, and
   * sent again at each change. With generation 0 it is only a question, by a gateway that knows of none.
   */
  | GatewayLife & {
    readonly type: 'assign', readonly role: Role
    /** Only to a primary: a guest that is absent may be started from nothing. */
    readonly boot: boolean
    /**
     * Only to a primary: this gateway serves clients from the guest that runs there, so that the promotion
     * it may have come from is finished, whatever the host's disk says of it.
     */
    readonly served: boolean
    /** To a primary: where checkpoints go, as name and link address; '' for nowhere (make none). */
    readonly peer: HostName, readonly peerAddress: string
    readonly checkpointMs: number, readonly heartbeatMs: number, readonly leaseMs: number
    readonly durability: Durability
    /** To a backup: how much log it may hold in memory and in all. */
    readonly logMemoryBytes: number, readonly logBytes: number
  }
  /** To a backup: the history of the envelope begins; whatever log it holds is of no use any more. */
  | { readonly type: 'begin', readonly firstLsn: Lsn }
  /** To a backup: `lastLsn - firstLsn + 1` records, one after another in `records`. */
  | {
    readonly type: 'epoch', readonly firstLsn: Lsn, readonly lastLsn: Lsn,
    readonly records: readonly Uint8Array[]
  }
  /** To a primary whose guest stands still: the guest may run on, and the checkpoint carries this mark. */
  | { readonly type: 'mark', readonly checkpoint: CheckpointId, readonly lsn: Lsn }
  /**
   * To a primary whose guest stands still: this checkpoint could not count; drop it and let the guest run on.
   */
  | { readonly type: 'mark-refused', readonly checkpoint: CheckpointId, readonly reason: string }
  /**
   * To a backup: restore the newest checkpoint that counts, with its network closed. The envelope carries the
   * new generation. `acceptLoss`: take the newest whole checkpoint of any history and no tail.
   */
  | { readonly type: 'promote', readonly lastLsn: Lsn, readonly acceptLoss: boolean }
  /** To a backup just promoted: open the guest's network and let it run. */
  | { readonly type: 'open-network' }
  /** To a backup just promoted: this many more bytes of the tail may be sent. */
  | { readonly type: 'tail-credit', readonly bytes: number }
  /**
   * To a backup just promoted: every connection is resolved; close what nobody attached to. Drop log and
   * image.
   */
  | { readonly type: 'replayed' }
  | { readonly type: 'heartbeat-ack', readonly n: number }

/** Agent to gateway. */
export type AgentMessage =
  /**
   * `n` grows by one each time. The primary's lease runs from when it *sent* the newest one that was
   * acknowledged.
   */
  | {
    readonly type: 'heartbeat', readonly n: number, readonly role: Role
    readonly condition: GuestCondition
    /** A backup's log; undefined otherwise. */
    readonly log: LogPosition | undefined
  }
  /**
   * Answer to `assign`, and at each change: whether the guest runs here and where its services listen,
   * `host:port` each.
   */
  | {
    readonly type: 'guest', readonly condition: GuestCondition, readonly endpoints: readonly string[],
    readonly reason: string
  }
  /**
   * Answer to `assign` by a backup: the history (in the envelope) and the last lsn that it holds, and whether
   * its engine can restore a checkpoint at all.
   */
  | { readonly type: 'position', readonly lastLsn: Lsn, readonly canRestore: boolean }
  /** Every record up to `lsn` is held, as durable as was asked. */
  | { readonly type: 'ack', readonly lsn: Lsn }
  /** The guest stands still for this checkpoint and waits for `mark`. */
  | { readonly type: 'mark-request', readonly checkpoint: CheckpointId }
  /** The guest runs on; this checkpoint will not count. */
  | { readonly type: 'checkpoint-failed', readonly checkpoint: CheckpointId, readonly reason: string }
  /** By the backup: this checkpoint counts. */
  | {
    readonly type: 'counted', readonly checkpoint: CheckpointId, readonly mark: Lsn
    readonly bytes: number
  }
  /** The guest is restored and stands ready; its network is closed. */
  | {
    readonly type: 'promoted', readonly checkpoint: CheckpointId, readonly mark: Lsn
    readonly endpoints: readonly string[], readonly restoreMs: number
  }
  | { readonly type: 'promote-failed', readonly reason: string }
  | { readonly type: 'network-open' }
  /**
   * A piece of the tail. First come the base records (ADOPT, and input before the mark that the guest had not
   * acknowledged) with `firstLsn` 0, then the records after the mark.
   */
  | { readonly type: 'tail', readonly firstLsn: Lsn, readonly records: Uint8Array }
  | { readonly type: 'tail-end', readonly lastLsn: Lsn }
  /**
   * The sender did nothing: it knows a newer generation (in the envelope), or obeys another gateway, or a
   * later life of this one, in the same generation. To an `assign`, `guest` follows.
   */
  | { readonly type: 'stale' }
  /**
   * The backup cannot hold more: its log is at its limit, or its disk refused. Nothing of the epoch was kept.
   */
  | { readonly type: 'log-failed', readonly reason: string }

/** A primary's agent to its backup's agent, and the answers. */
export type CheckpointMessage =
  | { readonly type: 'checkpoint-begin', readonly checkpoint: CheckpointId }
  /** May come before the guest has stood still: what of it is copied while it runs. */
  | { readonly type: 'checkpoint-data', readonly checkpoint: CheckpointId, readonly bytes: Uint8Array }
  /**
   * The mark, which lies in the history of this envelope; `bytes` and `crc` (CRC-32) over all data. Only now
   * can it count.
   */
  | {
    readonly type: 'checkpoint-end', readonly checkpoint: CheckpointId, readonly mark: Lsn
    readonly bytes: number, readonly crc: number
  }
  | { readonly type: 'checkpoint-abort', readonly checkpoint: CheckpointId, readonly reason: string }
  | { readonly type: 'checkpoint-stored', readonly checkpoint: CheckpointId }
  | { readonly type: 'checkpoint-refused', readonly checkpoint: CheckpointId, readonly reason: string }

export type Message = GatewayMessage | AgentMessage | CheckpointMessage

export type MessageType = Message['type']
