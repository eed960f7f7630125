import { TailgateError } from '../../base/errors.ts'
import { invariant, unreachable } from '../../base/invariant.ts'
import {
  checkpointId, connectionId, inputOffset, lsn, outputHash, outputOffset,
  type CheckpointId, type ConnectionId, type InputOffset, type Lsn, type OutputHash, type OutputOffset
} from '../ids.ts'
import { RecordKind, type AdoptRecord } from '../record.ts'
import type { RecordCursor } from '../record-codec.ts'

/** A checkpoint's place in the log: the lsn of its MARK record. */
export interface LogMark {
  readonly checkpoint: CheckpointId
  readonly lsn: Lsn
}

/** What the log says of one connection, at its end or at a mark. */
export interface ConnectionState {
  readonly connection: ConnectionId
  readonly service: number
  readonly client: string
  readonly path: Uint8Array
  readonly connected: boolean
  /** Input logged. The end counts one. */
  readonly input: InputOffset
  /** Input which the guest had acknowledged; the place the held input began at where it said nothing. */
  readonly floor: InputOffset
  /** Of the latest READ. */
  readonly output: OutputOffset
  readonly hash: OutputHash
  readonly ended: boolean
  readonly reset: boolean
  readonly guestEnded: boolean
  readonly guestReset: boolean
}

/** How far the records followed so far reach; the difference of two is what lies between them. */
export interface LogCount {
  readonly records: number
  /** Input bytes in DATA records. */
  readonly payload: number
}

/** More marks than this are never waited for: checkpoints are made one at a time. */
const marksMax = 8
/** A generous guess at what a connection costs in this table, in bytes, for the log's limit. */
export const connectionBytesEstimate = 256

interface Entry {
  readonly connection: ConnectionId
  readonly service: number
  readonly client: string
  path: Uint8Array
  connected: boolean
  input: InputOffset
  floor: InputOffset
  output: OutputOffset
  hash: OutputHash
  ended: boolean
  reset: boolean
  guestEnded: boolean
  guestReset: boolean
  /** Where the guest's output ended, if it did. */
  outputEnd: number
  /** The lsn of its first record; 0 in a base. */
  readonly born: number
  /** The index's age when this entry was last changed or preserved. */
  age: number
}

interface PendingMark extends LogMark {
  readonly count: LogCount
  /** Entries as they were at the mark, of connections that have changed since. */
  readonly before: Map<number, ConnectionState>
}

/** The connections as they were at a mark. Stays right while the index follows further records. */
export interface MarkView {
  readonly mark: LogMark
  readonly count: LogCount
  /** Every connection that the log knew at the mark, finished or not. */
  connections(): IterableIterator<ConnectionState>
}

/**
 * Whether nothing of a connection needs replaying after a checkpoint at which it stood like this (design,
 * "Marks" and rule 6): the guest reset it or has taken the client's reset, or both sides have ended it and
 * the guest has all of its input.
 *
 * The client's reset alone does not finish it, not even when the guest has all of its input. A reset that was
 * still on its way at the mark is acted on after it, so a restored guest must be told of it again: one that
 * is not may give what another client sends to somebody who is gone. Only of a connection that the guest had
 * not taken there is nothing to be told, since no input of it was ever sent.
 */
export function isFinished(state: ConnectionState): boolean {
  if (state.guestReset) return true
  const neverTaken = state.reset && !state.connected
  return (neverTaken || (state.ended && state.guestEnded)) && state.floor >= state.input
}

/**
 * Follows the log and knows how each of its connections stands. Records that cannot be true throw
 * E_LOG_CORRUPT.
 *
 * A connection may be dropped once it is finished at a mark that counts, and a gateway can still log what is
 * late and harmless about it: CONNECTED, READ, FLOOR, RESET and the guest's end. Of an unknown connection
 * these are passed over. Input of an unknown connection is damage.
 *
 * A mark costs nothing when it is followed: a connection's state there is preserved when it next changes.
 */
export class ConnectionIndex {
  readonly #table = new Map<number, Entry>()
  #marks: PendingMark[] = []
  /** The mark of the newest view. */
  #held: PendingMark | undefined
  /** Grows by one at each mark, so that an entry knows whether it was preserved for the newest. */
  #age = 0
  #records = 0
  #payload = 0

  /** Connections known, finished ones included. */
  get size(): number {
    return this.#table.size
  }

