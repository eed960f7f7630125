import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, existsSync } from 'node:fs'
import { createServer, connect, type AddressInfo } from 'node:net'
import { availableParallelism } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as after } from 'node:timers/promises'

/**
 * Contenders have a processor of their own; load, services and backup share the other, as a second host
 * would. `anywhere`: where the kernel likes, for what is to use as many as there are.
 */
export type Place = 'contender' | 'others' | 'anywhere'

const startTimeoutMs = 20_000
const outputTimeoutMs = 60_000
const stopTimeoutMs = 5000

/** The path of a program, or undefined. */
export function programPath(name: string): string | undefined {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  return directories.map((directory) => join(directory, name)).find((file) => {
    try {
      accessSync(file, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

const taskset = availableParallelism() > 1 ? programPath('taskset') : undefined

/** Whether programs are kept on processors of their own. */
export const pinned = taskset !== undefined

const started = new Set<ChildProcess>()

/** However this process ends, what it started ends with it. */
export function endProgramsAtExit(): void {
  process.once('exit', () => { for (const child of started) child.kill('SIGKILL') })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
}

/** A started program, ended with {@link Program.stop}. */
export class Program {
  readonly child: ChildProcess
  readonly #name: string
  #errors = ''

  constructor(name: string, place: Place, program: string, args: readonly string[]) {
    const stdio: StdioOptions = ['ignore', 'pipe', 'pipe']
    const onCpu = ['--cpu-list', place === 'contender' ? '0' : '1', program, ...args]
    const isFree = taskset === undefined || place === 'anywhere'
    this.#name = name
    this.child = isFree ? spawn(program, args, { stdio }) : spawn(taskset, onCpu, { stdio })
    started.add(this.child)
    this.child.once('exit', () => started.delete(this.child))
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-2000)
    })
  }

  /** taskset becomes the program it starts, so this is the program's own. */
  get pid(): number {
    if (this.child.pid === undefined) throw new Error(`${this.#name} could not be started`)
    return this.child.pid
  }

  /** The first line on its standard output. */
  async firstLine(): Promise<string> {
    if (this.child.stdout === null) throw new Error(`${this.#name} has no output`)
    const lines = createInterface(this.child.stdout)
    const ended = new AbortController()
    const line = await Promise.race([
      once(lines, 'line', { signal: ended.signal }).then(([text]) => String(text)),
      once(this.child, 'exit', { signal: ended.signal }).then(() => undefined),
      after(startTimeoutMs, undefined, { signal: ended.signal })
    ])
    ended.abort()
    if (line === undefined) throw this.failure('did not start')
    return line
  }

  /** Everything on its standard output, when it has ended well. After `limitMs` it is killed, and has not. */
  async output(limitMs = outputTimeoutMs): Promise<string> {
    let text = ''
    let late = false
    this.child.stdout?.setEncoding('utf8').on('data', (piece: string) => { text += piece })
    const impatient = setTimeout(() => {
      late = true
      this.child.kill('SIGKILL')
    }, limitMs)
    const [code] = await once(this.child, 'close').finally(() => clearTimeout(impatient)) as [number | null]
    if (late) throw this.failure(`was not done after ${limitMs / 1000} s: ${text.slice(-500)}`)
    if (code !== 0) throw this.failure(`ended with ${code ?? 'a signal'}: ${text.slice(-500)}`)
    return text
  }

  /** Resolves when it takes connections on `port`. */
  async listening(port: number): Promise<void> {
    const end = performance.now() + startTimeoutMs
    this.child.stdout?.resume()
    while (performance.now() < end) {
      if (this.child.exitCode !== null) throw this.failure('ended at once')
      if (await accepts(port)) return
      await after(20)
    }
    throw this.failure(`does not listen on port ${port}`)
  }

  failure(what: string): Error {
    return new Error(`${this.#name} ${what}\n${this.#errors}`)
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const gone = once(this.child, 'exit')
    this.child.kill('SIGTERM')
    const impatient = setTimeout(() => this.child.kill('SIGKILL'), stopTimeoutMs)
    await gone
    clearTimeout(impatient)
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

/** Ports that nobody listened on a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

const answerTimeoutMs = 30_000

/** Resolves when a process has written `file`, which it was asked for by a signal. */
export async function fileAppears(file: string): Promise<void> {
  const end = performance.now() + answerTimeoutMs
  while (!existsSync(file)) {
    if (performance.now() > end) throw new Error(`nobody wrote ${file} for ${answerTimeoutMs / 1000} s`)
    await after(20)
  }
}
