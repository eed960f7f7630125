import t from 'tap'
import { Connection } from '../../src/core/gateway/connection.ts'
import {
  checkpointId, connectionId, generation, historyId, hostName, inputOffset, lsn, outputHash, outputOffset
} from '../../src/core/ids.ts'
import { TailLog } from '../../src/core/log/tail-log.ts'
import { encodeRecord } from '../../src/core/record-codec.ts'
import { RecordKind, type LogRecord } from '../../src/core/record.ts'
import { Client } from './client.ts'
import { ClientStream } from './client-stream.ts'
import { Guest } from './guest.ts'
import { noBytes, pathOf } from './tcp.ts'
import { World } from './world.ts'

const connection = connectionId(1)
const checkpoint = checkpointId(1)
const input = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)
const brokenRule = { name: 'RuleBroken', rule: 6 }

interface Rig {
  readonly world: World
  /** The primary's guest. */
  readonly guest: Guest
  /** The guest takes a connection of the client on this port. */
  open(port: number): void
  /** Input of the client up to `end` arrives on this port. */
  arrive(port: number, start: number, end: number): void
  /** The guest's image is stored, and the log of a new history, which ends with its mark, pruned to it. */
  prune(...records: LogRecord[]): void
}

/** One client, whose connection has sent all of `input`. */
function rig(): Rig {
  const world = new World(1)
  world.scenario = { ...world.scenario, refuseChance: 0, guestBuffer: 100 }
  const [host] = world.hosts
  if (host === undefined) throw new RangeError('a scenario has hosts')
  const client = new Client(world, 0, {
    service: 0, requests: 1, depth: 1, thinkMicros: 0, slow: false, nonces: false, shared: false,
    ending: 'reset'
  })
  client.sent.push(input)
  world.clients.push(client)
  const side = new ClientStream(world, 0, world.gateway.process, client)
  const opened = new Connection(connection, 0, 'epoch', side, 'c0:1')
  world.checks.gatewayReport({ type: 'connection-open', connection: opened })
  const guest = new Guest(world, host)
  let histories = 0
  const segment = { offset: 0, bytes: noBytes, fin: false, ack: 0, edge: 100 }
  return {
    world, guest,
    open: port => { guest.receive({ ...segment, port, kind: 'syn' }, 0, 0) },
    arrive: (port, start, end) => {
      guest.receive({ ...segment, port, kind: 'data', offset: start, bytes: input.slice(start, end) }, 0, 0)
    },
    prune: (...before) => {
      const history = historyId(`00000000000000a${++histories}`)
      world.checks.gatewayReport({ type: 'history', history, backup: hostName('h2') })
      const records = [...before, { kind: RecordKind.mark, checkpoint } as const].map(encodeRecord)
      const log = new TailLog({ segmentBytes: 512, logBytes: 1 << 20 })
      log.begin(history, generation(1), lsn(1))
      log.append(lsn(1), lsn(records.length), records)
      world.checks.backupHolds('h2', history, 1, records.length, records)
      world.images.set(checkpoint, {
        bytes: noBytes, snapshot: guest.snapshot(), guest: guest.id, place: { stream: 1, index: 0 }
      })
      const job = log.prune({ checkpoint, lsn: lsn(records.length) })
      while (job.step(16) !== 'done') { /* it is all in memory */ }
      world.checks.pruned('h2', log, checkpoint)
    }
  }
}

const open: LogRecord = { kind: RecordKind.open, connection, service: 0, client: 'c0:1' }
const data: LogRecord = { kind: RecordKind.data, connection, bytes: input }
const reset: LogRecord = { kind: RecordKind.reset, connection }
const floor = (at: number): LogRecord => ({ kind: RecordKind.floor, connection, input: inputOffset(at) })

function connected(port: number): LogRecord {
  return { kind: RecordKind.connected, connection, path: pathOf(port) }
}

/** What stands for a connection that was there before the history. */
const adopt: LogRecord = {
  kind: RecordKind.adopt, connection, service: 0, client: 'c0:1', connected: true, path: pathOf(1),
  input: inputOffset(input.length), output: outputOffset(0), hash: outputHash(0)
}

void t.test('input that the guest in the image has not received may not be pruned', t => {
  const { open: take, arrive, prune } = rig()
  take(1)
  arrive(1, 0, 5)
  t.doesNotThrow(() => { prune(open, connected(1), data, floor(5)) })
  t.throws(() => { prune(open, connected(1), data, floor(6)) }, brokenRule)
  t.end()
})

void t.test('the socket of a dial that was given up is not taken for that of the connection', t => {
  const { open: take, arrive, prune } = rig()
  take(1)
  take(2)
  arrive(2, 0, 8)
  t.doesNotThrow(() => { prune(open, connected(2), data, floor(8)) })
  t.throws(() => { prune(open, connected(1), data, floor(8)) }, brokenRule, 'nor the other way round')
  t.end()
})

void t.test('input of a connection that was reset before the mark may be missing, and stays so', t => {
  const { open: take, arrive, prune } = rig()
  take(1)
  arrive(1, 0, 5)
  t.throws(() => { prune(adopt) }, brokenRule, 'it is only missing')
  t.doesNotThrow(() => { prune(adopt, reset) })
  t.doesNotThrow(() => { arrive(1, 0, 5) }, 'what the guest has comes again')
  t.throws(() => { arrive(1, 5, 8) }, brokenRule, 'what was pruned arrives after the mark')
  t.end()
})

void t.test('input of a connection of which the history knows nothing may not arrive after the mark', t => {
  const { open: take, arrive, prune } = rig()
  take(1)
  take(2)
  arrive(1, 0, 5)
  t.doesNotThrow(() => { prune() })
  t.doesNotThrow(() => { arrive(2, 0, 8) }, 'one that was only being opened may still be logged')
  t.throws(() => { arrive(1, 5, 8) }, brokenRule)
  t.end()
})
