import type { DescriptorRoom } from '../../src/net/descriptor-room.ts'
import { HandleSockets } from '../../src/net/handle-sockets.ts'
import { NetSockets } from '../../src/net/net-sockets.ts'
import type { SocketSide, Sockets } from '../../src/net/sockets.ts'
import { loadTcpBinding } from '../../src/net/tcp-binding.ts'

/** The sockets that a test's process was told to use. */
export function socketsNamed(name: string | undefined, room: DescriptorRoom): Sockets {
  if (name === 'net') return new NetSockets(room)
  const binding = loadTcpBinding()
  if (binding === undefined) throw new Error('this Node does not offer its TCP handles')
  return new HandleSockets(binding, room)
}

/** Sends back what comes, and ends when the other side has. */
export function echo(side: SocketSide): void {
  side.attach({
    data: (bytes) => side.write(bytes.slice()),
    end: () => side.end(),
    reset: () => undefined,
    drain: () => undefined
  })
  side.resume()
}
