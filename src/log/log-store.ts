import type { CheckpointId, Generation, HistoryId, Lsn } from '../core/ids.ts'

/** A checkpoint's place in the log. */
export interface Mark {
  readonly checkpoint: CheckpointId
  readonly lsn: Lsn
}

/** A walk over the tail, for replay. */
export interface TailReader {
  /**
   * The next piece, at most `bytesMax` long unless one record is longer; undefined at the end. Pieces hold
   * whole records. The base comes first, with lsn 0.
   */
  next(bytesMax: number): Promise<{ readonly firstLsn: Lsn, readonly records: Uint8Array } | undefined>
  close(): Promise<void>
}

/**
 * The input log of one guest at its backup. Implementations: memory (spilling to disk) and disk. Every one
 * passes test/log/compliance.ts.
 *
 * What it holds: `base` (ADOPT records and unacknowledged input) | records from mark or the history's first
 * lsn on.
 */
export interface LogStore {
  readonly history: HistoryId
  readonly generation: Generation
  /** The last lsn accepted by {@link append}; 0 in an empty log. */
  readonly lastLsn: Lsn
  /** What the log takes. */
  readonly memoryBytes: number
  readonly diskBytes: number
  /** Payload and number of the records that a failover would replay, and the connections of its base. */
  readonly tailBytes: number
  readonly tailRecords: number
  readonly connections: number
  /** Forgets everything and begins a history whose first record will have `firstLsn`. */
  begin(history: HistoryId, generation: Generation, firstLsn: Lsn): Promise<void>
  /**
   * Takes the records `firstLsn`..`lastLsn`. `firstLsn` must follow on `lastLsn` of before. Resolves with the
   * lsn up to which all is as durable as asked, which may be beyond `lastLsn`; several appends share one
   * fdatasync. Rejects with E_LOG_FULL at the limit, E_LOG_CORRUPT for records that cannot be read, E_DISK.
   */
  append(firstLsn: Lsn, lastLsn: Lsn, records: readonly Uint8Array[]): Promise<Lsn>
  /** The lsn of the MARK record of `checkpoint`, if the log holds it. */
  markOf(checkpoint: CheckpointId): Lsn | undefined
  /**
   * A checkpoint counts: drops what a replay from `mark` does not need (design, rule 6). Works in slices of a
   * few milliseconds between which appends go on. Remembers the mark: the tail begins there from now on.
   */
  prune(mark: Mark): Promise<void>
  /** The mark the tail begins at; undefined while no checkpoint counts. */
  readonly base: Mark | undefined
  tail(): TailReader
  close(): Promise<void>
}
