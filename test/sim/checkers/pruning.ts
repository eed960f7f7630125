import type { TailLog } from '../../../src/core/log/tail-log.ts'
import { RecordCursor } from '../../../src/core/record-codec.ts'
import { RecordKind } from '../../../src/core/record.ts'
import type { Guest, Tcb } from '../guest.ts'
import type { Host } from '../host.ts'
import type { Image, World } from '../world.ts'
import type { Logged } from './history.ts'

/**
 * Rule 6, by a naive model: it looks into the image that the log was pruned to and asks whether the log still
 * has every byte that the guest in it has not received.
 *
 * A socket is found by the port under which the history knew it at the mark: a guest may also hold sockets of
 * dials that were given up, and a client's connection gets another one when it is opened anew.
 *
 * Of a connection that the client reset before the mark nothing is sent again, so the log need not have input
 * of it that never arrived, whether it still has the connection or not. But what arrives after the mark all
 * the same, no restored guest would get.
 */
export class PruningChecker {
  readonly #world: World
  readonly #cursor = new RecordCursor()
  /** Up to where each socket has received input, by guest and port. */
  readonly #received = new Map<string, number>()
  /** Up to where it may: what comes later was pruned. */
  readonly #last = new Map<string, number>()

  constructor(world: World) {
    this.#world = world
  }

  /**
   * A guest's kernel takes input. What a gateway of before still sends is in no log of the one in charge:
   * GUARANTEES.md says so.
   */
  guestInput(guest: Guest, tcb: Tcb): void {
    const from = this.#world.ports.get(tcb.port)
    if (from !== undefined && from !== this.#world.gateway) return
    const key = `${guest.id} ${tcb.port}`
    this.#received.set(key, tcb.receive.received)
    this.#notBeyond(key, tcb.client)
  }

  pruned(host: string, log: TailLog, checkpoint: number): void {
    const { images, checks } = this.#world
    const image = images.get(checkpoint)
    const atMark = checks.atMark(log.books.history, checkpoint)
    if (image === undefined || atMark === undefined) {
      return this.#world.fail(6, `${host} pruned its log to a checkpoint that was never made`)
    }
    const starts = this.#starts(host, log)
    const byPort = new Map([...atMark].map(([connection, logged]) => [logged.port, { connection, logged }]))
    for (const tcb of image.snapshot.tcbs) {
      const known = byPort.get(tcb.port)
      if (known === undefined) this.#unknown(image, tcb)
      else this.#known(host, image, tcb, known.logged, starts.get(known.connection))
    }
  }

  /** Where the input of each connection in the log's base begins. Checks all input on the way. */
  #starts(host: string, log: TailLog): Map<number, number> {
    const { checks, clients } = this.#world
    const cursor = this.#cursor
    const starts = new Map<number, number>()
    const places = new Map<number, number>()
    for (const { records, firstLsn } of log.tail(1 << 20)) {
      cursor.reset(records)
      while (cursor.next()) {
        const { kind, connection } = cursor
        if (kind === RecordKind.adopt && firstLsn === 0) starts.set(connection, cursor.input)
        if (kind === RecordKind.adopt) places.set(connection, cursor.input)
        if (kind !== RecordKind.data) continue
        const client = checks.clientOf(connection, log.books.history)
        const place = places.get(connection) ?? 0
        const payload = cursor.payload()
        if (clients[client]?.sent.holds(place, payload) !== true) {
          this.#world.fail(6,
            `after a prune ${host} holds other input of client ${client} at ${place} than was sent`)
        }
        places.set(connection, place + payload.length)
      }
    }
    return starts
  }

  #known(host: string, image: Image, tcb: Tcb, logged: Logged, start: number | undefined): void {
    const { received } = tcb.receive
    const pruned = start ?? logged.place
    if (pruned <= received) return
    if (logged.reset) return this.#end(image, tcb)
    this.#world.fail(6, `${host} pruned input of client ${tcb.client} up to ${pruned}; in the checkpoint `
      + `its guest has ${received}`)
  }

  /**
   * The history had nothing of it at the mark: either it was being opened, or it was over before the history
   * began.
   */
  #unknown(image: Image, tcb: Tcb): void {
    if (tcb.receive.received > 0) this.#end(image, tcb)
  }

  #end(image: Image, tcb: Tcb): void {
    const key = `${image.guest} ${tcb.port}`
    this.#last.set(key, tcb.receive.received)
    this.#notBeyond(key, tcb.client)
  }

  #notBeyond(key: string, client: number): void {
    const last = this.#last.get(key)
    const received = this.#received.get(key)
    if (last === undefined || received === undefined || received <= last) return
    this.#world.fail(6, `the guest took input of client ${client} up to ${received}, of which neither log `
      + `nor checkpoint has what lies beyond ${last}`)
  }
}

/** Rules 5 and 6: a log is pruned only to an image that is whole at this host. */
export function checkPruneOrdered(world: World, host: Host, checkpoint: number): void {
  const image = world.images.get(checkpoint)
  const stored = host.images.bytesOf(checkpoint)
  if (image === undefined || stored === undefined || !sameBytes(image.bytes, stored)) {
    world.fail(6, `${host.name} prunes its log to checkpoint ${checkpoint}, whose image is not whole there`)
  }
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
