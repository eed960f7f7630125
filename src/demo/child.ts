import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { TailgateError } from '../base/errors.ts'
import { parseLogLine, type LogLine } from './log-line.ts'

/** Lines kept of what a process said, to be shown if it fails. */
const rememberedLines = 8

/** Whoever wants to know what becomes of a {@link Child}. */
export interface ChildEvents {
  line(line: LogLine): void
  /** It has ended, and not because it was told to. */
  ended(error: TailgateError): void
}

/** A `tailgate` process of its own, in a process group of its own. */
export class Child {
  readonly name: string
  readonly #process: ChildProcess
  readonly #events: ChildEvents
  readonly #recent: string[] = []
  /** How it ended; undefined while it runs. */
  #ended: string | undefined
  /** It was told to end, or killed, by this program. */
  #dismissed = false
  readonly exited: Promise<void>

  constructor(name: string, args: readonly string[], events: ChildEvents) {
    this.name = name
    this.#events = events
    const cli = fileURLToPath(new URL('../cli/main.js', import.meta.url))
    const stdio = ['ignore', 'ignore', 'pipe'] as const
    this.#process = spawn(process.execPath, [cli, ...args], { detached: true, stdio: [...stdio] })
    this.#process.once('exit', (status, signal) => {
      this.#ended = `ended with ${signal ?? `status ${status ?? '?'}`}`
    })
    this.exited = once(this.#process, 'exit').then(() => undefined)
    // Later than its exit: all that it said has been read then.
    this.#process.once('close', () => { if (!this.#dismissed) events.ended(this.#fault()) })
    if (this.#process.stderr !== null) {
      createInterface({ input: this.#process.stderr }).on('line', text => this.#line(text))
    }
  }

  get pid(): number { return this.#process.pid ?? 0 }
  get running(): boolean { return this.#ended === undefined }
  /** The last lines it said. */
  get recent(): readonly string[] { return this.#recent }

  /** Kills it and everything it started, at once and without a word. */
  killGroup(): void {
    this.#dismissed = true
    this.#signalGroup('SIGKILL')
  }

  /** Asks it to end; resolves when it has. */
  async stop(): Promise<void> {
    this.#dismissed = true
    if (this.running) this.#process.kill('SIGTERM')
    const limit = setTimeout(() => this.#signalGroup('SIGKILL'), 5000)
    await this.exited
    clearTimeout(limit)
    this.#signalGroup('SIGKILL')
  }

  /** Throws if it has ended by itself, with what it said last. */
  check(): void {
    if (this.#ended !== undefined) throw this.#fault()
  }

  #fault(): TailgateError {
    const said = this.#recent.join('\n')
    return new TailgateError('E_ENGINE', `${this.name} ${this.#ended ?? 'ended'} by itself:\n${said}`)
  }

  #signalGroup(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.pid, signal)
    } catch {
      // The whole group has ended already.
    }
  }

  #line(text: string): void {
    const line = parseLogLine(text)
    // What it says after its dismissal may be of an end that was wanted.
    if (line !== undefined && !this.#dismissed) this.#events.line(line)
    if (line?.event === 'connection.end') return
    this.#recent.push(text.slice(0, 1000))
    if (this.#recent.length > rememberedLines) this.#recent.shift()
  }
}
