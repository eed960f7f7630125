import type { ConnectionId } from '../core/ids.ts'

/** What the core, which has no clock, does not know of a connection. Milliseconds of the monotonic clock. */
export interface ConnectionTimes {
  readonly acceptedAt: number
  readonly firstGeneration: number
  connectedAt: number | undefined
  firstByteAt: number | undefined
  /** It was there when a failover began. */
  replayed: boolean
}

/** Times of the connections that are there. */
export class ConnectionClock {
  readonly #times = new Map<ConnectionId, ConnectionTimes>()

  opened(connection: ConnectionId, now: number, generation: number): void {
    this.#times.set(connection, {
      acceptedAt: now, firstGeneration: generation, connectedAt: undefined, firstByteAt: undefined,
      replayed: false
    })
  }

  connected(connection: ConnectionId, now: number): void {
    const times = this.#times.get(connection)
    if (times !== undefined) times.connectedAt ??= now
  }

  answered(connection: ConnectionId, now: number): void {
    const times = this.#times.get(connection)
    if (times !== undefined) times.firstByteAt ??= now
  }

  failingOver(): void {
    for (const times of this.#times.values()) times.replayed = true
  }

  ended(connection: ConnectionId): ConnectionTimes | undefined {
    const times = this.#times.get(connection)
    this.#times.delete(connection)
    return times
  }
}
