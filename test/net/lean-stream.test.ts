import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { madeCertificates } from '../link/certificates.ts'
import { byteStream, type ByteStream } from '../../src/net/lean-stream.ts'

/** A byte stream and the socket at its other end, which nobody reads yet. */
interface Ends {
  readonly stream: ByteStream
  readonly socket: Socket
  readonly far: Socket
  /** What the stream was given, and whether it was lent. */
  readonly got: { bytes: Buffer, lent: boolean }[]
  /** Resolves when the stream was given so many bytes in all. */
  received(bytes: number): Promise<void>
}

async function ends(t: Test): Promise<Ends> {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const accepted = once(server, 'connection') as Promise<[Socket]>
  const [[far]] = await Promise.all([accepted, once(socket, 'connect')])
  t.teardown(() => {
    socket.destroy()
    far.destroy()
    server.close()
  })
  const got: Ends['got'] = []
  let told: (() => void) | undefined
  const stream = byteStream(socket, {
    data(bytes, lent) {
      got.push({ bytes: Buffer.from(bytes), lent })
      told?.()
    },
    written: () => undefined
  })
  const received = async (bytes: number): Promise<void> => {
    while (got.reduce((sum, piece) => sum + piece.bytes.length, 0) < bytes) {
      await new Promise<void>(resolve => { told = resolve })
    }
  }
  return { stream, socket, far, got, received }
}

async function readAll(far: Socket): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of far) pieces.push(piece as Buffer)
  return Buffer.concat(pieces)
}

void t.test('what is read is lent, and all of it comes', async t => {
  const { far, got, received } = await ends(t)
  const sent = Buffer.alloc(1 << 20, 'tailgate')
  far.write(sent)
  await received(sent.length)
  t.ok(got.every(({ lent }) => lent), 'past the streams')
  t.ok(Buffer.concat(got.map(({ bytes }) => bytes)).equals(sent))
})

void t.test('what the other side does not take waits, and then goes whole and in order', async t => {
  const { stream, far } = await ends(t)
  const pieces = Array.from({ length: 100 }, (_, n) => Buffer.alloc(200_000, n))
  for (const piece of pieces) stream.write(piece.subarray(0, 32), [piece.subarray(32), Buffer.alloc(0)])
  t.equal(stream.backlog, 20_000_000)
  stream.end()
  t.ok((await readAll(far)).equals(Buffer.concat(pieces)), 'the end comes after all of it')
  t.equal(stream.backlog, 0)
})

void t.test('a long backlog is encrypted bit by bit, in order, and others have their turns', async t => {
  const { one } = await madeCertificates(t.testdir({}), ['one'])
  const server = createTlsServer(one).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>
  const { port } = server.address() as AddressInfo
  const socket = connectTls({ port, host: '127.0.0.1', ca: one.ca, checkServerIdentity: () => undefined })
  const [[far]] = await Promise.all([accepted, once(socket, 'secureConnect')])
  t.teardown(() => {
    socket.destroy()
    far.destroy()
    server.close()
  })
  const left: number[] = []
  const look = (): void => {
    left.push(stream.backlog)
    if (stream.backlog > 0) setImmediate(look)
  }
  const stream = byteStream(socket, { data: () => undefined, written: () => undefined })
  const pieces = Array.from({ length: 50 }, (_, n) => Buffer.alloc(200_000 + n, n))
  for (const piece of pieces) stream.write(piece.subarray(0, 32), [piece.subarray(32), Buffer.alloc(0)])
  stream.end()
  setImmediate(look)
  t.ok((await readAll(far)).equals(Buffer.concat(pieces)))
  const steps = left.slice(1).map((bytes, at) => (left[at] ?? 0) - bytes)
  t.ok(Math.max(...steps) <= 2 * 128 * 1024, `between two turns at most ${Math.max(...steps)} bytes went`)
})

void t.test('a paused stream reads nothing until it is resumed', async t => {
  const { stream, far, got, received } = await ends(t)
  stream.pause()
  far.write('one')
  // An echo on another connection, sent later, has gone round: what was sent before would have been read.
  const other = await ends(t)
  other.far.resume()
  other.far.write('x')
  await other.received(1)
  t.same(got, [])
  stream.resume()
  stream.resume()
  await received(3)
  t.equal(String(got[0]?.bytes), 'one')
})

void t.test('the socket tells the other side\'s end', async t => {
  const { socket, far } = await ends(t)
  const ended = once(socket, 'end')
  far.end()
  await ended
})

void t.test('the socket tells that the connection broke, in reading and in writing', async t => {
  const reading = await ends(t)
  const broken = once(reading.socket, 'error')
  reading.far.resetAndDestroy()
  t.match(await broken, [{ code: 'ECONNRESET' }])

  const writing = await ends(t)
  writing.stream.pause()
  const refused = once(writing.socket, 'error')
  writing.stream.write(Buffer.alloc(30_000_000), [])
  process.nextTick(() => writing.far.resetAndDestroy())
  const [{ code }] = await refused as [{ code: string }]
  t.ok(['ECONNRESET', 'EPIPE'].includes(code), code)
})
