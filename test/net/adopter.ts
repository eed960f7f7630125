import { messageOf } from '../../src/base/errors.ts'
import { DescriptorRoom } from '../../src/net/descriptor-room.ts'
import { echo, socketsNamed } from './child-sockets.ts'

/*
 * Takes over the sockets that its parent gave it, and echoes what comes on each, for compliance-process.ts.
 * Arguments: which sockets, how many may be open, and the descriptors. Says in one line of JSON what became
 * of each: its two addresses, or why it was refused. Resets what is left when its input ends.
 */
const [name, sidesMax, ...descriptors] = process.argv.slice(2)
const room = new DescriptorRoom(Number(sidesMax))
const sockets = socketsNamed(name, room)

function adopted(descriptor: number): { local: string, remote: string } | { refused: string } {
  try {
    const side = sockets.adopt(descriptor)
    echo(side)
    process.stdin.once('end', () => side.reset())
    return { local: side.local, remote: side.remote }
  } catch (error) {
    return { refused: messageOf(error) }
  }
}

process.stdin.resume()
process.stdout.write(`${JSON.stringify(descriptors.map((one) => adopted(Number(one))))}\n`)
