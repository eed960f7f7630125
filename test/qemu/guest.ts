import { once } from 'node:events'
import { createConnection, createServer } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { QemuEngine, type QemuEngineOptions } from '../../src/engine/qemu.ts'
import { builtImage } from '../built-image.ts'
import { DirectClient } from '../guest/direct-client.ts'
import type { Reply } from '../guest/replies.ts'
import type { Undoing } from '../lab/undoing.ts'
import { requires, requiresRoot } from '../requires.ts'
import { guestAddress, Namespace, shortDirectory, TapInNamespace } from './namespace.ts'

export const guestMac = '52:54:00:77:00:09'

/** What there is on this machine for a real guest. */
export interface QemuHost {
  /** The directory of `vmlinuz` and `initrd`. */
  readonly image: string
  readonly qemu: string
}

/** Builds the image of a guest with Redis, or finds it built. Undefined where the test is skipped. */
export async function qemuHost(t: Test): Promise<QemuHost | undefined> {
  return await hostWith(t, 'deploy/demo-guest/build.sh', 'tailgate-test-guest')
}

/** Likewise, of one with PostgreSQL and nginx on a disk, and what its clients need. */
export async function databaseHost(t: Test): Promise<QemuHost | undefined> {
  for (const program of ['psql', 'pgbench', 'qemu-img', 'mke2fs', 'openssl']) {
    if (requires(t, program) === undefined) return undefined
  }
  return await hostWith(t, 'test/qemu/database/build.sh', 'tailgate-test-database')
}

/** `script` builds the image into the directory `name` of the user's cache. */
async function hostWith(t: Test, script: string, name: string): Promise<QemuHost | undefined> {
  const qemu = requires(t, 'qemu-system-x86_64')
  if (qemu === undefined) return undefined
  if (requires(t, 'cpio') === undefined || requires(t, 'ip') === undefined) return undefined
  if (!requiresRoot(t)) return undefined
  return { image: await builtImage(script, name), qemu }
}

export interface GuestOptions extends Partial<QemuEngineOptions> {
  /** More words for QEMU. */
  readonly more?: readonly string[]
  readonly memoryMiB?: number
}

/** A guest with Redis in a namespace, and its engine, which is stopped when the test ends. */
export class RedisGuest {
  readonly engine: QemuEngine
  readonly network: TapInNamespace
  readonly space: Namespace
  /** What the engine said about this host. */
  readonly notices: readonly string[]
  readonly console: Console
  /** The engine's. */
  readonly directory: string

  private constructor(
    parts: Pick<RedisGuest, 'engine' | 'network' | 'space' | 'notices' | 'console' | 'directory'>
  ) {
    this.engine = parts.engine
    this.network = parts.network
    this.space = parts.space
    this.notices = parts.notices
    this.console = parts.console
    this.directory = parts.directory
  }

  /** Another host's engine for the same guest, if `space` is given. */
  static async make(
    t: Test, host: QemuHost, some: GuestOptions = {}, space?: Namespace
  ): Promise<RedisGuest> {
    const within = space ?? await Namespace.make(t)
    const network = new TapInNamespace(within)
    const directory = some.directory ?? await shortDirectory(t)
    const notices: string[] = []
    const console = await Console.listen(t)
    const engine = new QemuEngine({
      program: [...within.within, host.qemu],
      arguments: [...machineWords(host, some.memoryMiB ?? 96), ...console.words, ...some.more ?? []],
      network, mac: guestMac, endpoints: [`${guestAddress}:6379`], directory,
      notice: text => { notices.push(text) }, ...some
    })
    t.teardown(() => engine.stop())
    return new RedisGuest({ engine, network, space: within, notices, console, directory })
  }

  /** Starts it from nothing; resolves when it serves. */
  async boot(): Promise<void> {
    await this.engine.start()
    await this.console.says('tailgate: ready')
  }

  /** Asks one thing over a connection of its own, which the guest must accept. */
  async ask(line: string): Promise<Reply> {
    const client = await this.connect()
    const reply = await client.ask(line)
    client.close()
    return reply
  }

  connect(): Promise<DirectClient> {
    return DirectClient.open(this.space.redis)
  }

  /** What a command in the guest says. */
  async shell(command: string): Promise<string> {
    const socket = createConnection(this.space.shell)
    socket.end(`${command}\n`)
    const parts: Buffer[] = []
    for await (const part of socket) parts.push(part as Buffer)
    return Buffer.concat(parts).toString().trim()
  }

  /** Whether its Redis can be reached. */
  async isOpen(): Promise<boolean> {
    return this.ask('PING').then(reply => reply === 'PONG', () => false)
  }
}

/** The machine of the tests, in QEMU's words. */
export function machineWords(host: QemuHost, memoryMiB: number): readonly string[] {
  return [
    '-accel', 'tcg,thread=multi', '-M', 'pc', '-cpu', 'qemu64,+rdrand', '-m', String(memoryMiB),
    '-kernel', join(host.image, 'vmlinuz'), '-initrd', join(host.image, 'initrd'),
    '-append', `console=ttyS0 quiet panic=-1 tailgate.address=${guestAddress}/24`
  ]
}

/** A console on a unix socket: what the guest says there, and who waits for a word of it. */
export class Console {
  readonly words: readonly string[]
  #text = ''
  #wake: (() => void) | undefined

  private constructor(path: string) {
    this.words = ['-serial', `unix:${path}`]
  }

  static async listen(t: Undoing): Promise<Console> {
    const path = join(await shortDirectory(t), 'console.sock')
    const it = new Console(path)
    const server = createServer(socket => {
      socket.on('data', (bytes: Buffer) => {
        it.#text += bytes.toString('latin1')
        it.#wake?.()
      })
      socket.on('error', () => undefined)
    }).listen(path)
    await once(server, 'listening')
    t.teardown(() => server.close())
    return it
  }

  /** Resolves when the guest has said this since the last time that it was waited for. */
  async says(text: string): Promise<void> {
    while (!this.#text.includes(text)) await new Promise<void>(resolve => { this.#wake = resolve })
    this.#text = ''
  }
}
