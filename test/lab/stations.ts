import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Machine } from './machine.ts'

/** How long a line may take to come, in milliseconds. */
const patienceMs = 20_000

/** Starts the service of one of those files on a machine, with which it dies; resolves when it listens. */
export async function startEcho(
  machine: Machine, host: string, port: number,
  file: 'echo.ts' | 'peer-echo.ts' | 'redirected-echo.ts' | 'transparent-echo.ts' = 'echo.ts'
): Promise<void> {
  const echo = fileURLToPath(new URL(file, import.meta.url))
  const [program, ...args] = [...machine.enter, process.execPath, ...process.execArgv, echo]
  const child = spawn(program, [...args, host, String(port)], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
}

/** A client in the namespace of the test that is answered in lines. */
export class LineClient {
  readonly #socket: Socket
  #text = ''
  #wake: (() => void) | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('error', () => undefined)
    socket.on('data', (bytes: Buffer) => {
      this.#text += bytes.toString('latin1')
      this.#wake?.()
    })
  }

  /** Resolves when it is connected. */
  static async open(t: Test, host: string, port: number, localPort?: number): Promise<LineClient> {
    const socket = connect({ host, port, noDelay: true, ...localPort === undefined ? {} : { localPort } })
    t.teardown(() => socket.destroy())
    const client = new LineClient(socket)
    await once(socket, 'connect')
    return client
  }

  /** Its own address and port. */
  get name(): string {
    return `${this.#socket.localAddress ?? ''} ${this.#socket.localPort ?? 0}`
  }

  /** Whatever has come and was not yet taken. */
  get unread(): string {
    return this.#text
  }

  say(line: string): void {
    this.#socket.write(`${line}\n`)
  }

  /** The next line. */
  async line(): Promise<string> {
    const deadline = performance.now() + patienceMs
    const timer = setInterval(() => this.#wake?.(), 100)
    try {
      while (!this.#text.includes('\n')) {
        if (performance.now() > deadline) throw new Error(`no line has come, only '${this.#text}'`)
        await new Promise<void>((resolve) => { this.#wake = resolve })
      }
    } finally {
      clearInterval(timer)
    }
    const end = this.#text.indexOf('\n')
    const line = this.#text.slice(0, end)
    this.#text = this.#text.slice(end + 1)
    return line
  }
}
