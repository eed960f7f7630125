import type { Connection } from '../../../src/core/gateway/connection.ts'
import type { GuestGateway } from '../../../src/core/gateway/guest-gateway.ts'
import { HeldOutput } from '../../../src/core/gateway/held-output.ts'
import { outputOffset, type HistoryId, type HostName } from '../../../src/core/ids.ts'
import type { Envelope, GatewayMessage } from '../../../src/core/message.ts'
import { encodeRecord, RecordCursor } from '../../../src/core/record-codec.ts'
import { RecordKind, type LogRecord } from '../../../src/core/record.ts'
import { SimGatewayPort } from '../gateway-port.ts'
import { join } from '../protocol.ts'
import { noBytes } from '../tcp.ts'
import type { World } from '../world.ts'
import type { Canary } from './canary.ts'

/** Every epoch counts as acknowledged as soon as it is sent. */
class EagerPort extends SimGatewayPort {
  override send(host: HostName, envelope: Envelope, message: GatewayMessage): void {
    super.send(host, envelope, message)
    if (message.type !== 'epoch') return
    this.process.after(0, () => {
      const { core, clock } = this.machine
      if (core === undefined || core.writer.history !== envelope.history) return
      if (message.lastLsn <= core.writer.committed) return
      core.message(host, { ...envelope, generation: core.generation }, { type: 'ack', lsn: message.lastLsn }, clock.now())
    })
  }
}

/** The real acknowledgement of what was acknowledged before must not be taken for a new one. */
function dropRealAcks(core: GuestGateway): void {
  const message = core.message.bind(core)
  core.message = (name, envelope, what, now) => {
    if (what.type === 'ack' && what.lsn <= core.writer.committed) return
    message(name, envelope, what, now)
  }
}

/** Floors are one byte too high. */
class HighFloorPort extends SimGatewayPort {
  override noteFloor(connection: Connection['id'], floor: number): void {
    super.noteFloor(connection, floor + 1)
  }
}

/** What the kernel has received for the old sockets is thrown away. */
class UndrainedPort extends SimGatewayPort {
  override cutPath(done: () => void): void {
    this.machine.path = undefined
    this.process.after(this.world.readDelay(), () => {
      done()
      this.machine.forgetSockets()
    })
  }
}

/** A gateway that starts again takes up the history of the one before. */
class SameHistoryPort extends SimGatewayPort {
  #first = true

  override newHistory(): HistoryId {
    const before = this.#first ? lastHistory.get(this.world) : undefined
    this.#first = false
    const history = before ?? super.newHistory()
    lastHistory.set(this.world, history)
    return history
  }
}

const lastHistory = new WeakMap<World, HistoryId>()

function records(bytes: Uint8Array): LogRecord[] {
  const cursor = new RecordCursor(bytes)
  const all: LogRecord[] = []
  while (cursor.next()) all.push(cursor.record())
  return all
}

function encode(all: readonly LogRecord[]): Uint8Array {
  return all.reduce<Uint8Array>((bytes, record) => join(bytes, encodeRecord(record)), noBytes)
}

/** Changes each piece of the tail before the gateway has it. */
function changingTail(change: (records: LogRecord[]) => LogRecord[]): (core: GuestGateway) => void {
  return core => {
    const message = core.message.bind(core)
    core.message = (name, envelope, what, now) => {
      const changed = what.type === 'tail' ? { ...what, records: encode(change(records(what.records))) } : what
      message(name, envelope, changed, now)
    }
  }
}

/** The last two inputs of a piece change places. */
function swapped(all: LogRecord[]): LogRecord[] {
  const inputs = all.flatMap((record, i) => record.kind === RecordKind.data ? [i] : [])
  const [a, b] = inputs.slice(-2)
  if (a === undefined || b === undefined) return all
  return all.map((record, i) => i === a ? all[b] ?? record : i === b ? all[a] ?? record : record)
}

export const gatewayCanaries: readonly Canary[] = [
  {
    name: 'release-before-commit',
    gatewayPort: (world, machine, process) => new EagerPort(world, machine, process),
    gateway: dropRealAcks
  },
  { name: 'prune-one-byte-too-far', gatewayPort: (world, machine, process) => new HighFloorPort(world, machine, process) },
  { name: 'replay-out-of-order', gateway: changingTail(swapped) },
  {
    name: 'replay-twice',
    gateway: changingTail(all => all.flatMap((record): LogRecord[] => record.kind === RecordKind.data ? [record, record] : [record]))
  },
  {
    name: 'finished-connection-replayed',
    gateway: changingTail(all => all.map(record =>
      record.kind === RecordKind.adopt ? { ...record, connected: false } : record))
  },
  { name: 'old-sockets-not-drained', gatewayPort: (world, machine, process) => new UndrainedPort(world, machine, process) },
  {
    name: 'held-output-above-the-restored-place',
    patch: () => {
      const { deliver } = HeldOutput.prototype
      HeldOutput.prototype.deliver = function (connection) {
        deliver.call(this, connection, outputOffset(Number.MAX_SAFE_INTEGER))
      }
      return () => { HeldOutput.prototype.deliver = deliver }
    }
  },
  { name: 'restart-keeps-history', gatewayPort: (world, machine, process) => new SameHistoryPort(world, machine, process) }
]
