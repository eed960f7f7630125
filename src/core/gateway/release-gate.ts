import { lsn, type Lsn } from '../ids.ts'
import type { Connection } from './connection.ts'
import { HoldQueue, type Held } from './hold-queue.ts'
import type { LogWriter } from './log-writer.ts'

export interface ReleaseGateEvents {
  /** May go to the client now; called in the order in which it was read. */
  release(held: Held<Connection>): void
  /** Something of this connection that was held has gone. */
  freed(connection: Connection): void
  /** All that may go has gone. */
  drained(): void
}

/**
 * Holds output until it may go to the client (design, "Release modes"): in mode `epoch` until everything
 * logged before it was read is committed, in mode `checkpoint` until a checkpoint counts whose mark came
 * after it.
 */
export class ReleaseGate {
  readonly #writer: LogWriter
  readonly #events: ReleaseGateEvents
  readonly #epochs = new HoldQueue<Connection>()
  readonly #checkpoints = new HoldQueue<Connection>()
  /** In `checkpoint` mode output is held only once a checkpoint could count that lacks it. */
  #holdForCheckpoint = false

  constructor(writer: LogWriter, events: ReleaseGateEvents) {
    this.#writer = writer
    this.#events = events
  }

  get bytes(): number { return this.#epochs.bytes + this.#checkpoints.bytes }

  /** Lets it go at once if it may, and if nothing of its connection is before it. */
  pass(held: Held<Connection>): void {
    const connection = held.owner
    if (connection.heldItems === 0 && this.#isSafe(connection, held.barrier)) {
      this.#events.release(held)
      return
    }
    connection.heldItems++
    connection.heldBytes += held.bytes?.length ?? 0
    const queue = connection.release === 'checkpoint' ? this.#checkpoints : this.#epochs
    queue.push(held)
  }

  #isSafe(connection: Connection, barrier: Lsn): boolean {
    switch (connection.release) {
      case 'immediate': return true
      case 'epoch': return barrier <= this.#writer.committed
      case 'checkpoint': return !this.#holdForCheckpoint
    }
  }

  /** The backup has everything up to `committed`. */
  committed(committed: Lsn): void {
    this.#drain(this.#epochs, committed)
  }

  /** A mark was answered: output read from now on must wait for a later checkpoint. */
  holdForCheckpoint(): void {
    this.#holdForCheckpoint = true
  }

  /** The checkpoint with this mark counts: what had been read when the mark was given is safe. */
  checkpointCounted(mark: Lsn): void {
    this.#drain(this.#checkpoints, lsn(mark - 1))
  }

  /** No checkpoint can count for now: `checkpoint` mode has nothing to wait for. */
  releaseCheckpointMode(): void {
    this.#holdForCheckpoint = false
    this.#drain(this.#checkpoints, this.#writer.lastLsn)
  }

  #drain(queue: HoldQueue<Connection>, safe: Lsn): void {
    for (let held = queue.shift(safe); held !== undefined; held = queue.shift(safe)) {
      held.owner.heldItems--
      held.owner.heldBytes -= held.bytes?.length ?? 0
      this.#events.release(held)
      this.#events.freed(held.owner)
    }
    this.#events.drained()
  }

  /** Takes all held output out, for a failover to decide on. */
  takeAll(): Held<Connection>[] {
    const all = [...this.#epochs.takeAll(), ...this.#checkpoints.takeAll()]
    for (const { owner } of all) {
      owner.heldItems = 0
      owner.heldBytes = 0
    }
    return all
  }
}
