import type { Attach } from '../../src/attach/attach.ts'
import type { ConnectionId } from '../../src/core/ids.ts'
import type { OpenedPath } from '../../src/core/path.ts'
import type { StreamEvents } from '../../src/core/stream.ts'

/** Opens a connection, for a test that waits for it. Rejects with what the attach says. */
export function openPath(
  attach: Attach, endpoint: string, connection: ConnectionId, events: StreamEvents
): Promise<OpenedPath> {
  return new Promise((resolve, reject) => {
    attach.open(endpoint, connection, events, { opened: resolve, failed: reject })
  })
}
