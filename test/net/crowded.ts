import { DescriptorRoom } from '../../src/net/descriptor-room.ts'
import { HandleSockets } from '../../src/net/handle-sockets.ts'
import { NetSockets } from '../../src/net/net-sockets.ts'
import { loadTcpBinding } from '../../src/net/tcp-binding.ts'

/*
 * An echo in a process with few descriptors, for few-descriptors.test.ts. Arguments: which sockets, and
 * how many sides it takes its room to be; 0 to find out. Says its port, and every trouble, in a line
 * each.
 */
const [name, sidesMax] = process.argv.slice(2)
const room = sidesMax === '0' ? new DescriptorRoom() : new DescriptorRoom(Number(sidesMax))
const binding = loadTcpBinding()
const handles = binding === undefined ? undefined : new HandleSockets(binding, room)
const sockets = name === 'net' ? new NetSockets(room) : handles
if (sockets === undefined) throw new Error('this Node does not offer its TCP handles')

const listener = await sockets.listen({
  host: '127.0.0.1', port: 0, backlog: 4096,
  accepted(side) {
    side.attach({
      data: (bytes) => side.write(bytes.slice()),
      end: () => side.end(),
      reset: () => undefined,
      drain: () => undefined
    })
    side.resume()
  },
  trouble: (error) => process.stdout.write(`${error.message}\n`)
})
process.stdout.write(`${listener.port}\n`)
process.stdin.resume().once('end', () => process.exit(0))
