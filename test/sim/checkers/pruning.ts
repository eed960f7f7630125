import type { TailLog } from '../../../src/core/log/tail-log.ts'
import { RecordCursor } from '../../../src/core/record-codec.ts'
import { RecordKind } from '../../../src/core/record.ts'
import type { Host } from '../host.ts'
import type { World } from '../world.ts'

/**
 * Rule 6, by a naive model: it looks into the image that the log was pruned to and asks whether the log still
 * has every byte that the guest in it has not received.
 */
export function checkPruned(world: World, host: string, log: TailLog, checkpoint: number): void {
  const image = world.images.get(checkpoint)
  if (image === undefined) return world.fail(6, `${host} pruned its log to a checkpoint that was never made`)
  const starts = new Map<number, number>()
  const cursor = new RecordCursor()
  const places = new Map<number, number>()
  for (const { records, firstLsn } of log.tail(1 << 20)) {
    cursor.reset(records)
    while (cursor.next()) {
      const client = world.checks.clientOf(cursor.connection, log.books.history)
      if (cursor.kind === RecordKind.adopt && firstLsn === 0) starts.set(client, cursor.input)
      if (cursor.kind === RecordKind.adopt) places.set(client, cursor.input)
      if (cursor.kind !== RecordKind.data) continue
      const place = places.get(client) ?? 0
      const payload = cursor.payload()
      if (world.clients[client]?.sent.holds(place, payload) !== true) {
        return world.fail(6,
          `after a prune ${host} holds other input of client ${client} at ${place} than was sent`)
      }
      places.set(client, place + payload.length)
    }
  }
  const atMark = world.checks.placesAtMark(log.books.history, checkpoint)
  for (const tcb of image.snapshot.tcbs) {
    const connection = world.checks.connectionOf(tcb.client)
    const logged = connection === undefined ? undefined : atMark?.get(connection)
    if (connection === undefined || logged === undefined
      || world.checks.portOf(tcb.client) !== tcb.port) continue
    const has = starts.get(tcb.client)
    const { received } = tcb.receive
    if (has === undefined ? logged > received : has > received) {
      return world.fail(6,
        `${host} pruned input of client ${tcb.client} up to ${has ?? logged}; in the checkpoint `
        + `its guest has ${received}`)
    }
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
