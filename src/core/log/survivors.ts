import { invariant, unreachable } from '../../base/invariant.ts'
import { inputOffset, type InputOffset } from '../ids.ts'
import { RecordKind, type LogRecord } from '../record.ts'
import {
  RecordCursor, recordBytesMax, recordHeaderBytesMax, writeDataHead, writeRecord
} from '../record-codec.ts'
import { isFinished, type ConnectionState, type MarkView } from './connection-index.ts'

/** Where the scan stands in the input of a connection that stays. */
interface Kept {
  /** Input below this place was acknowledged before the mark. */
  readonly from: number
  /** Of the byte that comes next in the scan. */
  place: number
  /** At the mark; the scan must end there. */
  readonly input: number
  readonly ended: boolean
  readonly floor: InputOffset
}

/** Bytes copied after which a slice ends, however few records it took. */
const sliceBytesMax = 1 << 20

/**
 * Writes what a replay from a mark needs of everything before it (design, rule 6): the new base.
 *
 *   before   OPEN 1 · DATA 1 "abcdef" · READ 1 · FLOOR 1 at 4 · OPEN 2 · DATA 2 "x" · GUEST_RESET 2 · MARK
 *   base     ADOPT 1 at 4 · DATA 1 "ef"
 *
 * First one ADOPT for each connection that is not finished at the mark, then in log order the input which the
 * guest had not acknowledged and how either side ended. The end of the input stays even if it was
 * acknowledged, with a FLOOR behind it: a log that is opened again must know what the one that was pruned
 * knew.
 *
 * Works in slices: {@link adopt} until true, then for each piece of the log in order {@link load} and
 * {@link scan} until true; at the mark {@link reached} is true.
 */
export class Survivors {
  readonly #view: MarkView
  readonly #states: IterableIterator<ConnectionState>
  readonly #kept = new Map<number, Kept>()
  readonly #cursor = new RecordCursor()
  readonly #pieceBytes: number
  #lsn = 0
  #isBase = false
  #from = 0
  #pieces: Uint8Array[] = []
  #piece: Uint8Array
  #filled = 0
  #reached = false
  #connections = 0
  #records = 0
  #payload = 0
  /** Bytes copied in the present slice. */
  #copied = 0

  /** @param pieceBytes how long a piece of the base becomes, unless one record is longer */
  constructor(view: MarkView, pieceBytes: number) {
    this.#view = view
    this.#states = view.connections()
    this.#pieceBytes = pieceBytes
    this.#piece = new Uint8Array(0)
  }

  /** Whether the scan came to the mark. */
  get reached(): boolean {
    return this.#reached
  }

