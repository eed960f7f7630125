import { readFile } from 'node:fs/promises'
import { messageOf, TailgateError } from '../base/errors.ts'
import type { GuestCondition } from '../core/message.ts'
import type { Engine } from './engine.ts'

/*
 * Engines for a service that is not in a virtual machine. They protect nothing: what they make cannot be
 * restored. They are there to put the gateway in front of any software and to measure what a release mode
 * costs it.
 */

export interface FixedServiceOptions {
  /** Where the service listens already, `host:port` each. */
  readonly endpoints: readonly string[]
}

/** What every engine without an image has in common. */
class FixedService {
  readonly canRestore = false
  onFailure: ((reason: string) => void) | undefined
  onPaused: ((ms: number) => void) | undefined
  readonly #name: string
  readonly #endpoints: readonly string[]
  #running = false

  constructor(name: string, endpoints: readonly string[]) {
    this.#name = name
    this.#endpoints = endpoints
  }

  get condition(): GuestCondition {
    return this.#running ? 'running' : 'absent'
  }

  get endpoints(): readonly string[] {
    return this.#running ? this.#endpoints : []
  }

  /** The service runs already; from now on it counts as the guest. */
  start(): Promise<void> {
    if (this.#running) return Promise.reject(this.cannot('start: it runs already'))
    this.#running = true
    return Promise.resolve()
  }

  restore(): Promise<void> {
    return Promise.reject(this.cannot('restore a guest: there is no image of its service'))
  }

  openNetwork(): Promise<void> {
    return Promise.reject(this.cannot('open a restored guest\'s network: it cannot restore one'))
  }

  attached(): Promise<void> {
    return Promise.reject(this.cannot('let go of a restored guest\'s connections: it cannot restore one'))
  }

  /**
   * There is no path that could be shut: such a guest is never promoted anywhere, so nothing need be fenced.
   */
  renewLease(): void {
    return
  }

  /** The service is not touched. */
  stop(): Promise<void> {
    this.#running = false
    return Promise.resolve()
  }

  protected cannot(what: string): TailgateError {
    return new TailgateError('E_ENGINE', `the engine '${this.#name}' cannot ${what}`)
  }
}

/** The engine `none`: a gateway in front of a service, without any checkpoint. */
export class NoEngine extends FixedService implements Engine {
  readonly name = 'none'

  constructor(options: FixedServiceOptions) {
    super('none', options.endpoints)
  }

  async *checkpoint(): AsyncGenerator<Uint8Array, void> {
    await Promise.reject(this.cannot('take a checkpoint'))
  }
}

export interface BlackholeOptions extends FixedServiceOptions {
  /** Processes that stand still, by SIGSTOP, while a checkpoint is taken. */
  readonly pids?: readonly number[]
  /** Files that hold such a process's id, read at each checkpoint. */
  readonly pidFiles?: readonly string[]
}

/**
 * Remus' blackhole: a checkpoint makes the service stand still and exchanges the mark as any engine does, and
 * its image is empty. What a release mode costs can so be measured on any software.
 */
export class BlackholeEngine extends FixedService implements Engine {
  readonly name = 'blackhole'
  readonly #options: BlackholeOptions
  #checkpointing = false

  constructor(options: BlackholeOptions) {
    super('blackhole', options.endpoints)
    this.#options = options
  }

  async *checkpoint(standing: () => Promise<void>): AsyncGenerator<Uint8Array, void> {
    if (this.condition !== 'running') throw new TailgateError('E_ENGINE', 'the service has not been started')
    if (this.#checkpointing) throw new TailgateError('E_ENGINE', 'another checkpoint is being taken')
    this.#checkpointing = true
    const stopped: number[] = []
    let since: number | undefined
    try {
      const pids = await this.#pids()
      since = performance.now()
      for (const pid of pids) {
        stop(pid)
        stopped.push(pid)
      }
      await standing()
    } finally {
      this.#checkpointing = false
      for (const pid of stopped) letRunOn(pid)
      if (since !== undefined) this.onPaused?.(performance.now() - since)
    }
  }

  async #pids(): Promise<readonly number[]> {
    const fromFiles = await Promise.all((this.#options.pidFiles ?? []).map(readPid))
    return [...this.#options.pids ?? [], ...fromFiles]
  }
}

async function readPid(file: string): Promise<number> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    const what = `the pid file ${file} cannot be read: ${messageOf(error)}`
    throw new TailgateError('E_ENGINE', what, { cause: error })
  })
  const pid = Number(text.trim())
  if (!Number.isInteger(pid) || pid < 2) throw new TailgateError('E_ENGINE', `${file} holds no process id`)
  return pid
}

function stop(pid: number): void {
  try {
    process.kill(pid, 'SIGSTOP')
  } catch (error) {
    const what = `process ${pid} cannot be stopped: ${messageOf(error)}`
    throw new TailgateError('E_ENGINE', what, { cause: error })
  }
}

/** A process that has ended meanwhile need not go on; the others must. */
function letRunOn(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT')
  } catch {
    return
  }
}
