import { crc32 } from 'node:zlib'
import { RecordCursor } from '../../../src/core/record-codec.ts'
import { RecordKind } from '../../../src/core/record.ts'
import type { World } from '../world.ts'

interface History {
  readonly id: string
  /** What each lsn holds, as a checksum. */
  readonly content: Map<number, number>
  /** Input logged of each connection, by the checker's own count. */
  readonly places: Map<number, number>
  /** The same at each mark, by checkpoint. */
  readonly atMark: Map<number, Map<number, number>>
}

/** Rule 2: a history has one content, which is what the clients sent, in order and without a hole. */
export class HistoryChecker {
  readonly #world: World
  readonly #histories = new Map<string, History>()
  readonly #cursor = new RecordCursor()

  constructor(world: World) {
    this.#world = world
  }

  placesAtMark(history: string, checkpoint: number): Map<number, number> | undefined {
    return this.#histories.get(history)?.atMark.get(checkpoint)
  }

  #history(id: string): History {
    let history = this.#histories.get(id)
    if (history === undefined) {
      this.#histories.set(id, history = { id, content: new Map(), places: new Map(), atMark: new Map() })
    }
    return history
  }

  /** A backup has stored these records. `held` is told how far each client's input is stored. */
  stored(
    id: string, firstLsn: number, records: readonly Uint8Array[],
      held: (client: number, place: number) => void
  ): void {
    const history = this.#history(id)
    const cursor = this.#cursor
    let lsn = firstLsn
    for (const bytes of records) {
      cursor.reset(bytes)
      while (cursor.next()) {
        this.#record(history, lsn, bytes, held)
        lsn++
      }
    }
  }

  #record(
    history: History, lsn: number, bytes: Uint8Array, held: (client: number, place: number) => void
  ): void {
    const { start, end } = this.#cursor
    const sum = crc32(bytes.subarray(start, end))
    const known = history.content.get(lsn)
    if (known !== undefined) {
      if (known !== sum) this.#world.fail(2, `lsn ${lsn} of one history holds two different records`)
      return
    }
    history.content.set(lsn, sum)
    this.#follow(history, held)
  }

  #follow(history: History, held: (client: number, place: number) => void): void {
    const { kind, connection, input } = this.#cursor
    const client = this.#world.checks.clientOf(connection, history.id)
    const place = history.places.get(connection) ?? 0
    let now = place
    if (kind === RecordKind.adopt) now = input
    else if (kind === RecordKind.end) now = place + 1
    else if (kind === RecordKind.mark) history.atMark.set(this.#cursor.checkpoint, new Map(history.places))
    else if (kind === RecordKind.data) {
      const payload = this.#cursor.payload()
      now = place + payload.length
      if (this.#world.clients[client]?.sent.holds(place, payload) !== true) {
        this.#world.fail(2, `the log holds other input of client ${client} at ${place} than was sent`)
      }
    }
    history.places.set(connection, now)
    if (now !== place || kind === RecordKind.adopt) held(client, now)
  }
}
