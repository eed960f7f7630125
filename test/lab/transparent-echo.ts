import { createServer, type Server } from 'node:net'
import koffi from 'koffi'

// The service of echo.ts at any address (IP_TRANSPARENT, ip(7)): it says on each connection who its client is
// and whom that takes it for.

const [, , host = '', port = ''] = process.argv
/** linux/in.h and linux/in6.h: level and option. */
const transparent = host.includes(':') ? [41, 75] : [0, 19]

const setsockopt = koffi.load(null).func('int setsockopt(int, int, int, void*, unsigned int)')

const server = createServer((socket) => {
  socket.on('error', () => undefined)
  const { remoteAddress = '', localAddress = '', localPort = 0 } = socket
  socket.write(`${remoteAddress} ${localAddress} ${localPort}\n`)
  socket.pipe(socket)
})

server.listen(Number(port), host, () => {
  const { _handle: handle } = server as Server & { readonly _handle: { readonly fd: number } }
  const one = Buffer.from([1, 0, 0, 0])
  if (setsockopt(handle.fd, transparent[0], transparent[1], one, one.length) !== 0) {
    throw new Error(`IP_TRANSPARENT: errno ${koffi.errno()}`)
  }
  process.stdout.write('listens\n')
})