  get count(): LogCount {
    return { records: this.#records, payload: this.#payload }
  }

  state(connection: ConnectionId): ConnectionState | undefined {
    return this.#table.get(connection)
  }

  connections(): IterableIterator<ConnectionState> {
    return this.#table.values()
  }

  /** Takes in the record at which `cursor` stands. `at` is its lsn, 0 in a base. */
  follow(cursor: RecordCursor, at: number): void {
    this.#records++
    switch (cursor.kind) {
      case RecordKind.data: this.#data(cursor, at); break
      case RecordKind.read: this.#read(cursor, at); break
      case RecordKind.floor: this.#floor(cursor, at); break
      case RecordKind.adopt: case RecordKind.open: this.#add(cursor, at); break
      case RecordKind.connected: this.#connected(cursor, at); break
      case RecordKind.end: this.#end(cursor, at); break
      case RecordKind.reset: this.#reset(cursor, at); break
      case RecordKind.guestEnd: case RecordKind.guestReset: this.#guestClosed(cursor, at); break
      case RecordKind.mark: this.#mark(checkpointId(cursor.checkpoint), at); break
      default: unreachable(cursor.kind)
    }
  }

  /** The lsn of the MARK of `checkpoint`, if it is one of the few newest. */
  markOf(checkpoint: CheckpointId): Lsn | undefined {
    return this.#marks.find(mark => mark.checkpoint === checkpoint)?.lsn
  }

  /** The mark followed last, if it is still remembered. */
  get newestMark(): LogMark | undefined {
    return this.#marks.at(-1)
  }

  /**
   * The connections as they stood at `mark`; undefined if the log has no such mark or it is too old. The mark
   * is remembered until it is pruned to, or another view is asked for.
   */
  at(mark: LogMark): MarkView | undefined {
    const first = this.#marks.find(one => one.checkpoint === mark.checkpoint && one.lsn === mark.lsn)
    if (!first) return undefined
    this.#held = first
    return { mark: first, count: first.count, connections: () => this.#statesAt(first) }
  }

  /** Forgets marks beyond `last`: records which were refused after all. */
  forgetMarksAfter(last: Lsn): void {
    this.#marks = this.#marks.filter(mark => mark.lsn <= last)
  }

  /** The log was pruned to `mark`: forgets the connections finished there and all marks up to it. */
  prunedTo(mark: LogMark): void {
    const view = this.at(mark)
    invariant(view !== undefined, 'a log is pruned only to a mark that it holds', { lsn: mark.lsn })
    for (const state of view.connections()) {
      if (isFinished(state)) this.#table.delete(state.connection)
    }
    this.#marks = this.#marks.filter(one => one.lsn > mark.lsn)
    this.#held = undefined
  }

  * #statesAt(mark: PendingMark): IterableIterator<ConnectionState> {
    for (const entry of this.#table.values()) {
      if (entry.born <= mark.lsn) yield this.#stateAt(mark, entry)
    }
  }

  /** An entry that changed after a mark was preserved in it or, if it changed later, in a following one. */
  #stateAt(mark: PendingMark, entry: Entry): ConnectionState {
    for (let place = this.#marks.indexOf(mark); place >= 0 && place < this.#marks.length; place++) {
      const state = this.#marks[place]?.before.get(entry.connection)
      if (state) return state
    }
    return entry
  }

  #mark(checkpoint: CheckpointId, at: number): void {
    const newest = this.#marks.at(-1)
    if (newest && newest.checkpoint >= checkpoint) throw corrupt('a checkpoint that goes back', 0, at)
    this.#age++
    this.#marks.push({ checkpoint, lsn: lsn(at), count: this.count, before: new Map() })
    if (this.#marks.length > marksMax) this.#dropOldestMark()
  }

