import { DescriptorRoom } from '../../src/net/descriptor-room.ts'
import { echo, socketsNamed } from './child-sockets.ts'

/*
 * An echo in a process with few descriptors, for few-descriptors.test.ts. Arguments: which sockets, and
 * how many sides it takes its room to be; 0 to find out. Says its port, and every trouble, in a line
 * each.
 */
const [name, sidesMax] = process.argv.slice(2)
const room = sidesMax === '0' ? new DescriptorRoom() : new DescriptorRoom(Number(sidesMax))
const sockets = socketsNamed(name, room)

const listener = await sockets.listen({
  host: '127.0.0.1', port: 0, backlog: 4096,
  accepted: echo,
  trouble: (error) => process.stdout.write(`${error.message}\n`)
})
process.stdout.write(`${listener.port}\n`)
process.stdin.resume().once('end', () => process.exit(0))
