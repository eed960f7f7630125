import { LRUCache } from 'lru-cache'
import type { ConnectionId } from '../core/ids.ts'

/**
 * How far the streams of one connection came on its present guest-facing side; ends count one.
 *
 *     output   0 ───── read by the gateway ─────│·· in the kernel here ··│   while the side is paused
 */
export class TcpPlaces {
  /** Of input, what was given to the side. */
  input = 0
  /** Of output, what the side has delivered. */
  output = 0
  inputEnded = false
  outputEnded = false
  /**
   * Between these places the kernel here has acknowledged output that the gateway had not read, for as long
   * as a pause lasted. A guest that was checkpointed then keeps it no more.
   */
  #unreadFrom = Number.MAX_SAFE_INTEGER
  #unreadTo = 0

  constructor(input = 0, output = 0) {
    this.input = input
    this.output = output
  }

  /** Output between these places was acknowledged, and not read until now. */
  noteUnread(from: number, to: number): void {
    this.#unreadFrom = Math.min(this.#unreadFrom, from)
    this.#unreadTo = Math.max(this.#unreadTo, to)
  }

  /** Whether a guest may have forgotten output beyond `place`, where the gateway stood when it was saved. */
  maybeForgottenBeyond(place: number): boolean {
    return place >= this.#unreadFrom && place < this.#unreadTo
  }
}

/**
 * Of connections that are over, so many are remembered, for a replay. Without its places a connection is
 * still joined, unless its input passed 4 GiB.
 */
const closedMax = 65_536

/** The places of a guest's connections, over all of its generations. */
export class TcpPlacesBook {
  readonly #live = new Map<ConnectionId, TcpPlaces>()
  readonly #closed = new LRUCache<ConnectionId, TcpPlaces>({ max: closedMax })

  of(connection: ConnectionId): TcpPlaces | undefined {
    return this.#live.get(connection) ?? this.#closed.get(connection)
  }

  /** A side of this connection is there. */
  begin(connection: ConnectionId, places: TcpPlaces): void {
    this.#closed.delete(connection)
    this.#live.set(connection, places)
  }

  /** That side is over; does nothing if another one has taken its place. */
  end(connection: ConnectionId, places: TcpPlaces): void {
    if (this.#live.get(connection) !== places) return
    this.#live.delete(connection)
    this.#closed.set(connection, places)
  }
}
