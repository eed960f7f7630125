import type { Connection } from '../../../src/core/gateway/connection.ts'
import type { GuestGateway } from '../../../src/core/gateway/guest-gateway.ts'
import { HeldOutput } from '../../../src/core/gateway/held-output.ts'
import { inputOffset, outputOffset, type HistoryId, type HostName } from '../../../src/core/ids.ts'
import type { Envelope, GatewayMessage } from '../../../src/core/message.ts'
import { encodeRecord, RecordCursor } from '../../../src/core/record-codec.ts'
import { RecordKind, type LogRecord } from '../../../src/core/record.ts'
import { ms } from '../clock.ts'
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
      core.message(host, { ...envelope, generation: core.generation },
        { type: 'ack', lsn: message.lastLsn }, clock.now())
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

/**
 * What the kernel has received for the old sockets is thrown away. That matters only for output that a
 * checkpoint has as acknowledged and nobody has read, which is rare: so this gateway is slow to read, and
 * does not catch up when the guest stands still. That much breaks no rule.
 */
class UndrainedPort extends SimGatewayPort {
  constructor(...of: ConstructorParameters<typeof SimGatewayPort>) {
    super(...of)
    this.world.scenario = { ...this.world.scenario, ackOnRead: false, readMax: ms(5) }
  }

  override afterReads(done: () => void): void {
    this.process.after(this.world.readDelay(), done)
  }

  override cutPath(done: () => void): void {
    this.machine.path = undefined
    this.process.after(this.world.readDelay(), () => {
      done()
      this.machine.forgetSockets()
    })
  }
}

/** A connection unknown to the restored guest is opened anew, whether or not it finished before the mark. */
class ReopeningPort extends SimGatewayPort {
  override attach(...[connection, service, path, received, events,
    done]: Parameters<SimGatewayPort['attach']>): void {
    super.attach(connection, service, path, received, events, result => {
      if (!result.ok || result.answer.known) return done(result)
      this.open(connection, service, events, opened => done(!opened.ok ? result : {
        ok: true, answer: {
          known: true, side: opened.path.side, input: inputOffset(0), output: outputOffset(0),
            resumesAt: outputOffset(0)
        }
      }))
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

/**
 * A gateway that claims a generation takes the guest before the others know of it. That matters only while
 * the one of before reaches just those others, and this one just the guest: so the links are cut that way
 * when it claims. That much breaks no rule.
 */
class LonelyPort extends SimGatewayPort {
  override send(host: HostName, envelope: Envelope, message: GatewayMessage): void {
    if (message.type !== 'assign' || message.role !== 'idle' || envelope.generation < 2) {
      return super.send(host, envelope, message)
    }
    const { network, gateway } = this.world
    network.cut(this.machine.name, host)
    const active = this.machine.core?.active
    if (active !== undefined) network.cut(gateway.name, active.name)
    this.process.after(0, () => {
      this.machine.core?.message(host, envelope,
        { type: 'guest', condition: 'absent', endpoints: [], reason: '' }, this.machine.clock.now())
    })
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
      const changed = what.type === 'tail' ? { ...what, records: encode(change(records(what.records))) }
        : what
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
    name: 'release-before-commit', rules: [1],
    gatewayPort: (world, machine, process) => new EagerPort(world, machine, process),
    gateway: dropRealAcks
  },
  { name: 'prune-one-byte-too-far', rules: [6],
    gatewayPort: (world, machine, process) => new HighFloorPort(world, machine, process) },
  { name: 'replay-out-of-order', rules: [2], gateway: changingTail(swapped) },
  {
    name: 'replay-twice', rules: [2],
    gateway: changingTail(all => all.flatMap((record): LogRecord[] => record.kind === RecordKind.data
      ? [record, record] : [record]))
  },
  { name: 'finished-connection-replayed', rules: [3],
    gatewayPort: (world, machine, process) => new ReopeningPort(world, machine, process) },
  { name: 'old-sockets-not-drained', rules: [6],
    gatewayPort: (world, machine, process) => new UndrainedPort(world, machine, process) },
  {
    name: 'held-output-above-the-restored-place', rules: [4],
    patch: () => {
      const { deliver } = HeldOutput.prototype
      HeldOutput.prototype.deliver = function (connection) {
        deliver.call(this, connection, outputOffset(Number.MAX_SAFE_INTEGER))
      }
      return () => { HeldOutput.prototype.deliver = deliver }
    }
  },
  { name: 'restart-keeps-history', rules: [2],
    gatewayPort: (world, machine, process) => new SameHistoryPort(world, machine, process) },
  { name: 'guest-taken-before-the-others-know', rules: [7],
    gatewayPort: (world, machine, process) => new LonelyPort(world, machine, process) }
]
