import { connect, type Socket } from 'node:net'

/** A reply that the demo's load can get: a number, a text, or an error. */
export type Reply = number | string | null | Error

interface Waiting {
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: Error) => void
  readonly sentAt: number
}

/**
 * As much of a Redis client as the demo's load needs, with nothing that would hide what the network does: no
 * reconnecting, no retry; every reset is an error.
 */
export class RespClient {
  readonly #socket: Socket
  readonly #waiting: Waiting[] = []
  readonly #onLatency: (ms: number) => void
  #buffer = ''
  #error: Error | undefined

  private constructor(socket: Socket, onLatency: (ms: number) => void) {
    this.#socket = socket
    this.#onLatency = onLatency
    socket.setNoDelay(true)
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => this.#data(text))
    socket.on('error', error => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('the connection was closed')))
  }

  static open(port: number, onLatency: (ms: number) => void): Promise<RespClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.removeListener('error', reject)
        resolve(new RespClient(socket, onLatency))
      })
    })
  }

  send(...words: readonly string[]): Promise<Reply> {
    if (this.#error !== undefined) return Promise.reject(this.#error)
    const said = words.map(word => `$${word.length}\r\n${word}\r\n`).join('')
    this.#socket.write(`*${words.length}\r\n${said}`, 'latin1')
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject, sentAt: performance.now() })
    })
  }

  /** Ends this side and resolves when the other side has ended too. */
  close(): Promise<void> {
    return new Promise(resolve => {
      this.#error ??= new Error('the client was closed')
      this.#socket.once('close', () => resolve())
      this.#socket.end()
    })
  }

  destroy(): void {
    this.#error ??= new Error('the client was closed')
    this.#socket.destroy()
  }

  #data(text: string): void {
    this.#buffer += text
    for (let taken = takeReply(this.#buffer); taken !== undefined; taken = takeReply(this.#buffer)) {
      this.#buffer = this.#buffer.slice(taken.length)
      const waiting = this.#waiting.shift()
      if (waiting === undefined) {
        this.#fail(new Error('a reply came that nobody had asked for'))
        return
      }
      this.#onLatency(performance.now() - waiting.sentAt)
      waiting.resolve(taken.reply)
    }
  }

  #fail(error: Error): void {
    this.#error ??= error
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }
}

/** The first whole reply in `text`, and its length; undefined while it is not whole. */
function takeReply(text: string): { readonly reply: Reply, readonly length: number } | undefined {
  const end = text.indexOf('\r\n')
  if (end < 0) return undefined
  const line = text.slice(1, end)
  const length = end + 2
  switch (text.charAt(0)) {
    case ':': return { reply: Number(line), length }
    case '+': return { reply: line, length }
    case '-': return { reply: new Error(line), length }
    case '$': {
      const bytes = Number(line)
      if (bytes < 0) return { reply: null, length }
      if (text.length < length + bytes + 2) return undefined
      return { reply: text.slice(length, length + bytes), length: length + bytes + 2 }
    }
    default: return { reply: new Error(`not a reply: ${text.slice(0, 40)}`), length: text.length }
  }
}
