import { createServer, type AddressInfo, type Socket } from 'node:net'
import { RespParser } from '../src/guest/resp-parser.ts'

/*
 * A service whose every GET takes so many microseconds, for redis-benchmark with one connection. The one
 * argument is that time; it says its port.
 *
 * The process waits for a request's time without using its processor, which load and backup share with it:
 * a commit has to have the chance to hide behind the wait.
 */

const answer = Buffer.from('$3\r\nabc\r\n')
/** redis-benchmark asks for the configuration first, and goes on when there is none. */
const unknown = Buffer.from('-ERR only GET is known here\r\n')

/** A sleeping process is woken late; the last part of the wait is spent looking at the clock. */
const spunMs = 0.08
const sleeper = new Int32Array(new SharedArrayBuffer(4))

/** Holds this process up until `end` on the clock of `performance.now`. */
function waitUntil(end: number): void {
  const asleepMs = end - performance.now() - spunMs
  if (asleepMs > 0) Atomics.wait(sleeper, 0, 0, asleepMs)
  while (performance.now() < end);
}

function serve(socket: Socket, takesMs: number): void {
  const parser = new RespParser()
  socket.setNoDelay(true).on('error', () => socket.destroy())
  socket.on('data', (bytes: Buffer) => {
    const came = performance.now()
    parser.feed(bytes)
    let due = came
    for (let command = parser.next(); command !== undefined; command = parser.next()) {
      if (command[0]?.toUpperCase() === 'GET') {
        due += takesMs
        waitUntil(due)
        socket.write(answer)
      } else {
        socket.write(unknown)
      }
    }
  })
}

const takesMs = Number(process.argv[2]) / 1000
if (!(takesMs > 0)) throw new Error('the argument is a time in microseconds')
const server = createServer((socket) => serve(socket, takesMs))
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
})
