import { messageOf, TailgateError } from '../../../src/base/errors.ts'
import type { GuestCondition } from '../../../src/core/message.ts'
import type { Engine } from '../../../src/engine/engine.ts'
import type { GuestMachine } from './guest-machine.ts'

const pieceBytes = 1 << 20

export interface RewoundEngineOptions {
  readonly machine: GuestMachine
  readonly host: string
  readonly port: number
  /** A checkpoint is wanted; resolves when the guest is to be brought to a stand for it. */
  readonly turn: () => Promise<void>
}

/**
 * An engine whose guest is a process with its namespace's TCP: all of it goes back to where it stood at the
 * checkpoint, as a virtual machine does.
 */
export class RewoundEngine implements Engine {
  readonly name = 'rewound'
  readonly canRestore = true
  onFailure: ((reason: string) => void) | undefined
  onPaused: ((ms: number) => void) | undefined
  readonly #options: RewoundEngineOptions
  #condition: GuestCondition = 'absent'

  constructor(options: RewoundEngineOptions) {
    this.#options = options
  }

  get condition(): GuestCondition { return this.#condition }

  get endpoints(): readonly string[] {
    const { host, port } = this.#options
    return [host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`]
  }

  async start(): Promise<void> {
    const { machine, host, port } = this.#options
    await machine.ask({ op: 'listen', host, port })
    machine.openNetwork()
    this.#condition = 'running'
  }

  async* checkpoint(standing: () => Promise<void>): AsyncGenerator<Uint8Array, void> {
    await this.#options.turn()
    const { image, goOn } = await this.#options.machine.stand()
    try {
      await standing()
    } finally {
      await goOn()
    }
    for (let at = 0; at < image.length; at += pieceBytes) yield image.subarray(at, at + pieceBytes)
  }

  async restore(image: AsyncIterable<Uint8Array>): Promise<void> {
    const { machine, host, port } = this.#options
    const pieces: Uint8Array[] = []
    for await (const piece of image) pieces.push(piece)
    try {
      await machine.ask({ op: 'restore', host, port, image: Buffer.concat(pieces) })
    } catch (cause) {
      throw new TailgateError('E_ENGINE', `the guest cannot be put back: ${messageOf(cause)}`, { cause })
    }
    this.#condition = 'running'
  }

  async openNetwork(): Promise<void> {
    const { machine } = this.#options
    machine.openNetwork()
    await machine.ask({ op: 'go' })
  }

  attached(): Promise<void> { return Promise.resolve() }
  renewLease(): void { return }

  async stop(): Promise<void> {
    if (this.#condition === 'absent') return
    this.#condition = 'absent'
    await this.#options.machine.die()
  }
}