  /** The mark that a prune is working on stays; what the one after it preserved is as true of it. */
  #dropOldestMark(): void {
    const [oldest, next] = this.#marks
    if (!oldest || !next || oldest !== this.#held) {
      this.#marks.shift()
      return
    }
    for (const [connection, state] of next.before) {
      if (!oldest.before.has(connection)) oldest.before.set(connection, state)
    }
    this.#marks.splice(1, 1)
  }

  /** The entry of `connection`, preserved for the newest mark and free to be changed. */
  #entry(connection: number): Entry | undefined {
    const entry = this.#table.get(connection)
    if (entry && entry.age !== this.#age) {
      this.#marks.at(-1)?.before.set(connection, { ...entry })
      entry.age = this.#age
    }
    return entry
  }

  #add(cursor: RecordCursor, at: number): void {
    const connection = cursor.connection
    if (this.#table.has(connection)) throw corrupt('a connection that begins twice', connection, at)
    const record = cursor.record()
    invariant(record.kind === RecordKind.adopt || record.kind === RecordKind.open, 'a beginning')
    const adopted = record.kind === RecordKind.adopt
    this.#table.set(connection, newEntry(record.kind === RecordKind.adopt ? record : {
      ...record, kind: RecordKind.adopt, connected: false, path: new Uint8Array(0),
      input: inputOffset(0), output: outputOffset(0), hash: outputHash(0)
    }, adopted, at, this.#age))
  }

  #connected(cursor: RecordCursor, at: number): void {
    const entry = this.#entry(cursor.connection)
    if (!entry) return
    if (entry.connected) throw corrupt('a connection that the guest took twice', cursor.connection, at)
    entry.connected = true
    entry.path = cursor.payload().slice()
  }

  #data(cursor: RecordCursor, at: number): void {
    const entry = this.#openEntry(cursor, at)
    const length = cursor.bytesEnd - cursor.bytesStart
    if (entry.input + length >= Number.MAX_SAFE_INTEGER) {
      throw corrupt('input beyond every offset', cursor.connection, at)
    }
    entry.input = inputOffset(entry.input + length)
    this.#payload += length
  }

  #end(cursor: RecordCursor, at: number): void {
    const entry = this.#openEntry(cursor, at)
    entry.ended = true
    entry.input = inputOffset(entry.input + 1)
  }

  /** The entry of a connection whose input may go on. */
  #openEntry(cursor: RecordCursor, at: number): Entry {
    const entry = this.#entry(cursor.connection)
    if (!entry) throw corrupt('input of an unknown connection', cursor.connection, at)
    if (entry.ended || entry.reset || entry.guestReset) {
      throw corrupt('input of a connection that had ended', cursor.connection, at)
    }
    return entry
  }

  #reset(cursor: RecordCursor, at: number): void {
    const entry = this.#entry(cursor.connection)
    if (!entry) return
    if (entry.reset) throw corrupt('a connection that was reset twice', cursor.connection, at)
    entry.reset = true
  }

  #read(cursor: RecordCursor, at: number): void {
    const entry = this.#entry(cursor.connection)
    if (!entry) return
    if (cursor.output < entry.output) throw corrupt('output that goes back', cursor.connection, at)
    if (cursor.output > entry.outputEnd + 1) throw corrupt('output after its end', cursor.connection, at)
    entry.output = outputOffset(cursor.output)
    entry.hash = outputHash(cursor.hash)
  }

  #guestClosed(cursor: RecordCursor, at: number): void {
    const entry = this.#entry(cursor.connection)
    if (!entry) return
    if (entry.guestReset) throw corrupt('an end by a guest that had reset', cursor.connection, at)
    // The end counts one, so a READ may stand one beyond it.
    if (cursor.output + 1 < entry.output) throw corrupt('an end before the output', cursor.connection, at)
    if (cursor.kind === RecordKind.guestReset) {
      entry.guestReset = true
      return
    }
    if (entry.guestEnded) throw corrupt('output that ends twice', cursor.connection, at)
    entry.guestEnded = true
    entry.outputEnd = cursor.output
  }

  /** A floor above what is logged says no more than that all of it was acknowledged. */
  #floor(cursor: RecordCursor, at: number): void {
    const entry = this.#entry(cursor.connection)
    if (!entry) return
    const floor = Math.min(cursor.input, entry.input)
    if (floor < entry.floor) throw corrupt('a floor that goes back', cursor.connection, at)
    entry.floor = inputOffset(floor)
  }
}

function newEntry(from: AdoptRecord, adopted: boolean, at: number, age: number): Entry {
  return {
    connection: connectionId(from.connection), service: from.service, client: from.client,
    path: adopted ? from.path.slice() : from.path, connected: from.connected,
    input: from.input, floor: from.input,
    output: from.output, hash: from.hash, ended: false, reset: false, guestEnded: false, guestReset: false,
    outputEnd: Infinity, born: at, age
  }
}

function corrupt(what: string, connection: number, at: number): TailgateError {
  return new TailgateError('E_LOG_CORRUPT', `${what}: connection ${connection}, lsn ${at}`, {
    context: { connection, lsn: at }
  })
}
