import { crc32 } from 'node:zlib'
import t from 'tap'
import type { Ending } from '../../../src/core/gateway/connection.ts'
import { DataPath } from '../../../src/core/gateway/data-path.ts'
import { HeldOutput } from '../../../src/core/gateway/held-output.ts'
import { LogWriter } from '../../../src/core/gateway/log-writer.ts'
import type { GatewayPort } from '../../../src/core/gateway/port.ts'
import { Replay } from '../../../src/core/gateway/replay.ts'
import type { GuestSettings, HostSettings } from '../../../src/core/gateway/settings.ts'
import { connectionId, inputOffset, millis, outputHash, outputOffset } from '../../../src/core/ids.ts'
import { encodeRecord } from '../../../src/core/record-codec.ts'
import { RecordKind } from '../../../src/core/record.ts'
import type { StreamEvents, StreamSide } from '../../../src/core/stream.ts'

const noBytes = new Uint8Array(0)

/** A side that notes what it is told. */
function noting(told: string[]): StreamSide {
  return {
    backlog: 0, write: bytes => { told.push(`${bytes.length} bytes`) }, end: () => { told.push('end') },
    reset: () => { told.push('reset') }, abandon: () => undefined, pause: () => undefined,
    resume: () => undefined
  }
}

/**
 * A failover of one connection that is in the checkpoint. Its restored guest answers with five bytes, ends,
 * and then resets. Returns what the client is told, and how the connection ends.
 */
function replayed(clientEnds: boolean): { readonly told: string[], readonly endings: Ending[] } {
  const told: string[] = []
  const endings: Ending[] = []
  const writer = new LogWriter({
    epochBytes: 4096, inFlightBytes: 4096,
    gathering: () => undefined, send: () => undefined
  })
  const restored: StreamEvents[] = []
  const input = inputOffset(clientEnds ? 4 : 3)
  const port: Partial<GatewayPort> = {
    hash: (bytes, previous) => outputHash(crc32(bytes, previous)),
    acknowledge: () => undefined,
    report: report => { if (report.type === 'connection-end') endings.push(report.ending) },
    open: (_connection, _service, _events, done) => {
      done({ ok: true, path: { side: noting([]), path: noBytes } })
    },
    attach: (_connection, _service, _path, _received, events, done) => {
      restored.push(events)
      const start = outputOffset(0)
      done({ ok: true, answer: { known: true, side: noting([]), input, output: start, resumesAt: start } })
    }
  }
  const settings: Partial<GuestSettings> = {
    hosts: Array<HostSettings>(2), services: [{ name: 's', release: 'immediate' }],
    connections: 10, connectionBytes: 4096, heldBytes: 4096,
    replayOrder: 'output', replayTimeoutMs: 250
  }
  const dataPath = new DataPath(settings as GuestSettings, port as GatewayPort, writer)
  dataPath.thaw()
  const client = dataPath.accept(0, noting(told), '')
  client?.data(new Uint8Array(3))
  if (clientEnds) client?.end()
  dataPath.freeze()
  dataPath.abandonGuestSides()

  const replay = new Replay({
    settings: settings as GuestSettings, port: port as GatewayPort, dataPath,
    held: new HeldOutput(dataPath), now: millis(0), progress: () => undefined, goingLive: () => writer.stop(),
    done: () => { dataPath.thaw() }, diverged: () => undefined
  })
  replay.feed(encodeRecord({
    kind: RecordKind.adopt, connection: connectionId(1), service: 0, connected: true, client: '',
    path: noBytes, input, output: outputOffset(0), hash: outputHash(0)
  }))
  restored[0]?.data(new Uint8Array(5))
  restored[0]?.end()
  restored[0]?.reset()
  replay.tailEnd()
  return { told, endings }
}

void t.test('a reset that follows the end during a replay does not take the end back', t => {
  t.same(replayed(true), { told: ['5 bytes', 'end'], endings: ['finished'] })
  t.end()
})

void t.test('a client that has not ended is told both, as it would be without a gateway', t => {
  t.same(replayed(false), { told: ['5 bytes', 'end', 'reset'], endings: ['guest-reset'] })
  t.end()
})
