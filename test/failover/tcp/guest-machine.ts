import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { Questions } from '../../questions.ts'
import type { Look } from './guest-connection.ts'
import { goOnPipe, imagePipe, type HalfOpen, type MachineOrder } from './guest-pipes.ts'
import { network } from './network.ts'

/** How long the machine is given to come to what a test waits for, in milliseconds. */
const patienceMs = 15_000

/** A machine that a guest may run on: a process in a network namespace of its own (guest-process.ts). */
export class GuestMachine {
  readonly #child: ChildProcess
  readonly #port: string
  readonly #questions: Questions<MachineOrder>
  readonly #exited: Promise<unknown>
  #death: Promise<void> | undefined

  private constructor(child: ChildProcess, port: string) {
    this.#child = child
    this.#port = port
    this.#questions = new Questions(child, 'the machine is gone')
    this.#exited = once(child, 'exit')
  }

  /** `name`: of its port of the network, which is shut. */
  static async start(name: string): Promise<GuestMachine> {
    const program = fileURLToPath(new URL('guest-process.ts', import.meta.url))
    const child = fork(program, [], {
      execPath: 'unshare', execArgv: ['-n', process.execPath, '--import=tsx'], serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', 'pipe', 'pipe']
    })
    const machine = new GuestMachine(child, name)
    // It answers only once it is in its namespace.
    await machine.ask({ op: 'run', command: ['ip', 'link'] })
    for (const command of network.addPort(name, child.pid ?? 0)) await machine.ask({ op: 'run', command })
    return machine
  }

  ask(order: MachineOrder): Promise<unknown> {
    return this.#questions.ask(order)
  }

  openNetwork(): void { network.open(this.#port) }

  /** Nothing that it does from now on is ever seen. It dies once, however often it is told to. */
  die(): Promise<void> {
    return this.#death ??= this.#die()
  }

  async #die(): Promise<void> {
    network.shut(this.#port)
    this.#child.kill('SIGKILL')
    await this.#exited
    // Not before: while its IPv6 sockets are there, the kernel can wait for ever for its card to be free.
    network.removePort(this.#port)
  }

  /**
   * Brings process and network to a stand and takes the image; nothing moves in the machine until `goOn` is
   * called.
   */
  async stand(): Promise<{ readonly image: Buffer, readonly goOn: () => Promise<void> }> {
    network.shut(this.#port)
    const stood = this.ask({ op: 'stand' })
    const image = await this.#image()
    const goOn = async (): Promise<void> => {
      (this.#pipe(goOnPipe) as Writable).write('\n')
      await stood
      network.open(this.#port)
    }
    return { image, goOn }
  }

  #pipe(at: number): Readable | Writable | null | undefined {
    const pipes: readonly (Readable | Writable | null | undefined)[] = this.#child.stdio
    return pipes[at]
  }

  /** A length in four bytes, and so many. */
  #image(): Promise<Buffer> {
    const pipe = this.#pipe(imagePipe) as Readable
    return new Promise((resolve, reject) => {
      let bytes = Buffer.alloc(0)
      const lost = (): void => { reject(new Error('the machine is gone')) }
      const take = (piece: Buffer): void => {
        bytes = Buffer.concat([bytes, piece])
        if (bytes.length < 4 || bytes.length < 4 + bytes.readUInt32LE()) return
        pipe.off('data', take).off('close', lost)
        resolve(bytes.subarray(4))
      }
      pipe.on('data', take).on('close', lost)
    })
  }

  async look(name: string): Promise<Look | undefined> {
    return await this.ask({ op: 'look', name }) as Look | undefined
  }

  /** Resolves with the first look that is as wanted. */
  async until(name: string, what: string, met: (look: Look) => boolean): Promise<Look> {
    const began = performance.now()
    for (;;) {
      const look = await this.look(name)
      if (look !== undefined && met(look)) return look
      if (performance.now() - began > patienceMs) {
        throw new Error(`connection ${name} of the guest is not ${what}: ${JSON.stringify(look)}`)
      }
    }
  }

  async halfOpen(): Promise<readonly HalfOpen[]> {
    return await this.ask({ op: 'half-open' }) as readonly HalfOpen[]
  }

  /** How often each request was carried out. */
  async executed(): Promise<ReadonlyMap<string, number>> {
    return await this.ask({ op: 'executed' }) as ReadonlyMap<string, number>
  }
}
