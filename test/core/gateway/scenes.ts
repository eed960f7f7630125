import type { FailoverPhase } from '../../../src/core/gateway/protection.ts'
import type { GuestSettings } from '../../../src/core/gateway/settings.ts'
import { checkpointId, generation, lsn, noHistory, noLsn, type Lsn } from '../../../src/core/ids.ts'
import type { LogRecord } from '../../../src/core/record.ts'
import { adopt, encodeRecords } from './log-text.ts'
import { first, Rig } from './rig.ts'
import type { Pair, Peer } from './sides.ts'

/** A gateway that has read its state; nobody is linked. */
export function started(settings: Partial<GuestSettings> = {}): Rig {
  const rig = new Rig(settings)
  rig.gateway.start(first)
  rig.answer('persist')
  rig.ordered()
  rig.persisted = []
  return rig
}

/** ...and serves clients from host a. */
export function serving(settings: Partial<GuestSettings> = {}): Rig {
  const rig = started(settings)
  rig.linkUp('a')
  rig.beat('a')
  rig.running('a')
  rig.ordered()
  return rig
}

/** Host b comes as the backup, holds nothing, and takes the beginning of a history. */
export function sync(rig: Rig): void {
  rig.linkUp('b')
  rig.beat('b')
  rig.from('b', { type: 'position', canRestore: true, lastLsn: noLsn }, { history: noHistory })
  rig.acks()
  rig.ordered()
}

export function syncing(settings: Partial<GuestSettings> = {}): Rig {
  const rig = serving(settings)
  sync(rig)
  return rig
}

/** The guest stands still for checkpoint `id`, and gets its mark. */
export function mark(rig: Rig, id: number): Lsn {
  rig.from('a', { type: 'mark-request', checkpoint: checkpointId(id) })
  rig.answer('afterReads')
  const given = rig.messages('mark').findLast(message => message.checkpoint === id)
  if (given === undefined) throw new Error(`no mark for checkpoint ${id}`)
  return given.lsn
}

export function counts(rig: Rig, id: number, at: Lsn): void {
  rig.from('b', { type: 'counted', checkpoint: checkpointId(id), mark: at, bytes: 100 })
}

/** Checkpoint 7 counts. Returns its mark. */
export function protect(rig: Rig): Lsn {
  const at = mark(rig, 7)
  rig.acks()
  counts(rig, 7, at)
  rig.ordered()
  return at
}

/** History 1, with a checkpoint that counts. */
export function guarded(settings: Partial<GuestSettings> = {}): Rig {
  const rig = syncing(settings)
  protect(rig)
  return rig
}

/** A guarded guest with one client, whose connection is in the checkpoint. */
export function withClient(settings: Partial<GuestSettings> = {}): { rig: Rig, pair: Pair } {
  const rig = serving(settings)
  const pair = rig.joins()
  sync(rig)
  protect(rig)
  return { rig, pair }
}

/** The primary falls silent, and its failover goes on until it is in this phase. */
export function failOver(rig: Rig, until: FailoverPhase): void {
  rig.pass(400, 'b')
  for (let { failover } = rig.gateway; failover?.phase !== until; { failover } = rig.gateway) {
    if (failover === undefined) throw new Error(`no failover: ${rig.state}, ${rig.reason}`)
    step(rig, failover.phase)
  }
}

function step(rig: Rig, phase: FailoverPhase): void {
  switch (phase) {
    case 'fence': return rig.pass(100, 'b')
    case 'drain': return rig.answer('cutPath')
    case 'commit': return rig.acks()
    case 'persist': return rig.answer('persist')
    case 'restore': return promoted(rig)
    case 'open-network': return rig.from('b', { type: 'network-open' })
    case 'attach': case 'replay': throw new Error(`the step "${phase}" needs the test's own answers`)
  }
}

/** The guest is restored on host b, which says so twice: of its guest, and of the promotion. */
export function promoted(rig: Rig): void {
  rig.running('b')
  const { checkpoint = checkpointId(7), mark: at = lsn(0) } = rig.gateway.replication.lastCounted ?? {}
  rig.from('b', { type: 'promoted', checkpoint, mark: at, endpoints: ['b:80'], restoreMs: 1 })
}

/** A piece of the tail. */
export function tail(rig: Rig, ...records: readonly LogRecord[]): void {
  rig.from('b', { type: 'tail', firstLsn: lsn(0), records: encodeRecords(records) })
}

export function tailEnd(rig: Rig): void {
  rig.from('b', { type: 'tail-end', lastLsn: rig.gateway.writer.lastLsn })
}

/** Replays a tail into a guest that knows `count` connections of the checkpoint, whose clients are gone. */
export function replaying(
  count: number, records: readonly LogRecord[], settings: Partial<GuestSettings> = {}
): { readonly rig: Rig, readonly sides: readonly Peer[] } {
  const rig = guarded(settings)
  failOver(rig, 'attach')
  const ids = Array.from({ length: count }, (_, i) => i + 1)
  tail(rig, ...ids.map(id => adopt(id, 0, '')), ...records)
  return { rig, sides: ids.map(id => rig.knows(id, 0, 0)) }
}

/** Time passes as the ticks of a gateway have it pass. */
export function wait(rig: Rig, ms: number): void {
  for (let left = ms; left > 0; left -= 20) rig.pass(Math.min(left, 20), 'b')
}

export const two = { generation: generation(2) }
