import { createServer } from 'node:net'

// The service of echo.ts, which also says the port of its client.

const [, , host = '', port = ''] = process.argv

createServer((socket) => {
  socket.on('error', () => undefined)
  socket.write(`${socket.remoteAddress ?? ''} ${socket.remotePort ?? 0}\n`)
  socket.pipe(socket)
}).listen(Number(port), host, () => process.stdout.write('listens\n'))
