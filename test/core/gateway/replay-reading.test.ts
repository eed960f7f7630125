import { crc32 } from 'node:zlib'
import t from 'tap'
import type { Connection } from '../../../src/core/gateway/connection.ts'
import type { DataPath } from '../../../src/core/gateway/data-path.ts'
import { HeldOutput } from '../../../src/core/gateway/held-output.ts'
import type { GatewayPort } from '../../../src/core/gateway/port.ts'
import { Replay } from '../../../src/core/gateway/replay.ts'
import type { GuestSettings } from '../../../src/core/gateway/settings.ts'
import {
  connectionId, inputOffset, millis, outputHash, outputOffset, type ConnectionId
} from '../../../src/core/ids.ts'
import { encodeRecord } from '../../../src/core/record-codec.ts'
import { RecordKind, type LogRecord } from '../../../src/core/record.ts'
import type { StreamEvents, StreamSide } from '../../../src/core/stream.ts'

const connection = connectionId(1)
const keptMax = 64
const timeoutMs = 250

/** The side of a restored guest: what it says arrives only while it is read, as in a kernel. */
class GuestSide implements StreamSide {
  readonly backlog = 0
  readonly #events: StreamEvents
  readonly #waiting: ((events: StreamEvents) => void)[] = []
  #paused = true

  constructor(events: StreamEvents) { this.#events = events }

  /** What was said and not read yet. */
  get unread(): number { return this.#waiting.length }

  say(bytes: Uint8Array): void { this.#say(events => { events.data(bytes) }) }
  sayEnd(): void { this.#say(events => { events.end() }) }
  sayReset(): void { this.#say(events => { events.reset() }) }

  #say(what: (events: StreamEvents) => void): void {
    this.#waiting.push(what)
    this.#deliver()
  }

  #deliver(): void {
    while (!this.#paused) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      next(this.#events)
    }
  }

  pause(): void { this.#paused = true }

  resume(): void {
    this.#paused = false
    this.#deliver()
  }

  write(): void { /* the tests have no input */ }
  end(): void { /* nor its end */ }
  reset(): void { /* nobody looks */ }
  abandon(): void { /* nobody looks */ }
}

interface Rig {
  readonly replay: Replay
  readonly guest: GuestSide
  readonly diverged: string[]
  readonly done: () => boolean
  feed(record: LogRecord): void
}

/** The replay of one connection, which is in the checkpoint and whose client is gone. */
function replayOfGhost(): Rig {
  const diverged: string[] = []
  let done = false
  let guest: GuestSide | undefined
  const port: Partial<GatewayPort> = {
    hash: (bytes, previous) => outputHash(crc32(bytes, previous)), acknowledge: () => undefined,
    report: report => { if (report.type === 'diverged') diverged.push(report.reason) },
    attach: (_connection, _service, _path, _received, events, answer) => {
      const side = guest = new GuestSide(events)
      const [input, output] = [inputOffset(0), outputOffset(0)]
      answer({ ok: true, answer: { known: true, side, input, output, resumesAt: output } })
    }
  }
  const dataPath: Pick<DataPath, 'connections' | 'takeHeld'> = {
    connections: new Map<ConnectionId, Connection>(), takeHeld: () => []
  }
  const settings: Partial<GuestSettings> = {
    services: [{ name: 'shop', release: 'epoch' }],
    connectionBytes: keptMax, replayOrder: 'output', replayTimeoutMs: timeoutMs
  }
  const replay = new Replay({
    settings: settings as GuestSettings, port: port as GatewayPort, dataPath: dataPath as DataPath,
    held: new HeldOutput(dataPath as DataPath), now: millis(0), progress: () => undefined,
    goingLive: () => undefined, done: () => { done = true }, diverged: () => undefined
  })
  const feed = (record: LogRecord): void => { replay.feed(encodeRecord(record)) }
  feed({
    kind: RecordKind.adopt, connection, service: 0, connected: true, client: '', path: new Uint8Array(0),
    input: inputOffset(0), output: outputOffset(0), hash: outputHash(0)
  })
  if (guest === undefined) throw new RangeError('the connection was not asked about')
  return { replay, guest, diverged, done: () => done, feed }
}

function read(bytes: Uint8Array): LogRecord {
  return {
    kind: RecordKind.read, connection, output: outputOffset(bytes.length), hash: outputHash(crc32(bytes))
  }
}

void t.test('the end of output is awaited though more output than is kept came ahead of the tail', t => {
  const { replay, guest, diverged, done, feed } = replayOfGhost()
  const said = new Uint8Array(keptMax * 2).fill(7)
  guest.say(said)
  guest.say(new Uint8Array(0))
  t.equal(guest.unread, 1, 'too much of it is kept: it is not read on')
  feed(read(said))
  guest.sayEnd()
  feed({ kind: RecordKind.guestEnd, connection, output: outputOffset(said.length) })
  replay.tailEnd()
  t.same(diverged, [])
  t.ok(done())
  t.end()
})

void t.test('output that is awaited in parts is read on at each', t => {
  const { replay, guest, diverged, done, feed } = replayOfGhost()
  const said = Uint8Array.from({ length: keptMax * 3 }, (_none, i) => i)
  guest.say(said)
  guest.say(said)
  feed(read(said.subarray(0, keptMax)))
  t.equal(guest.unread, 1, 'what is left is still too much')
  feed(read(said.subarray(0, keptMax * 2)))
  t.equal(guest.unread, 0, 'there is room again')
  feed(read(said))
  replay.tailEnd()
  t.same(diverged, [])
  t.ok(done())
  t.end()
})

void t.test('the reset by a guest is awaited though it says more before it than had been read', t => {
  const { replay, guest, diverged, done, feed } = replayOfGhost()
  guest.say(new Uint8Array(keptMax * 2))
  guest.sayReset()
  t.equal(guest.unread, 1)
  feed({ kind: RecordKind.guestReset, connection, output: outputOffset(0) })
  replay.tailEnd()
  t.same(diverged, [])
  t.ok(done())
  t.end()
})

void t.test('a guest that talks on in place of its reset is not waited for without end', t => {
  const { replay, guest, diverged, done, feed } = replayOfGhost()
  feed({ kind: RecordKind.guestReset, connection, output: outputOffset(0) })
  replay.tailEnd()
  for (let now = 0; now <= timeoutMs * 2; now += timeoutMs / 2) {
    guest.say(new Uint8Array(keptMax))
    replay.tick(millis(now))
  }
  t.same(diverged, ['it did not make again what it had said'])
  t.ok(done())
  t.end()
})
