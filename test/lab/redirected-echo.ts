import { createServer, type Socket } from 'node:net'
import { originalDestination } from '../../src/net/socket-options.ts'

// The service of echo.ts behind a REDIRECT rule: it says on each connection who its client is and where that
// wanted to go.

const [, , host = '', port = ''] = process.argv

createServer((socket) => {
  socket.on('error', () => undefined)
  const { _handle: { fd } } = socket as Socket & { readonly _handle: { readonly fd: number } }
  const { remoteAddress = '' } = socket
  // A socket of IPv6 has IPv4 clients, too.
  const family = remoteAddress.includes('.') ? 4 : 6
  const wanted = originalDestination(fd, family)
  socket.write(`${remoteAddress} ${wanted.address} ${wanted.port}\n`)
  socket.pipe(socket)
}).listen(Number(port), host, () => process.stdout.write('listens\n'))
