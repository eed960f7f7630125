import { once } from 'node:events'
import { createConnection, createServer, type Socket } from 'node:net'
import { join } from 'node:path'

/*
 * A process in a network namespace that carries what comes over a unix socket to an address there: sockets in
 * the file system belong to no namespace. Arguments: a directory, where the socket of each port has the port
 * as its name; the address; the ports. Says "ready" when all listen.
 */
const [directory = '', host = '', ...ports] = process.argv.slice(2)

function carry(port: string, client: Socket): void {
  const guest = createConnection({ port: Number(port), host, allowHalfOpen: true })
  client.pipe(guest)
  guest.pipe(client)
  // Whichever side breaks takes the other with it, and what became of the guest's is told by that.
  client.on('error', () => guest.destroy())
  guest.on('error', () => client.destroy())
  guest.on('close', () => client.destroy())
  client.on('close', () => guest.destroy())
}

for (const port of ports) {
  const server = createServer({ allowHalfOpen: true }, client => { carry(port, client) })
  await once(server.listen(join(directory, port)), 'listening')
}
process.stdout.write('ready\n')
// The test's end is the end of the pipe.
process.stdin.on('end', () => { process.exit() }).resume()
