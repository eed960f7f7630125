import type { CheckpointId, ConnectionId, InputOffset, OutputHash, OutputOffset } from './ids.ts'

/**
 * The kinds of event in a guest's log, by their number on the wire and on disk (docs/LOG_FORMAT.md).
 * Every record takes one lsn; a record's lsn is its place after the first lsn of the block that holds it.
 */
export const RecordKind = {
  /**
   * Where a connection stands at the beginning of what the log holds: the start of a history, or the mark it
   * was pruned to.
   */
  adopt: 1,
  /** A client came in; the gateway is about to connect to the guest for it. */
  open: 2,
  /** The guest took the connection. */
  connected: 3,
  /** Input, in order, without a hole. */
  data: 4,
  /** The client ended its input (half-close). */
  end: 5,
  /** The client reset the connection. */
  reset: 6,
  /** Output that had been read from the guest before the next input came. */
  read: 7,
  /** The guest ended its output. */
  guestEnd: 8,
  /** The guest reset the connection, or has taken the client's reset: it acts on no input of it any more. */
  guestReset: 9,
  /** Input which the guest had acknowledged. */
  floor: 10,
  /** The guest stood still for a checkpoint here. */
  mark: 11
} as const

export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind]

export interface AdoptRecord {
  readonly kind: typeof RecordKind.adopt
  readonly connection: ConnectionId
  /** Index of the service in the guest's configuration. */
  readonly service: number
  /** Whether CONNECTED came before this place in the log. */
  readonly connected: boolean
  /** Where the input held by the log from here on begins. */
  readonly input: InputOffset
  /** What had been read from the guest, and its hash. */
  readonly output: OutputOffset
  readonly hash: OutputHash
  /** The client, as `address:port`. */
  readonly client: string
  /**
   * What attach needs to know of the guest-facing connection; empty where the engine's guest needs nothing.
   */
  readonly path: Uint8Array
}

export interface OpenRecord {
  readonly kind: typeof RecordKind.open
  readonly connection: ConnectionId
  readonly service: number
  readonly client: string
}

export interface ConnectedRecord {
  readonly kind: typeof RecordKind.connected
  readonly connection: ConnectionId
  readonly path: Uint8Array
}

export interface DataRecord {
  readonly kind: typeof RecordKind.data
  readonly connection: ConnectionId
  readonly bytes: Uint8Array
}

export interface EndRecord {
  readonly kind: typeof RecordKind.end | typeof RecordKind.reset
  readonly connection: ConnectionId
}

export interface ReadRecord {
  readonly kind: typeof RecordKind.read
  readonly connection: ConnectionId
  readonly output: OutputOffset
  readonly hash: OutputHash
}

export interface GuestEndRecord {
  readonly kind: typeof RecordKind.guestEnd | typeof RecordKind.guestReset
  readonly connection: ConnectionId
  /** The output read before the end, so the place of the end itself. */
  readonly output: OutputOffset
}

export interface FloorRecord {
  readonly kind: typeof RecordKind.floor
  readonly connection: ConnectionId
  readonly input: InputOffset
}

export interface MarkRecord {
  readonly kind: typeof RecordKind.mark
  readonly checkpoint: CheckpointId
}

export type LogRecord =
  | AdoptRecord | OpenRecord | ConnectedRecord | DataRecord | EndRecord
  | ReadRecord | GuestEndRecord | FloorRecord | MarkRecord
