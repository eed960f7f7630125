import { connect, type Socket } from 'node:net'
import { encodeCommand, ReplyReader, type Reply } from './replies.ts'

/** A plain client of the guest over TCP, which waits for what it is told. */
export class DirectClient {
  readonly socket: Socket
  #reader = new ReplyReader()
  #replies: Reply[] = []
  #wake: (() => void) | undefined
  #over = false
  /** Resolves when the connection is gone, however. */
  readonly closed: Promise<void>

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (bytes: Buffer) => {
      this.#replies.push(...this.#reader.feed(bytes))
      this.#wake?.()
    })
    socket.on('error', () => undefined)
    this.closed = new Promise((resolve) => socket.once('close', () => {
      this.#over = true
      this.#wake?.()
      resolve()
    }))
  }

  /** `endpoint`: `host:port`, or the path of a unix socket. Rejects with the system's error. */
  static open(endpoint: string): Promise<DirectClient> {
    const [host = '', port] = endpoint.split(':')
    const place = endpoint.startsWith('/') ? { path: endpoint } : { host, port: Number(port) }
    return new Promise((resolve, reject) => {
      const socket = connect(place, () => {
        socket.off('error', reject)
        resolve(new DirectClient(socket))
      })
      socket.once('error', reject)
    })
  }

  get heard(): number {
    return this.#replies.length
  }

  send(line: string): void {
    this.socket.write(encodeCommand(line.split(' ')))
  }

  /** The next reply; an error as its text. Rejects at the end of the connection. */
  async next(): Promise<Reply> {
    while (this.#replies.length === 0) {
      if (this.#over) throw new Error('the connection is gone')
      await new Promise<void>((resolve) => { this.#wake = resolve })
    }
    const reply = this.#replies.shift() ?? null
    return reply instanceof Error ? `-${reply.message}` : reply
  }

  ask(line: string): Promise<Reply> {
    this.send(line)
    return this.next()
  }

  close(): void {
    this.socket.destroy()
  }
}

/** Resolves when nothing listens there any more. */
export async function untilRefused(endpoint: string): Promise<void> {
  for (;;) {
    try {
      const client = await DirectClient.open(endpoint)
      client.send('PING')
      await client.closed
    } catch {
      return
    }
  }
}
