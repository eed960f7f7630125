import t from 'tap'
import { DataPath } from '../../../src/core/gateway/data-path.ts'
import { LogWriter } from '../../../src/core/gateway/log-writer.ts'
import type { GatewayPort } from '../../../src/core/gateway/port.ts'
import type { GuestSettings, HostSettings } from '../../../src/core/gateway/settings.ts'
import {
  checkpointId, connectionId, generation, historyId, inputOffset, lsn, outputHash, type ConnectionId
} from '../../../src/core/ids.ts'
import { TailLog } from '../../../src/core/log/tail-log.ts'
import { RecordKind } from '../../../src/core/record.ts'
import type { StreamSide } from '../../../src/core/stream.ts'
import type { Rig } from './rig.ts'
import { counts, guarded, mark, serving, sync } from './scenes.ts'

const resetTaken = (rig: Rig, id: number): void => {
  rig.turn(() => { rig.gateway.dataPath.floors.resetTaken(connectionId(id)) })
}

/** A client whose request the guest has not acknowledged resets its connection. */
function requestAndReset(rig: Rig): ConnectionId {
  const { id, client } = rig.joins()
  client.says('request')
  client.resets()
  rig.acks()
  return id
}

void t.test('a reset is behind the guest at the second mark, if the first one counts', t => {
  const rig = guarded()
  requestAndReset(rig)
  rig.logged()
  const at = mark(rig, 8)
  rig.acks()
  t.same(rig.logged(), ['mark 8'], 'it may be on its way still when the guest stands still')
  counts(rig, 8, at)
  rig.acks()
  t.same(rig.logged(), ['guest reset 1 at 0'], 'the guest has run on since')
  mark(rig, 9)
  t.same(rig.logged(), ['mark 9'], 'once')
  t.end()
})

void t.test('a mark whose checkpoint does not count, or from before the reset, proves nothing', t => {
  const rig = guarded()
  const before = mark(rig, 8)
  requestAndReset(rig)
  rig.logged()
  counts(rig, 8, before)
  mark(rig, 9)
  rig.from('a', { type: 'checkpoint-failed', checkpoint: checkpointId(9), reason: 'it was too slow' })
  const second = mark(rig, 10)
  requestAndReset(rig)
  rig.acks()
  t.same(rig.logged().filter(text => text.startsWith('guest reset')), [])
  counts(rig, 10, second)
  rig.acks()
  t.same(rig.logged(), ['guest reset 1 at 0'], 'the reset after the mark is not meant')
  t.end()
})

void t.test('a guest that tells when it has taken a reset is believed, and nobody else is', t => {
  const rig = guarded({ resetsTold: true })
  const id = requestAndReset(rig)
  rig.logged()
  for (const checkpoint of [8, 9, 10]) {
    counts(rig, checkpoint, mark(rig, checkpoint))
    rig.acks()
  }
  t.same(rig.logged(), ['mark 8', 'mark 9', 'mark 10'], 'it may read all that was sent much later')
  resetTaken(rig, id)
  resetTaken(rig, id)
  rig.acks()
  t.same(rig.logged(), ['guest reset 1 at 0'])
  t.end()
})

void t.test('floors go on after a reset, and do not finish the connection', t => {
  const rig = guarded({ resetsTold: true })
  const id = requestAndReset(rig)
  rig.logged()
  rig.gateway.noteFloor(id, inputOffset(7))
  mark(rig, 8)
  rig.acks()
  t.same(rig.logged(), ['floor 1 at 7', 'mark 8'])
  resetTaken(rig, id)
  rig.acks()
  t.same(rig.logged(), ['guest reset 1 at 0'])
  t.end()
})

void t.test('a reset that the guest has not taken is told to the log of the next history', t => {
  const rig = serving({ resetsTold: true })
  const { client, id } = rig.joins()
  client.says('request')
  client.resets()
  sync(rig)
  t.same(rig.logged(), ['adopt 1 in 7 out 0', 'reset 1'])
  rig.from('a', { type: 'mark-request', checkpoint: checkpointId(8) })
  rig.answer('afterReads')
  t.match(rig.messages('mark-refused'), [{ reason: /connection 1 has input from before/ }])
  resetTaken(rig, id)
  mark(rig, 9)
  rig.acks()
  t.same(rig.logged(), ['guest reset 1 at 0', 'mark 9'])
  t.end()
})

void t.test('of a connection that the guest never took, nothing is awaited', t => {
  const rig = guarded({ resetsTold: true })
  rig.comes().resets()
  t.same([...rig.gateway.dataPath.floors.lingering], [])
  t.end()
})

