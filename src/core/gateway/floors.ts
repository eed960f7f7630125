import { inputOffset, noLsn, type ConnectionId, type InputOffset, type Lsn } from '../ids.ts'
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
  readonly #resetsTold: boolean
  /**
   * Over for the client, but the guest has not acknowledged all of its input, or has not told that it has
   * taken the reset.
   */
  readonly #lingering = new Map<ConnectionId, Connection>()
  /** Those whose floor has moved since it was last logged. */
  #moved: Connection[] = []
  /** Reset by their clients in this history, in the order of their RESETs, where the guest tells nothing. */
  #resets: Connection[] = []
  /**
   * Was reset since the last mark was asked for, where the guest tells nothing, with input from before this
   * history on its way. Nothing is sent again, but what is on its way may arrive after the next mark, and is
   * in no log. So that mark is refused: the guest runs on, and when the next one is asked for it has taken
   * what arrived.
   *
   *     history begins   client resets      mark refused      mark
   *   ──── input ──┤········· on its way ·······► guest ────────┤
   */
  #cutOff: Connection | undefined

  /**
   * `connections` are the live ones, which the data path adds and removes. `resetsTold`: see
   * {@link resetTaken}.
   */
  constructor(
    connections: ReadonlyMap<ConnectionId, Connection>, writer: LogWriter, resetsTold: boolean
  ) {
    this.#connections = connections
    this.#writer = writer
    this.#resetsTold = resetsTold
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
      if (connection.resetLsn === noLsn) this.#lingering.delete(connection.id)
    }
    return undefined
  }

  /** It is over for the client; the guest has still to acknowledge some of its input. */
  linger(connection: Connection): void {
    if (!connection.settled) this.#lingering.set(connection.id, connection)
  }

  /**
   * The client has reset it, and RESET is logged. The log must keep its input and RESET for every checkpoint
   * whose guest has not taken both: that guest acts on them once it has run on, and so must a restored one.
   * GUEST_RESET tells the log that the guest has: it is logged when the guest says so ({@link resetTaken}),
   * and else when two marks prove it ({@link counted}). Before CONNECTED no input was sent, so the log needs
   * neither.
   */
  reset(connection: Connection): void {
    if (!connection.connected || connection.outputEnd === 'reset') return
    if (this.#resetsTold) this.#lingering.set(connection.id, connection)
    else if (this.#writer.running) {
      this.#resets.push(connection)
      if (connection.floor < connection.historyInput) this.#cutOff = connection
    }
  }

  /**
   * The guest said that it has taken the client's reset, and all input before it. It says so from the state
   * that follows, so an image made at any mark logged from now on has taken them too.
   */
  resetTaken(id: ConnectionId): void {
    const connection = this.#lingering.get(id)
    if (connection === undefined || connection.resetLsn === noLsn) return
    this.#lingering.delete(id)
    this.#logTaken(connection)
  }

  /**
   * A checkpoint counts: the guest stood still for its mark, and has run on since. A guest-facing side that
   * was reset before that mark sends nothing again, and what it had sent was on its way before the answer to
   * the mark was: it was there, or lost, when the guest had run on, and is so at every mark from now on.
   *
   *      RESET       mark, counts     GUEST_RESET         mark
   *   ─────┼───────────────┼───────────────┼───────────────┼────
   *        ·· on its way ··│··► guest runs, and takes it    finished
   *
   * The first mark alone proves nothing: what was on its way then is acted on after it. Nor does one whose
   * checkpoint does not count, which may have been asked for by a guest that has long run on.
   */
  counted(mark: Lsn): void {
    const kept = this.#resets.findIndex(connection => connection.resetLsn > mark)
    const taken = this.#resets.splice(0, kept < 0 ? this.#resets.length : kept)
    for (const connection of taken) this.#logTaken(connection)
  }

  #logTaken(connection: Connection): void {
    const { id, outputReceived: output } = connection
    connection.outputEnd = 'reset'
    this.#writer.append({ kind: RecordKind.guestReset, connection: id, output })
  }

  /** What was reset before has no place in the history's log. */
  historyBegins(): void {
    this.#resets = []
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
    this.#resets = []
    this.#cutOff = undefined
    for (const connection of this.#moved) connection.floorNoted = false
    this.#moved = []
  }

  /** The restored guest's input stands at `floor`; what it acknowledges from now on counts from there. */
  restartAt(connection: Connection, floor: InputOffset): void {
    connection.floor = floor
  }
}
