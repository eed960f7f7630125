import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { getSystemErrorName } from 'node:util'
import { readBufferBytes } from './sockets.ts'
import { loadTcpBinding, type TcpBinding, type WriteRequest } from './tcp-binding.ts'

/**
 * The bytes of a connected socket, TCP or TLS; what becomes of the connection is still told by the socket's
 * own events. Whoever makes one takes over reading and writing.
 */
export interface ByteStream {
  /** Bytes written that the kernel has not taken. */
  readonly backlog: number
  /**
   * The pieces, which must not change any more, leave in one system call with all others of this turn; as
   * many of them at a time as can be encrypted without keeping others waiting.
   */
  write(first: Uint8Array, more: readonly Uint8Array[]): void
  /** Ends the sending direction after what is queued. */
  end(): void
  pause(): void
  resume(): void
}

export interface ByteStreamEvents {
  /** `lent`: the bytes are written over after the call. */
  data(bytes: Buffer, lent: boolean): void
  /** Something that was written has been taken. */
  written(): void
}

/** The fastest way that this Node offers for `socket`: past its streams, or through them. */
export function byteStream(socket: Socket, events: ByteStreamEvents): ByteStream {
  const handle = leanHandle(socket)
  return handle === undefined || binding === undefined
    ? new SocketStream(socket, events)
    : new LeanStream(socket, handle, binding, events)
}

const binding = process.env.TAILGATE_SOCKETS === 'net' ? undefined : loadTcpBinding()

/** The part of a libuv handle, of TCP or of TLS over it, that is used here. */
interface LeanHandle {
  /** What Node's own streams do with a read. */
  onread: (this: LeanHandle, arrayBuffer: unknown) => void
  reading: boolean
  useUserBuffer(buffer: Uint8Array): void
  readStart(): number
  readStop(): number
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number
  writev(request: WriteRequest, pieces: readonly Uint8Array[], allBuffers: true): number
}

const methodNames = ['onread', 'useUserBuffer', 'readStart', 'readStop', 'writeBuffer', 'writev'] as const

/** The handle of a socket that nothing has been read from yet; undefined where it lacks something. */
function leanHandle(socket: Socket): LeanHandle | undefined {
  const handle = (socket as { _handle?: Partial<LeanHandle> | null })._handle
  if (handle === undefined || handle === null || socket.readableLength > 0) return undefined
  return methodNames.every(name => typeof handle[name] === 'function') ? handle as LeanHandle : undefined
}

/**
 * How much is encrypted at a time, in bytes. OpenSSL takes all of a write in one go, in which this process
 * does nothing else: a processor without instructions for it needs a second for 2 MB, and no lease waits.
 */
const encryptedBytesMax = 128 * 1024

/** One for all: what is lent is given back before the next read. */
const readBuffer = Buffer.allocUnsafeSlow(readBufferBytes)

/**
 * Past Node's streams, which make a buffer of 64 KiB per read, two objects per write and a turn of the tick
 * queue for each:
 *
 *     handle ─► readBuffer ─► data(…, lent)          write ─► gathered ─► (end of turn) writev ─► handle
 */
class LeanStream implements ByteStream {
  readonly #socket: Socket
  readonly #handle: LeanHandle
  readonly #binding: TcpBinding
  readonly #events: ByteStreamEvents
  readonly #flush = () => this.#send()
  readonly #writeBytesMax: number
  #gathered: Uint8Array[] = []
  #gatheredBytes = 0
  /** Bytes that libuv holds. */
  #sentBytes = 0
  #flushAsked = false
  #ended = false
  /** A request that the last write did not keep, because the kernel took everything at once. */
  #spare: WriteRequest | undefined

  constructor(socket: Socket, handle: LeanHandle, binding: TcpBinding, events: ByteStreamEvents) {
    this.#socket = socket
    this.#handle = handle
    this.#binding = binding
    this.#events = events
    this.#writeBytesMax = socket instanceof TLSSocket ? encryptedBytesMax : Number.POSITIVE_INFINITY
    this.#takeReads()
    this.resume()
  }

