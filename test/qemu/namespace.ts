import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { messageOf, TailgateError } from '../../src/base/errors.ts'
import type { GuestNetwork } from '../../src/engine/guest-network.ts'
import type { Undoing } from '../lab/undoing.ts'

const run = promisify(execFile)
let made = 0

/** Where the guests of the tests are, and the host that asks them. */
export const guestAddress = '10.77.0.9'
const hostAddress = '10.77.0.1/24'

/** A directory whose path is short enough for sockets; removed when the test ends. */
export async function shortDirectory(t: Undoing): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'tgq-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  return directory
}

/**
 * A network namespace with a bridge, in which guests run and are asked; removed when the test ends:
 *
 *   test ── unix socket ── relay ── bridge 10.77.0.1 ── tap ── guest 10.77.0.9
 */
export class Namespace {
  readonly name: string
  /** Unix sockets that lead to the guest's Redis, and to a shell in it. */
  readonly redis: string
  readonly shell: string

  private constructor(name: string, directory: string) {
    this.name = name
    this.redis = join(directory, '6379')
    this.shell = join(directory, '7000')
  }

  static async make(t: Test): Promise<Namespace> {
    const name = `tgq${process.pid}-${made++}`
    const directory = await shortDirectory(t)
    const space = new Namespace(name, directory)
    await run('ip', ['netns', 'add', name])
    t.teardown(() => run('ip', ['netns', 'del', name]))
    // Errors of the kernel's own, as that a guest is not there, come by way of it.
    await space.ip('link', 'set', 'lo', 'up')
    await space.ip('link', 'add', 'guests', 'type', 'bridge')
    await space.ip('address', 'add', hostAddress, 'dev', 'guests')
    await space.ip('link', 'set', 'guests', 'up')
    // Asking three times for a guest that is not there need not take three seconds.
    await space.ip('ntable', 'change', 'name', 'arp_cache', 'dev', 'guests', 'retrans', '50')
    const child = spawn('ip', ['netns', 'exec', name, process.execPath, '--import=tsx',
      fileURLToPath(new URL('relay.ts', import.meta.url)), directory, guestAddress, '6379', '7000'])
    t.teardown(() => child.kill('SIGKILL'))
    await once(child.stdout, 'data')
    return space
  }

  /** The words that run a program in it. */
  get within(): readonly string[] {
    return ['ip', 'netns', 'exec', this.name]
  }

  async ip(...words: readonly string[]): Promise<void> {
    await run('ip', ['-n', this.name, ...words])
  }
}

/** A tap on the namespace's bridge whose gate is the state of the link. */
export class TapInNamespace implements GuestNetwork {
  readonly device: string
  onFailure: ((reason: string) => void) | undefined
  readonly #space: Namespace
  /** Somebody else's device is left alone. */
  #adopted = false
  /** What was ordered, in order. */
  readonly orders: string[] = []
  readonly #waiting = new Map<string, () => void>()

  constructor(space: Namespace, device = 'guest') {
    this.#space = space
    this.device = device
  }

  /** Resolves when this is ordered next. */
  told(order: string): Promise<void> {
    return new Promise(resolve => { this.#waiting.set(order, resolve) })
  }

  async prepare(): Promise<void> {
    this.#told('prepare')
    this.#adopted = false
    await this.#remove()
    await this.#ip('tuntap', 'add', 'dev', this.device, 'mode', 'tap')
    await this.#ip('link', 'set', this.device, 'master', 'guests')
    // Who believes that the guest is there asks it for minutes; who must find it first knows soon.
    await this.#ip('neighbour', 'flush', 'dev', 'guests')
  }

  async layGate(): Promise<void> {
    this.#told('gate')
    await this.#ip('link', 'set', this.device, 'down')
  }

  adopt(): Promise<void> {
    this.#told('adopt')
    this.#adopted = true
    return Promise.resolve()
  }

  async open(): Promise<void> {
    this.#told('open')
    await this.#ip('link', 'set', this.device, 'up')
  }

  async shut(): Promise<void> {
    this.#told('shut')
    await this.#ip('link', 'set', this.device, 'down')
  }

  renewLease(remainingMs: number): void {
    this.#told(`lease ${remainingMs}`)
  }

  announce(): Promise<void> {
    this.#told('announce')
    return Promise.resolve()
  }

  async close(): Promise<void> {
    this.#told('close')
    if (!this.#adopted) await this.#remove()
  }

  #told(order: string): void {
    this.orders.push(order)
    this.#waiting.get(order)?.()
  }

  async #remove(): Promise<void> {
    await this.#space.ip('link', 'del', this.device).catch(() => undefined)
  }

  async #ip(...words: readonly string[]): Promise<void> {
    await this.#space.ip(...words).catch((cause: unknown) => {
      throw new TailgateError('E_ENGINE', `the tap could not be made: ${messageOf(cause)}`, { cause })
    })
  }
}
