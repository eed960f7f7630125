import { createServer } from 'node:net'

// A service: says on each connection who it takes its client for, then whatever it is told.

const [, , host = '', port = ''] = process.argv

createServer((socket) => {
  socket.on('error', () => undefined)
  socket.write(`${socket.remoteAddress ?? ''}\n`)
  socket.pipe(socket)
}).listen(Number(port), host, () => process.stdout.write('listens\n'))