// ---- the leak

const side: StreamSide = {
  backlog: 0, write: () => undefined, end: () => undefined, reset: () => undefined,
  abandon: () => undefined, pause: () => undefined, resume: () => undefined
}

/** A gateway's data path whose log goes straight into a backup's. */
class Line {
  readonly path: DataPath
  readonly log = new TailLog({ segmentBytes: 4096, logBytes: 1 << 20 })
  readonly #writer: LogWriter

  constructor(resetsTold: boolean) {
    this.#writer = new LogWriter({
      epochBytes: 1 << 16, inFlightBytes: 1 << 20,
      gathering: () => undefined,
      send: (_history, { firstLsn, lastLsn, records }) => { this.log.append(firstLsn, lastLsn, records) }
    })
    const port: Pick<GatewayPort, 'report' | 'hash' | 'acknowledge' | 'open'> = {
      report: () => undefined, hash: () => outputHash(0),
      acknowledge: () => undefined,
      open: (_connection, _service, _events, done) => {
        done({ ok: true, path: { side, path: new Uint8Array(0) } })
      }
    }
    const settings: Partial<GuestSettings> = {
      hosts: Array<HostSettings>(2), services: [{ name: 's', release: 'epoch' }], connections: 10,
      connectionBytes: 4096, heldBytes: 4096, floorsFromBacklog: false, resetsTold
    }
    this.path = new DataPath(settings as GuestSettings, port as GatewayPort, this.#writer)
    this.path.thaw()
    const history = historyId('00000000000000a1')
    this.log.begin(history, generation(1), this.#writer.begin(history))
    this.path.adoptAll()
  }

  /** Clients come, send a request each, and reset. Returns the ids of their connections. */
  resets(count: number): ConnectionId[] {
    return Array.from({ length: count }, () => {
      const client = this.path.accept(0, side, '10.0.0.1:1000')
      const id = [...this.path.connections.keys()].at(-1)
      if (client === undefined || id === undefined) throw new Error('there is room for every client')
      client.data(new Uint8Array(100))
      client.reset()
      return id
    })
  }

  /** A checkpoint is made, counts, and the log is pruned to it. */
  checkpoint(id: number): void {
    const checkpoint = checkpointId(id)
    this.path.floors.log(Number.MAX_SAFE_INTEGER)
    const at = this.#writer.append({ kind: RecordKind.mark, checkpoint })
    this.#settle()
    const job = this.log.prune({ checkpoint, lsn: at })
    while (job.step(1000) !== 'done') { /* it is all in memory */ }
    this.path.floors.counted(at)
    this.#settle()
  }

  #settle(): void {
    while (this.#writer.committed < this.#writer.lastLsn) {
      this.#writer.flush()
      this.#writer.acknowledge(lsn(this.log.lastLsn))
    }
  }
}

const rounds = 100
const perRound = 100

void t.test('clients that reset again and again do not fill the log', t => {
  for (const resetsTold of [false, true]) {
    const line = new Line(resetsTold)
    let most = { bytes: 0, connections: 0, lingering: 0 }
    let taken: readonly ConnectionId[] = []
    for (let round = 1; round <= rounds; round++) {
      const reset = line.resets(perRound)
      line.checkpoint(round)
      most = {
        bytes: Math.max(most.bytes, line.log.recordBytes),
        connections: Math.max(most.connections, line.log.books.index.size),
        lingering: Math.max(most.lingering, [...line.path.floors.lingering].length)
      }
      // The guest takes what was reset, after the next checkpoint.
      if (resetsTold) for (const id of taken) line.path.floors.resetTaken(id)
      taken = reset
    }
    const some = resetsTold ? 3 * perRound : perRound
    t.ok(most.connections >= perRound && most.connections <= some, 'those of the last rounds', most)
    t.ok(most.bytes <= some * 200, 'and their input', most)
    t.ok(most.lingering <= (resetsTold ? some : 0), 'nor the memory of the gateway', most)
  }
  t.end()
})

void t.test('the log keeps what a guest has not taken, however many checkpoints there are', t => {
  const line = new Line(true)
  const [one] = line.resets(1)
  for (let round = 1; round <= 5; round++) line.checkpoint(round)
  const kinds = [...line.log.tail(4096)].length
  t.same([kinds, line.log.books.connections, line.log.books.tailBytes], [1, 1, 100])
  if (one !== undefined) line.path.floors.resetTaken(one)
  line.checkpoint(6)
  t.same([line.log.books.connections, line.log.books.tailBytes, line.log.recordBytes], [0, 0, 0])
  t.end()
})
