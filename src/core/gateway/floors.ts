import { inputOffset, type ConnectionId, type InputOffset } from '../ids.ts'
import { RecordKind } from '../record.ts'
import type { Connection } from './connection.ts'
import type { LogWriter } from './log-writer.ts'

/** So many marks are refused for the sake of one connection that is over. */
const marksRefusedMax = 20

/**
 * How much of each connection's input the guest has acknowledged: its floor. A prune may drop what lies below
 * the floors that were logged before the mark (design, rule 6).
 *
 *     input   0 ────────── floor ────────── inputLogged
 *              acknowledged      may be lost with the guest
 */
export class Floors {
  readonly #connections: ReadonlyMap<ConnectionId, Connection>
  readonly #writer: LogWriter
  /** Finished for the client, but the guest has not acknowledged all of its input. */
  readonly #lingering = new Map<ConnectionId, Connection>()
  /** Those whose floor has moved since it was last logged. */
  #moved: Connection[] = []
  /** Was reset since the last mark was asked for, with input on its way that the log does not hold. */
  #cutOff: Connection | undefined

  /** `connections` are the live ones, which the data path adds and removes. */
  constructor(connections: ReadonlyMap<ConnectionId, Connection>, writer: LogWriter) {
    this.#connections = connections
    this.#writer = writer
  }

  get lingering(): Iterable<Connection> { return this.#lingering.values() }

  /** The guest has acknowledged input up to `floor`. */
  note(id: ConnectionId, floor: InputOffset): void {
    const connection = this.#connections.get(id) ?? this.#lingering.get(id)
    if (connection === undefined || floor <= connection.floor) return
    connection.floor = inputOffset(Math.min(floor, connection.inputLogged))
    if (!this.#writer.running) {
      if (connection.settled) this.#lingering.delete(id)
    } else if (!connection.floorNoted) {
      connection.floorNoted = true
      this.#moved.push(connection)
    }
  }

  /** For a guest that is never restored: what the kernel took counts as acknowledged. */
  noteFromBacklog(): void {
    const note = (connection: Connection): void => {
      this.note(connection.id, inputOffset(connection.inputLogged - (connection.guest?.backlog ?? 0)))
    }
    this.#connections.forEach(note)
    this.#lingering.forEach(note)
  }

  /**
   * Logs at most `limit` floors that have moved; a mark logs them all before itself. One that lies before the
   * input with which this history began says nothing to its log, which does not hold that input.
   */
  log(limit: number): void {
    for (const connection of this.#moved.splice(0, limit)) {
      connection.floorNoted = false
      const { id, floor, historyInput } = connection
      if (floor >= historyInput) this.#writer.append({ kind: RecordKind.floor, connection: id, input: floor })
      if (connection.settled) this.#lingering.delete(connection.id)
    }
  }

  /**
   * A connection, if any, that has input from before this history which the guest has not acknowledged. Asked
   * once for each mark.
   */
  unacknowledgedBefore(): Connection | undefined {
    const cutOff = this.#cutOff
    this.#cutOff = undefined
    return this.#aliveBefore() ?? this.#lingeringBefore() ?? cutOff
  }

  #aliveBefore(): Connection | undefined {
    for (const connection of this.#connections.values()) {
      if (connection.outputEnd !== 'reset' && connection.floor < connection.historyInput) return connection
    }
    return undefined
  }

  /**
   * The last acknowledgement of a connection that is over may have been lost for good, while the guest's path
   * was gone. So it is waited for only so often: better a guest that is protected again.
   */
  #lingeringBefore(): Connection | undefined {
    for (const connection of this.#lingering.values()) {
      if (connection.floor >= connection.historyInput) continue
      if (++connection.marksRefused <= marksRefusedMax) return connection
      this.#lingering.delete(connection.id)
    }
    return undefined
  }

  /** It is over for the client; the guest has still to acknowledge some of its input. */
  linger(connection: Connection): void {
    if (!connection.settled) this.#lingering.set(connection.id, connection)
  }

  /**
   * Its guest-facing side was reset: no acknowledgement comes any more, and nothing is sent again. But input
   * that is on its way may arrive after the next mark, and is in no log. So that mark is refused: the guest
   * runs on, and when the next one is asked for it has taken what arrived.
   *
   *     history begins   client resets      mark refused      mark
   *   ──── input ──┤········· on its way ·······► guest ────────┤
   */
  cutOff(connection: Connection): void {
    const { outputEnd, floor, historyInput } = connection
    if (this.#writer.running && outputEnd !== 'reset' && floor < historyInput) this.#cutOff = connection
  }

  /** The guest reset the connection: of it no acknowledgement comes any more. */
  forget(connection: Connection): void {
    this.#lingering.delete(connection.id)
  }

  /** The guest is gone: what it had acknowledged, the restored one may not have. */
  restartAll(): void {
    for (const connection of this.#connections.values()) {
      connection.floor = inputOffset(0)
      connection.floorNoted = false
    }
    this.#lingering.clear()
    this.#cutOff = undefined
    for (const connection of this.#moved) connection.floorNoted = false
    this.#moved = []
  }

  /** The restored guest's input stands at `floor`; what it acknowledges from now on counts from there. */
  restartAt(connection: Connection, floor: InputOffset): void {
    connection.floor = floor
  }
}
