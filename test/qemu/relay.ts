import { rm } from 'node:fs/promises'
import { createConnection, createServer } from 'node:net'

/*
 * A process in a network namespace that carries what comes over a unix socket to an address there: sockets in
 * the file system belong to no namespace. Arguments: the path, the address, the port. Says "ready" when it
 * listens.
 */
const [path = '', host = '', port = ''] = process.argv.slice(2)
await rm(path, { force: true })
createServer(client => {
  const guest = createConnection(Number(port), host)
  client.pipe(guest)
  guest.pipe(client)
  // Whichever side breaks takes the other with it, and what became of the guest's is told by that.
  client.on('error', () => guest.destroy())
  guest.on('error', () => client.destroy())
  guest.on('close', () => client.destroy())
  client.on('close', () => guest.destroy())
}).listen(path, () => { process.stdout.write('ready\n') })
// The test's end is the end of the pipe.
process.stdin.on('end', () => { process.exit() }).resume()