  get backlog(): number { return this.#gatheredBytes + this.#sentBytes }

  write(first: Uint8Array, more: readonly Uint8Array[]): void {
    this.#gather(first)
    for (const piece of more) if (piece.length > 0) this.#gather(piece)
    if (this.#flushAsked || this.#sentBytes > 0) return
    this.#flushAsked = true
    process.nextTick(this.#flush)
  }

  end(): void {
    this.#ended = true
    if (this.backlog === 0) this.#socket.end()
  }

  pause(): void {
    this.#handle.reading = false
    if (!this.#socket.destroyed) this.#handle.readStop()
  }

  /** As Node's own streams say it, so that they do not begin to read by themselves. */
  resume(): void {
    if (this.#handle.reading || this.#socket.destroyed) return
    this.#handle.reading = true
    const error = this.#handle.readStart()
    if (error !== 0) this.#fail('read', error)
  }

  /** Data comes here; an end or an error still goes to the socket, which tells it. */
  #takeReads(): void {
    const { state, readAt } = this.#binding
    const events = this.#events
    const handle = this.#handle
    const { onread } = handle
    handle.useUserBuffer(readBuffer)
    handle.onread = function (arrayBuffer) {
      const bytes = state[readAt] ?? 0
      if (bytes > 0) events.data(readBuffer.subarray(0, bytes), true)
      else onread.call(handle, arrayBuffer)
    }
  }

  #gather(piece: Uint8Array): void {
    this.#gathered.push(piece)
    this.#gatheredBytes += piece.length
  }

  #send(): void {
    this.#flushAsked = false
    if (this.#sentBytes > 0 || this.#gatheredBytes === 0 || this.#socket.destroyed) return
    const { state, lastWriteAsyncAt } = this.#binding
    const before = this.#gatheredBytes
    const pieces = this.#take()
    const bytes = before - this.#gatheredBytes
    const request = this.#spare ?? new this.#binding.WriteRequest()
    this.#spare = undefined
    const error = this.#write(request, pieces)
    if (error !== 0) return this.#fail('write', error)
    if (state[lastWriteAsyncAt] === 0) {
      this.#spare = request
      this.#goOn()
      return this.#written()
    }
    this.#sentBytes = bytes
    // The closure keeps the pieces alive until libuv is done with them.
    request.oncomplete = status => this.#taken(status, pieces)
  }

  /** Of what was gathered, as much as one write may have. */
  #take(): Uint8Array[] {
    const gathered = this.#gathered
    if (this.#gatheredBytes <= this.#writeBytesMax) {
      this.#gathered = []
      this.#gatheredBytes = 0
      return gathered
    }
    let [count, room] = [0, this.#writeBytesMax]
    for (let next = gathered[0]; next !== undefined && next.length <= room; next = gathered[count]) {
      room -= next.length
      count++
    }
    const taken = gathered.splice(0, count)
    const [first] = gathered
    if (first !== undefined && room > 0) {
      taken.push(first.subarray(0, room))
      gathered[0] = first.subarray(room)
      room = 0
    }
    this.#gatheredBytes -= this.#writeBytesMax - room
    return taken
  }

  /** What is left goes in another turn, after whatever else there is to do. */
  #goOn(): void {
    if (this.#gatheredBytes === 0 || this.#flushAsked) return
    this.#flushAsked = true
    setImmediate(this.#flush)
  }

  #write(request: WriteRequest, pieces: readonly Uint8Array[]): number {
    const [only] = pieces
    return pieces.length === 1 && only !== undefined
      ? this.#handle.writeBuffer(request, only)
      : this.#handle.writev(request, pieces, true)
  }

  #taken(status: number, pieces: Uint8Array[]): void {
    pieces.length = 0
    this.#sentBytes = 0
    if (this.#socket.destroyed) return
    if (status < 0) return this.#fail('write', status)
    this.#written()
    // Node tells one write's end after the other in the same turn, for as long as TLS takes more.
    if (this.#writeBytesMax === Number.POSITIVE_INFINITY) this.#send()
    else this.#goOn()
  }

  #written(): void {
    this.#events.written()
    if (this.#ended && this.backlog === 0) this.#socket.end()
  }

  #fail(what: string, error: number): void {
    const code = getSystemErrorName(error)
    this.#socket.destroy(Object.assign(new Error(`${what} ${code}`), { code }))
  }
}

/** Through Node's streams, where its handles are not what is known here. */
class SocketStream implements ByteStream {
  readonly #socket: Socket
  readonly #onWritten: () => void
  readonly #flush = () => this.#uncork()
  #corked = false

  constructor(socket: Socket, events: ByteStreamEvents) {
    this.#socket = socket
    this.#onWritten = () => events.written()
    socket.on('data', (chunk: Buffer) => events.data(chunk, false))
  }

  get backlog(): number { return this.#socket.writableLength }

  write(first: Uint8Array, more: readonly Uint8Array[]): void {
    const socket = this.#socket
    if (!this.#corked) {
      this.#corked = true
      socket.cork()
      process.nextTick(this.#flush)
    }
    socket.write(first, this.#onWritten)
    for (const piece of more) if (piece.length > 0) socket.write(piece)
  }

  end(): void { this.#socket.end() }
  pause(): void { this.#socket.pause() }
  resume(): void { this.#socket.resume() }

  #uncork(): void {
    this.#corked = false
    this.#socket.uncork()
  }
}
