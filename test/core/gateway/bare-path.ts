import { DataPath } from '../../../src/core/gateway/data-path.ts'
import { LogWriter } from '../../../src/core/gateway/log-writer.ts'
import type { GatewayPort } from '../../../src/core/gateway/port.ts'
import type { GuestSettings, HostSettings } from '../../../src/core/gateway/settings.ts'
import { outputHash } from '../../../src/core/ids.ts'
import type { StreamEvents, StreamSide } from '../../../src/core/stream.ts'

/** A side that takes everything and tells nothing. */
export const deafSide: StreamSide = {
  backlog: 0, write: () => undefined, end: () => undefined, reset: () => undefined,
  abandon: () => undefined, pause: () => undefined, resume: () => undefined
}

export interface BarePath {
  readonly path: DataPath
  readonly writer: LogWriter
  /** The guest's ends of the connections, in the order in which they were opened. */
  readonly guests: readonly StreamEvents[]
}

/** A data path alone, whose guest takes every connection at once. */
export function barePath(floorsFromBacklog: boolean): BarePath {
  const writer = new LogWriter({
    epochBytes: 4096, inFlightBytes: 4096, gathering: () => undefined, send: () => undefined
  })
  const guests: StreamEvents[] = []
  const port: Pick<GatewayPort, 'report' | 'hash' | 'acknowledge' | 'open'> = {
    report: () => undefined, hash: () => outputHash(0), acknowledge: () => undefined,
    open: (_connection, _service, events, done) => {
      guests.push(events)
      done({ ok: true, path: { side: deafSide, path: new Uint8Array(0) } })
    }
  }
  const settings: Partial<GuestSettings> = {
    hosts: Array<HostSettings>(2), services: [{ name: 's', release: 'immediate' }],
    connections: 10, connectionBytes: 4096, heldBytes: 4096, floorsFromBacklog
  }
  const path = new DataPath(settings as GuestSettings, port as GatewayPort, writer)
  path.thaw()
  return { path, writer, guests }
}
