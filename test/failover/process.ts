import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { LogLines } from './log-lines.ts'

// A runner that gives up sends SIGTERM, which by itself would leave every process behind.
process.once('SIGTERM', () => process.exit(143))
process.setMaxListeners(0)

/** A process of Tailgate in a process group of its own, and every line that it has logged. */
export class Process {
  readonly name: string
  readonly log: LogLines
  readonly exited: Promise<void>
  readonly #child: ChildProcess
  #gone = false

  /** Runs Node with `args`, in `directory`; by the command `through`, where that is on another machine. */
  constructor(
    name: string, args: readonly string[], directory: string, through: readonly string[] = []
  ) {
    this.name = name
    this.log = new LogLines(name)
    const stdio = ['ignore', 'ignore', 'pipe', 'ipc'] as const
    const [program = '', ...rest] = [...through, process.execPath, ...args]
    const child = spawn(program, rest, { cwd: directory, detached: true, stdio: [...stdio] })
    this.#child = child
    const killWithTest = (): void => this.signalGroup('SIGKILL')
    process.once('exit', killWithTest)
    this.exited = once(child, 'close').then(() => {
      this.#gone = true
      this.log.ended()
    })
    if (child.stderr === null) return
    createInterface({ input: child.stderr }).on('line', (text) => this.log.add(text))
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get gone(): boolean {
    return this.#gone
  }

  /** Null while it runs, and when a signal ended it. */
  get exitCode(): number | null {
    return this.#child.exitCode
  }

  /** Sends a message to the program that the process runs. */
  tell(message: unknown): void {
    this.#child.send(message as object)
  }

  /** To the process alone: an agent's guest goes on. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** To the process and all that it has started, also when it is gone itself. */
  signalGroup(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.pid, signal)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }

  /** Kills what it has started, and not it. */
  killChildren(): void {
    const children = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8')
    for (const pid of children.split(' ').filter((one) => one !== '')) process.kill(Number(pid), 'SIGKILL')
  }

  /** Ends it and all that it has started as a power cut would, and resolves when it is gone. */
  async kill(): Promise<void> {
    this.signalGroup('SIGKILL')
    await this.exited
  }
}
