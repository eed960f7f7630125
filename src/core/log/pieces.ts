import { lsn, type Lsn } from '../ids.ts'
import { RecordCursor } from '../record-codec.ts'

/** Whole records, one after another. `firstLsn` is the first one's; 0 for the base. */
export interface Piece {
  readonly firstLsn: Lsn
  readonly records: Uint8Array
}

/** Cuts long runs of records into pieces that hold whole records. Makes views, copies nothing. */
export class PieceCutter {
  readonly #cursor = new RecordCursor()
  #records: Uint8Array = new Uint8Array(0)
  #at = 0
  #lsn = 0

  /** Whether everything that was loaded has been cut. */
  get isEmpty(): boolean {
    return this.#at >= this.#records.length
  }

  load(piece: Piece): void {
    this.#records = piece.records
    this.#at = 0
    this.#lsn = piece.firstLsn
  }

  /** Drops the records below `first` from the front of what was loaded. */
  skipTo(first: Lsn): void {
    if (this.#lsn === 0) return
    this.#cursor.reset(this.#records, this.#at)
    while (this.#lsn < first && this.#cursor.next()) {
      this.#at = this.#cursor.end
      this.#lsn++
    }
  }

  /** The next piece, at most `bytesMax` long unless its first record is longer; undefined at the end. */
  next(bytesMax: number): Piece | undefined {
    if (this.isEmpty) return undefined
    const start = this.#at
    const firstLsn = lsn(this.#lsn)
    if (this.#records.length - start <= bytesMax && this.#lsn === 0) {
      this.#at = this.#records.length
    } else {
      this.#advance(start + bytesMax)
    }
    return { firstLsn, records: this.#records.subarray(start, this.#at) }
  }

  #advance(limit: number): void {
    const start = this.#at
    this.#cursor.reset(this.#records, start)
    while (this.#cursor.next()) {
      if (this.#cursor.end > limit && this.#at > start) return
      this.#at = this.#cursor.end
      if (this.#lsn > 0) this.#lsn++
    }
  }
}