  /** Where in the piece loaded last the records after the mark begin. */
  get markEnd(): number {
    invariant(this.#reached, 'the mark was reached')
    return this.#cursor.end
  }

  /** ADOPT records written. */
  get connections(): number {
    return this.#connections
  }

  /** Records written beside ADOPT, and input bytes in them. */
  get count(): { readonly records: number, readonly payload: number } {
    return { records: this.#records, payload: this.#payload }
  }

  /** Writes ADOPT records, at most about `recordsMax`; true when there is none left. */
  adopt(recordsMax: number): boolean {
    for (let count = 0; count < recordsMax; count++) {
      const next = this.#states.next()
      if (next.done === true) return true
      if (!isFinished(next.value)) this.#adoptOne(next.value)
    }
    return false
  }

  /**
   * Begins the scan of further whole records. `firstLsn` 0: they are an older base. Numbered records below
   * `from` are passed over: an older base holds what is left of them.
   */
  load(records: Uint8Array, firstLsn: number, from = 0): void {
    this.#cursor.reset(records)
    this.#from = from
    this.#isBase = firstLsn === 0
    this.#lsn = this.#isBase ? 0 : firstLsn - 1
  }

  /** Scans up to `recordsMax` records; true when the piece is through or the mark is reached. */
  scan(recordsMax: number): boolean {
    this.#copied = 0
    for (let count = 0; count < recordsMax && this.#copied < sliceBytesMax; count++) {
      if (!this.#cursor.next()) return true
      if (!this.#isBase) this.#lsn++
      if (this.#isBase || this.#lsn >= this.#from) this.#follow()
      if (this.#lsn === this.#view.mark.lsn) return this.#finish()
    }
    return false
  }

  /** Takes the pieces that are full; after the end of the scan all of them. */
  drain(): Uint8Array[] {
    if (this.#reached && this.#filled > 0) this.#closePiece()
    const pieces = this.#pieces
    this.#pieces = []
    return pieces
  }

  #adoptOne(state: ConnectionState): void {
    const inputEnd = state.ended ? state.input - 1 : state.input
    const from = Math.min(state.floor, inputEnd)
    this.#connections++
    this.#write({ ...pathOf(state), kind: RecordKind.adopt, input: inputOffset(from) })
    this.#kept.set(state.connection, {
      from, place: 0, input: state.input, ended: state.ended, floor: state.floor
    })
  }

  #follow(): void {
    const cursor = this.#cursor
    const kept = this.#kept.get(cursor.connection)
    if (!kept) return
    switch (cursor.kind) {
      case RecordKind.adopt: kept.place = cursor.input; break
      case RecordKind.data: this.#data(kept); break
      case RecordKind.end: this.#end(kept); break
      case RecordKind.reset: case RecordKind.guestEnd:
        this.#records++
        this.#write(cursor.record())
        break
      // What these say is in the ADOPT, or behind the END.
      case RecordKind.open: case RecordKind.connected: case RecordKind.read: case RecordKind.floor:
      case RecordKind.guestReset: case RecordKind.mark: break
      default: unreachable(cursor.kind)
    }
  }

  #data(kept: Kept): void {
    const cursor = this.#cursor
    const start = kept.place
    const length = cursor.bytesEnd - cursor.bytesStart
    kept.place += length
    const cut = Math.max(0, kept.from - start)
    if (cut >= length) return
    const bytes = cursor.payload().subarray(cut)
    this.#room(recordHeaderBytesMax + bytes.length)
    const at = writeDataHead(this.#piece, this.#filled, cursor.connection, bytes.length)
    this.#piece.set(bytes, at)
    this.#filled = at + bytes.length
    this.#copied += bytes.length
    this.#records++
    this.#payload += bytes.length
  }

  #end(kept: Kept): void {
    const record = this.#cursor.record()
    invariant(record.kind === RecordKind.end, 'an END record')
    kept.place++
    this.#records++
    this.#write(record)
    if (kept.floor < kept.place) return
    this.#records++
    this.#write({ kind: RecordKind.floor, connection: record.connection, input: kept.floor })
  }

  #finish(): true {
    invariant(this.#cursor.kind === RecordKind.mark, 'the record at the mark is a MARK', { lsn: this.#lsn })
    for (const [connection, kept] of this.#kept) {
      invariant(kept.place === kept.input, 'the scan found the input that the table knows',
        { connection, place: kept.place, input: kept.input })
    }
    this.#reached = true
    return true
  }

  #write(record: LogRecord): void {
    this.#room(recordBytesMax(record))
    this.#filled = writeRecord(this.#piece, this.#filled, record)
  }

  #room(bytes: number): void {
    if (this.#piece.length - this.#filled >= bytes) return
    if (this.#filled > 0) this.#closePiece()
    this.#piece = new Uint8Array(Math.max(this.#pieceBytes, bytes))
  }

  /** A piece much larger than its content would hold memory for nothing. */
  #closePiece(): void {
    const filled = this.#piece.subarray(0, this.#filled)
    this.#pieces.push(this.#filled * 2 < this.#piece.length ? filled.slice() : filled)
    this.#piece = new Uint8Array(0)
    this.#filled = 0
  }
}

function pathOf(state: ConnectionState): Pick<ConnectionState,
  'connection' | 'service' | 'connected' | 'output' | 'hash' | 'client' | 'path'> {
  const { connection, service, connected, output, hash, client, path } = state
  return { connection, service, connected, output, hash, client, path }
}
