import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'

/** A word that does not come within this is an error of the test. Milliseconds. */
const patienceMs = 30_000
const rememberedLines = 60

/** The environment without what the test runner puts into it for its own children. */
export function plainEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([key]) => key !== 'NODE_OPTIONS' && !/^_?TAP/.test(key))
  return { ...Object.fromEntries(kept), LC_ALL: 'C' }
}

interface Waiter {
  readonly wanted: (line: string) => boolean
  readonly resolve: (line: string) => void
  readonly reject: (error: Error) => void
}

const running = new Set<ChildProcess>()

/** A test that is itself ended, as by its time limit, runs no teardown and must yet leave nothing running. */
function endAll(): void {
  for (const child of running) child.kill('SIGKILL')
}

process.on('exit', endAll)
for (const signal of ['SIGTERM', 'SIGINT', 'SIGALRM'] as const) {
  process.once(signal, () => {
    endAll()
    process.kill(process.pid, signal)
  })
}

/** A program that runs beside the test until the test ends, and what it says, line by line. */
export class Program {
  readonly name: string
  readonly process: ChildProcess
  /** Told of every line. */
  onLine: ((line: string) => void) | undefined
  readonly #recent: string[] = []
  readonly #waiters = new Set<Waiter>()
  readonly #closed: Promise<unknown>

  /** Starts it; `t` ends it by its process id, at the latest when the test is over. */
  constructor(t: Test, command: string, args: readonly string[], options: SpawnOptions = {}) {
    this.name = command
    this.process = spawn(command, args, {
      env: plainEnvironment(), ...options, stdio: options.stdio ?? ['ignore', 'pipe', 'pipe']
    })
    running.add(this.process)
    this.process.once('exit', () => running.delete(this.process))
    this.#closed = once(this.process, 'close').then(() => this.#over('ended'))
    this.#closed.catch(() => undefined)
    this.process.on('error', (error) => this.#over(error.message))
    for (const stream of [this.process.stdout, this.process.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.#line(line))
    }
    t.teardown(async () => this.stop())
  }

  get pid(): number {
    if (this.process.pid === undefined) throw new Error(`${this.name} was not started`)
    return this.process.pid
  }

  get running(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null
  }

  /** The last that it said. */
  get recent(): string {
    return this.#recent.join('\n')
  }

  /** The first line from now on that is `wanted`. */
  async says(wanted: RegExp | ((line: string) => boolean)): Promise<string> {
    const matches = wanted instanceof RegExp ? (line: string) => wanted.test(line) : wanted
    let limit: NodeJS.Timeout | undefined
    let waiter: Waiter | undefined
    try {
      return await new Promise<string>((resolve, reject) => {
        waiter = { wanted: matches, resolve, reject }
        this.#waiters.add(waiter)
        limit = setTimeout(() => reject(this.#fault('has not said what was waited for')), patienceMs)
        if (!this.running) reject(this.#fault('has ended'))
      })
    } finally {
      clearTimeout(limit)
      if (waiter !== undefined) this.#waiters.delete(waiter)
    }
  }

  /** Asks it to end, and after a while makes it. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.process.pid === undefined) return
    const limit = setTimeout(() => this.process.kill('SIGKILL'), 5000)
    if (this.running) this.process.kill(signal)
    this.process.kill('SIGCONT')
    await this.#closed
    clearTimeout(limit)
  }

  #line(line: string): void {
    this.#recent.push(line)
    if (this.#recent.length > rememberedLines) this.#recent.shift()
    this.onLine?.(line)
    for (const waiter of this.#waiters) if (waiter.wanted(line)) waiter.resolve(line)
  }

  #over(how: string): void {
    for (const waiter of this.#waiters) waiter.reject(this.#fault(how))
  }

  #fault(how: string): Error {
    return new Error(`${this.name} ${how}; it said last:\n${this.recent}`)
  }
}

/** What a program that has ended came to. */
export interface Result {
  readonly status: number | null
  readonly out: string
  readonly error: string
}

/** Runs a program to its end, with `input` on its standard input. */
export async function run(
  t: Test, command: string, args: readonly string[], input = '', options: SpawnOptions = {}
): Promise<Result> {
  const child = spawn(command, args, {
    env: plainEnvironment(), ...options, stdio: ['pipe', 'pipe', 'pipe'], timeout: 2 * patienceMs
  })
  t.teardown(() => child.kill('SIGKILL'))
  let [out, error] = ['', '']
  child.stdout?.setEncoding('utf8').on('data', (piece: string) => { out += piece })
  child.stderr?.setEncoding('utf8').on('data', (piece: string) => { error += piece })
  child.stdin?.on('error', () => undefined).end(input)
  await once(child, 'close')
  return { status: child.exitCode, out, error }
}

/** Calls `look` again and again, each time after the last answer, until it gives something. */
export async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + patienceMs
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (Date.now() > end) throw new Error(`this has not come to be: ${what}`)
  }
}
