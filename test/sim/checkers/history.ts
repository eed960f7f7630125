import { crc32 } from 'node:zlib'
import { RecordCursor } from '../../../src/core/record-codec.ts'
import { RecordKind } from '../../../src/core/record.ts'
import { portOf } from '../tcp.ts'
import type { World } from '../world.ts'

/** How far a history has come with a connection, by the checker's own count. */
export interface Logged {
  /** Input, the end counts one. */
  readonly place: number
  /** Which of the guest's sockets it has; 0 until the guest took it. */
  readonly port: number
  /** The client reset it. */
  readonly reset: boolean
}

const nothing: Logged = { place: 0, port: 0, reset: false }

interface History {
  readonly id: string
  /** What each lsn holds, as a checksum. */
  readonly content: Map<number, number>
  readonly connections: Map<number, Logged>
  /** The same at each mark, by checkpoint. */
  readonly atMark: Map<number, ReadonlyMap<number, Logged>>
}

/** Rule 2: a history has one content, which is what the clients sent, in order and without a hole. */
export class HistoryChecker {
  readonly #world: World
  readonly #histories = new Map<string, History>()
  readonly #cursor = new RecordCursor()

  constructor(world: World) {
    this.#world = world
  }

  atMark(history: string, checkpoint: number): ReadonlyMap<number, Logged> | undefined {
    return this.#histories.get(history)?.atMark.get(checkpoint)
  }

  #history(id: string): History {
    let history = this.#histories.get(id)
    if (history === undefined) {
      this.#histories.set(id, history = { id, content: new Map(), connections: new Map(), atMark: new Map() })
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
    const { kind, connection, checkpoint } = this.#cursor
    if (kind === RecordKind.mark) {
      history.atMark.set(checkpoint, new Map(history.connections))
      return
    }
    const before = history.connections.get(connection) ?? nothing
    const now = this.#after(history, before)
    history.connections.set(connection, now)
    if (now.place !== before.place || kind === RecordKind.adopt) {
      held(this.#world.checks.clientOf(connection, history.id), now.place)
    }
  }

  #after(history: History, before: Logged): Logged {
    const { kind, connection, input } = this.#cursor
    switch (kind) {
      case RecordKind.adopt: return { place: input, port: portOf(this.#cursor.payload()), reset: false }
      case RecordKind.connected: return { ...before, port: portOf(this.#cursor.payload()) }
      case RecordKind.end: return { ...before, place: before.place + 1 }
      case RecordKind.reset: return { ...before, reset: true }
      case RecordKind.data: {
        const client = this.#world.checks.clientOf(connection, history.id)
        const payload = this.#cursor.payload()
        if (this.#world.clients[client]?.sent.holds(before.place, payload) !== true) {
          this.#world.fail(2,
            `the log holds other input of client ${client} at ${before.place} than was sent`)
        }
        return { ...before, place: before.place + payload.length }
      }
      default: return before
    }
  }
}
