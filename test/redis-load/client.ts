import { connect, type Socket } from 'node:net'
import { encodeCommand, ReplyReader, type Reply } from '../guest/replies.ts'

/** The connection ended though its client had not ended it. */
export class ConnectionLost extends Error {}

export interface ClientEvents {
  /** A request was answered after so many milliseconds. */
  answered(ms: number): void
  /** Something came that nobody had asked for, and no subscription either. */
  unasked(reply: Reply): void
}

interface Waiting {
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: Error) => void
  readonly sentAt: number
}

/** A client that hides nothing of what the network does: no reconnecting, no retry. */
export class Client {
  readonly #socket: Socket
  readonly #reader = new ReplyReader()
  readonly #waiting: Waiting[] = []
  readonly #events: ClientEvents
  #lost: ConnectionLost | undefined
  /** Takes what nobody asked for: messages of a subscription. */
  onPush: ((reply: Reply) => void) | undefined
  onLost: (() => void) | undefined

  private constructor(socket: Socket, events: ClientEvents) {
    this.#socket = socket
    this.#events = events
    socket.setNoDelay(true)
    socket.on('data', (bytes: Buffer) => this.#received(bytes))
    socket.on('error', (error) => this.#over(error.message))
    socket.on('close', () => this.#over('closed'))
  }

  /** Rejects with {@link ConnectionLost}. */
  static open(host: string, port: number, events: ClientEvents): Promise<Client> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port })
      const failed = (error: Error): void => reject(new ConnectionLost(error.message))
      socket.once('error', failed)
      socket.once('connect', () => {
        socket.removeListener('error', failed)
        resolve(new Client(socket, events))
      })
    })
  }

  /** Rejects with {@link ConnectionLost}. */
  ask(...words: readonly (string | number)[]): Promise<Reply> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost)
    this.#socket.write(encodeCommand(words.map(String)))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject, sentAt: performance.now() })
    })
  }

  close(): void {
    this.#lost ??= new ConnectionLost('closed by the client itself')
    this.#socket.destroy()
  }

  #received(bytes: Buffer): void {
    for (const reply of this.#reader.feed(bytes)) {
      const waiting = this.#waiting.shift()
      if (waiting === undefined) (this.onPush ?? this.#events.unasked)(reply)
      else {
        this.#events.answered(performance.now() - waiting.sentAt)
        waiting.resolve(reply)
      }
    }
  }

  #over(why: string): void {
    if (this.#lost !== undefined) return
    this.#lost = new ConnectionLost(why)
    for (const { reject } of this.#waiting.splice(0)) reject(this.#lost)
    this.onLost?.()
  }
}
