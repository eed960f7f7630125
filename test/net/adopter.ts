import { messageOf } from '../../src/base/errors.ts'
import { DescriptorRoom } from '../../src/net/descriptor-room.ts'
import { HandleSockets } from '../../src/net/handle-sockets.ts'
import { NetSockets } from '../../src/net/net-sockets.ts'
import { loadTcpBinding } from '../../src/net/tcp-binding.ts'

/*
 * Takes over the sockets that its parent gave it, and echoes what comes on each, for compliance-process.ts.
 * Arguments: which sockets, how many may be open, and the descriptors. Says in one line of JSON what became
 * of each: its two addresses, or why it was refused. Resets what is left when its input ends.
 */
const [name, sidesMax, ...descriptors] = process.argv.slice(2)
const room = new DescriptorRoom(Number(sidesMax))
const binding = loadTcpBinding()
const handles = binding === undefined ? undefined : new HandleSockets(binding, room)
const sockets = name === 'net' ? new NetSockets(room) : handles
if (sockets === undefined) throw new Error('this Node does not offer its TCP handles')

function adopted(descriptor: number): { local: string, remote: string } | { refused: string } {
  if (sockets === undefined) return { refused: 'no sockets' }
  try {
    const side = sockets.adopt(descriptor)
    side.attach({
      data: (bytes) => side.write(bytes.slice()),
      end: () => side.end(),
      reset: () => undefined,
      drain: () => undefined
    })
    side.resume()
    process.stdin.once('end', () => side.reset())
    return { local: side.local, remote: side.remote }
  } catch (error) {
    return { refused: messageOf(error) }
  }
}

process.stdin.resume()
process.stdout.write(`${JSON.stringify(descriptors.map((one) => adopted(Number(one))))}\n`)
