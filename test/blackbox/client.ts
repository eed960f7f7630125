import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Test } from 'tap'

/** How a connection came to its end, as the client's kernel tells it. */
export interface Ended {
  readonly hash: string
  readonly bytes: number
  /** The service ended its direction. */
  readonly end: boolean
  /** The code of the error that ended the connection, such as ECONNRESET. */
  readonly error: string | undefined
}

/** One client: a socket whose end is waited for from the beginning. */
export class Client {
  readonly socket: Socket
  /** Resolves when both directions are over. */
  readonly ended: Promise<Ended>
  /** Resolves when the service has ended its direction or the connection is over. */
  readonly outputEnded: Promise<void>
  readonly #hash = createHash('sha256')
  readonly #waiting = new Set<() => void>()
  #bytes = 0
  #end = false
  #error: string | undefined

  constructor(t: Test, port: number) {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    this.socket = socket
    t.teardown(() => socket.destroy())
    socket.on('data', (piece: Buffer) => {
      this.#hash.update(piece)
      this.#bytes += piece.length
      for (const look of this.#waiting) look()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => { this.#error = error.code ?? error.message })
    this.outputEnded = new Promise((resolve) => {
      socket.on('end', () => {
        this.#end = true
        resolve()
      })
      socket.on('close', resolve)
    })
    this.ended = new Promise((resolve) => {
      socket.on('close', () => resolve({
        hash: this.#hash.digest('hex'), bytes: this.#bytes, end: this.#end, error: this.#error
      }))
    })
    socket.on('close', () => { for (const look of this.#waiting) look() })
  }

  get bytes(): number { return this.#bytes }

  async connected(): Promise<void> {
    if (this.socket.connecting) await once(this.socket, 'connect')
  }

  /** Sends `bytes`, and waits while the kernel takes no more. */
  async send(bytes: Uint8Array | string): Promise<void> {
    if (!this.socket.write(bytes)) await once(this.socket, 'drain')
  }

  /** Resolves when `bytes` have come in all; rejects if the connection is over before. */
  async received(bytes: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        if (this.#bytes >= bytes) {
          this.#waiting.delete(look)
          resolve()
        } else if (this.socket.closed) {
          reject(new Error(`over after ${this.#bytes} bytes: ${this.#error ?? 'closed'}`))
        }
      }
      this.#waiting.add(look)
      look()
    })
  }
}

/** How many clients a crowd lets come at once. */
const atOnce = 200

/** Runs `act` for each number below `count`, some at a time. */
export async function each(count: number, act: (i: number) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) await act(next++)
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}
