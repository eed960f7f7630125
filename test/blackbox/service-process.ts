import { createHash } from 'node:crypto'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { patternOf } from './pattern.ts'
import type { Behaviour, Order, ServiceEvent } from './service.ts'

/*
 * A service that ends, resets, floods or stalls its connections as a test wants it: one listener for each
 * behaviour, in a process of its own, so that it can stand still for checkpoints.
 */

const behaviours: Readonly<Record<Behaviour, (socket: Socket) => void>> = {
  /** Gives back what comes, and ends when the client does. */
  echo: (socket) => { socket.pipe(socket) },
  /** Reads all until the client ends, and only then answers: hash and length. */
  digest: (socket) => digest(socket, (text) => socket.end(text)),
  /** Greets and ends at once, and reads on until the client ends. */
  farewell: (socket) => {
    socket.end('farewell\n')
    digest(socket, (text) => tell({ event: 'read', behaviour: 'farewell', text }))
  },
  /** Answers the first bytes with a reset. */
  reset: (socket) => { socket.once('data', () => socket.resetAndDestroy()) },
  /** Greets, and reads only what comes after it was told to. */
  stalled: (socket) => {
    socket.pause()
    stalled.push(socket)
  },
  /** Gives as many bytes as the client's first line says, and ends. */
  source: (socket) => { socket.once('data', (line) => flood(socket, Number(line.toString()))) }
}

const stalled: Socket[] = []
const servers: Server[] = []

function digest(socket: Socket, done: (text: string) => void): void {
  const hash = createHash('sha256')
  let bytes = 0
  socket.on('data', (piece) => {
    hash.update(piece)
    bytes += piece.length
  })
  socket.on('end', () => done(`${hash.digest('hex')} ${bytes}\n`))
}

function readOn(socket: Socket): void {
  digest(socket, (text) => socket.end(text))
  socket.resume()
}

function flood(socket: Socket, bytes: number): void {
  let at = 0
  const more = (): void => {
    let room = true
    while (room && at < bytes) {
      const piece = patternOf(at, Math.min(64 * 1024, bytes - at))
      at += piece.length
      room = socket.write(piece)
    }
    if (at === bytes) socket.end()
  }
  socket.on('drain', more)
  more()
}

function tell(event: ServiceEvent): void {
  process.send?.(event)
}

function watch(behaviour: Behaviour, socket: Socket): void {
  socket.on('end', () => tell({ event: 'end', behaviour, text: '' }))
  socket.on('error', (error: NodeJS.ErrnoException) =>
    tell({ event: 'error', behaviour, text: error.code ?? error.message }))
  socket.on('close', () => tell({ event: 'close', behaviour, text: String(socket.bytesRead) }))
}

async function listen(behaviour: Behaviour): Promise<number> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    watch(behaviour, socket)
    behaviours[behaviour](socket)
  })
  servers.push(server)
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () =>
      resolve((server.address() as AddressInfo).port))
  })
}

process.on('message', (order: Order) => {
  if (order === 'read') for (const socket of stalled.splice(0)) readOn(socket)
})
process.on('disconnect', () => process.exit(0))
const ports: Partial<Record<Behaviour, number>> = {}
for (const behaviour of Object.keys(behaviours) as Behaviour[]) ports[behaviour] = await listen(behaviour)
tell({ event: 'listening', ports: ports as Readonly<Record<Behaviour, number>> })
