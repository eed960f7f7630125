import { chooseSockets } from '../src/net/choose-sockets.ts'
import type { SocketSide, Sockets } from '../src/net/sockets.ts'

/*
 * Bulk transfer, and its opposite, both ends of them.
 *
 *   bulk.ts serve        says its port. A client's first byte names what follows:
 *                        `u`  bytes that are counted until their end and answered with the count
 *                        `d`  a length as text, ended by a line feed, and so many bytes are answered
 *                        `e`  bytes that are sent back as they come
 *   bulk.ts load PORT up|down|echo BYTES CONNECTIONS
 *                        prints the seconds that it took. `echo` has one byte under way on each connection
 */

const piece = new Uint8Array(64 * 1024).fill(120)

/** Writes `bytes` as fast as they are taken, then ends. Answers what to call at each drain. */
function pour(side: SocketSide, bytes: number): () => void {
  let left = bytes
  const fill = (): void => {
    while (left > 0 && side.backlog < 4 * piece.length) {
      const next = left < piece.length ? piece.subarray(0, left) : piece
      left -= next.length
      side.write(next)
    }
    if (left === 0) {
      left = -1
      side.end()
    }
  }
  fill()
  return () => { if (left > 0) fill() }
}

function serve(side: SocketSide): void {
  let counted = -1
  let asked = ''
  let echoes = false
  let drained: () => void = () => undefined
  side.attach({
    data(bytes) {
      if (counted >= 0) {
        counted += bytes.length
        return
      }
      if (echoes) {
        side.write(Buffer.from(bytes))
        return
      }
      asked += Buffer.from(bytes.subarray(0, 64)).toString('latin1')
      if (asked.startsWith('u')) counted = bytes.length - 1
      else if (asked.startsWith('e')) {
        echoes = true
        side.write(Buffer.from(bytes.subarray(1)))
      }
      else if (asked.includes('\n')) drained = pour(side, Number(asked.slice(1)))
    },
    end() {
      if (counted >= 0) side.write(Buffer.from(String(counted)))
      // Somebody may only have looked whether the port answers. Who asked for bytes gets them all first.
      if (counted >= 0 || echoes || asked === '') side.end()
    },
    reset: () => undefined,
    drain: () => drained()
  })
  side.resume()
}

/** One connection's share; resolves when it is done and the count is right. */
async function load(sockets: Sockets, port: number, direction: string, bytes: number): Promise<void> {
  const side = await sockets.dial('127.0.0.1', port, { timeoutMs: 5000 })
  await new Promise<void>((resolve, reject) => {
    let counted = 0
    let answer = ''
    let drained: () => void = () => undefined
    side.attach({
      data(piece) {
        counted += piece.length
        if (direction === 'up') answer += Buffer.from(piece).toString('latin1')
      },
      end() {
        const got = direction === 'up' ? Number(answer) : counted
        if (direction === 'down') side.end()
        if (got === bytes) resolve()
        else reject(new Error(`${got} of ${bytes} bytes arrived`))
      },
      reset: () => reject(new Error('the connection broke')),
      drain: () => drained()
    })
    side.resume()
    if (direction === 'up') {
      side.write(Buffer.from('u'))
      drained = pour(side, bytes)
    } else {
      side.write(Buffer.from(`d${bytes}\n`))
    }
  })
}

/** One byte after the other, each when the one before has come back. */
async function echo(sockets: Sockets, port: number, count: number): Promise<void> {
  const side = await sockets.dial('127.0.0.1', port, { timeoutMs: 5000 })
  await new Promise<void>((resolve, reject) => {
    let back = 0
    side.attach({
      data(bytes) {
        back += bytes.length
        if (back < count) side.write(oneByte)
        else side.end()
      },
      end: () => back === count ? resolve() : reject(new Error(`${back} of ${count} bytes came back`)),
      reset: () => reject(new Error('the connection broke')),
      drain: () => undefined
    })
    side.resume()
    side.write(Buffer.from('ex'))
  })
}

const oneByte = Buffer.from('x')
const [verb, ...args] = process.argv.slice(2)
const { sockets } = await chooseSockets()
if (verb === 'serve') {
  const listener = await sockets.listen({
    host: '127.0.0.1', port: 0, accepted: serve,
    trouble: (error) => process.stderr.write(`${error.message}\n`)
  })
  process.stdout.write(`${listener.port}\n`)
} else {
  const [port = '', direction = 'up', bytes = '', connections = '1'] = args
  const count = Number(connections)
  const start = performance.now()
  const share = Math.floor(Number(bytes) / count)
  const one = (): Promise<void> => direction === 'echo'
    ? echo(sockets, Number(port), share)
    : load(sockets, Number(port), direction, share)
  await Promise.all(Array.from({ length: count }, one))
  process.stdout.write(`${(performance.now() - start) / 1000}\n`)
  process.exit(0)
}
