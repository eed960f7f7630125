import { connect, type Socket } from 'node:net'

/** How long a client waits for its bytes, in milliseconds: so that a failing test says what it waited for. */
const patienceMs = 40_000

/** How a connection ended, as the client's kernel told it. */
export type Ended = 'end' | 'reset'

/**
 * A client that knows nothing but its bytes: every one that comes must be the one that a test expects, in its
 * place, and none may be left over.
 */
export class Client {
  readonly #socket: Socket
  #text = ''
  #ended: Ended | undefined
  #wake: (() => void) | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (bytes: Buffer) => {
      this.#text += bytes.toString('latin1')
      this.#wake?.()
    })
    socket.on('end', () => this.#end('end'))
    socket.on('error', () => this.#end('reset'))
    socket.on('close', () => this.#end('reset'))
  }

  static open(port: number, host = '127.0.0.1'): Promise<Client> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, noDelay: true, allowHalfOpen: true }, () => {
        socket.off('error', reject)
        resolve(new Client(socket))
      })
      socket.once('error', reject)
    })
  }

  /** Whatever has come and was not yet expected. */
  get unread(): string {
    return this.#text
  }

  get ended(): Ended | undefined {
    return this.#ended
  }

  /** Sends inline commands, one per line. */
  send(...lines: readonly string[]): void {
    this.#socket.write(lines.map((line) => `${line}\r\n`).join(''), 'latin1')
  }

  /** Sends a command whose words may be long. */
  sendWords(...words: readonly string[]): void {
    const bulks = words.map((word) => `$${word.length}\r\n${word}\r\n`)
    this.#socket.write(`*${words.length}\r\n${bulks.join('')}`, 'latin1')
  }

  /** Reads nothing, so that what comes fills the buffers on its way; or reads on. */
  read(wanted: boolean): void {
    if (wanted) this.#socket.resume()
    else this.#socket.pause()
  }

  /** Half-closes: this side says no more. */
  end(): void {
    this.#socket.end()
  }

  /** The next bytes, as many as `text` has; what they are is for the caller to compare. */
  async take(length: number): Promise<string> {
    await this.#until(() => this.#text.length >= length, `${length} bytes`)
    const text = this.#text.slice(0, length)
    this.#text = this.#text.slice(length)
    return text
  }

  /** Sends a command and takes as many bytes of answer as `like` has. */
  ask(line: string, like: string): Promise<string> {
    this.send(line)
    return this.take(like.length)
  }

  /** How it ends. */
  async over(): Promise<Ended> {
    await this.#until(() => this.#ended !== undefined, 'its end')
    return this.#ended ?? 'reset'
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #end(how: Ended): void {
    this.#ended ??= how
    this.#wake?.()
  }

  async #until(met: () => boolean, what: string): Promise<void> {
    let late = false
    const timer = setTimeout(() => {
      late = true
      this.#wake?.()
    }, patienceMs)
    while (!met()) {
      const over = this.#ended !== undefined ? `ended (${this.#ended})` : late ? 'still waits' : undefined
      if (over !== undefined) {
        clearTimeout(timer)
        throw new Error(`a client waited for ${what} and ${over}; it has got ${JSON.stringify(this.#text)}`)
      }
      await new Promise<void>((resolve) => { this.#wake = resolve })
    }
    clearTimeout(timer)
  }
}
