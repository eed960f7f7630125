import type { OutputOffset } from '../ids.ts'
import type { Connection } from './connection.ts'
import type { DataPath } from './data-path.ts'
import type { Held } from './hold-queue.ts'

/**
 * Output that was held when the primary died, per connection. What the guest had said before it stood still
 * for the checkpoint is delivered. The rest is dropped: the restored guest says it again, and not always the
 * same.
 */
export class HeldOutput {
  readonly #dataPath: DataPath
  readonly #held = new Map<Connection, Held<Connection>[]>()

  constructor(dataPath: DataPath) {
    this.#dataPath = dataPath
    for (const held of dataPath.takeHeld()) {
      const list = this.#held.get(held.owner)
      if (list === undefined) this.#held.set(held.owner, [held])
      else list.push(held)
    }
  }

  /** Delivers what is held below `place` and drops the rest. */
  deliver(connection: Connection, place: OutputOffset): void {
    for (const held of this.#take(connection)) {
      const room = place - connection.released
      if (room <= 0) return
      if (held.bytes !== undefined) this.#dataPath.deliver(connection, held.bytes.subarray(0, room))
      else if (held.sign === 'end') this.#dataPath.deliverEnd(connection)
    }
  }

  drop(connection: Connection): void {
    this.#take(connection)
  }

  #take(connection: Connection): readonly Held<Connection>[] {
    const list = this.#held.get(connection) ?? []
    this.#held.delete(connection)
    return list
  }
}
