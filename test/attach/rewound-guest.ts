import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { RawSender } from '../../src/net/raw-sender.ts'
import { TcpState, type TcpInfo } from '../../src/net/tcp-info.ts'
import { run } from '../namespace.ts'
import { revived, type TcpImage } from '../net/tcp-image.ts'
import { leadTo } from '../net/tcp-lead.ts'
import { Questions } from '../questions.ts'
import type { GuestOrder } from './rewound-process.ts'

export const guestAddress = { 4: '10.77.0.2', 6: 'fd77::2' } as const
export const gatewayAddress = { 4: '10.77.0.1', 6: 'fd77::1' } as const
export const guestPort = 7700

let guests = 0

/**
 * A process in a network namespace of its own, joined to this one's by a pair of virtual Ethernet devices: a
 * guest whose TCP is a real kernel's, and whose connections go back to where they were saved.
 */
export class RewoundGuest {
  readonly #child: ChildProcess
  readonly #questions: Questions<GuestOrder>
  readonly #sender = new RawSender()
  #known = 0

  private constructor(child: ChildProcess) {
    this.#child = child
    this.#questions = new Questions(child, 'the guest process has ended')
  }

  /** In a namespace where this process may do as root does. */
  static async start(): Promise<RewoundGuest> {
    const program = fileURLToPath(new URL('rewound-process.ts', import.meta.url))
    const child = fork(program, [], {
      execPath: 'unshare', execArgv: ['-n', process.execPath, '--import=tsx']
    })
    const guest = new RewoundGuest(child)
    // It answers only once it is in its namespace.
    await guest.ask({ op: 'run', command: ['ip', 'link'] })
    await guest.#join(`tgr${++guests}`)
    return guest
  }

  async #join(device: string): Promise<void> {
    const pid = String(this.#child.pid)
    run('ip', 'link', 'add', device, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', pid)
    run('ip', 'addr', 'add', `${gatewayAddress[4]}/24`, 'dev', device)
    run('ip', 'addr', 'add', `${gatewayAddress[6]}/64`, 'dev', device, 'nodad')
    run('ip', 'link', 'set', device, 'up')
    for (const command of [
      ['ip', 'addr', 'add', `${guestAddress[4]}/24`, 'dev', 'eth0'],
      ['ip', 'addr', 'add', `${guestAddress[6]}/64`, 'dev', 'eth0', 'nodad'],
      ['ip', 'link', 'set', 'eth0', 'up']
    ]) await this.ask({ op: 'run', command })
  }

  ask(order: GuestOrder): Promise<unknown> {
    return this.#questions.ask(order)
  }

  async listen(family: 4 | 6 = 4, port: number = guestPort): Promise<string> {
    await this.ask({ op: 'listen', host: guestAddress[family], port })
    return family === 4 ? `${guestAddress[4]}:${port}` : `[${guestAddress[6]}]:${port}`
  }

  /** The number of the connection that came in after all that are known. */
  async nextAccepted(): Promise<number> {
    this.#known++
    await this.accepted(this.#known)
    return this.#known - 1
  }

  accepted(count: number): Promise<unknown> { return this.ask({ op: 'accepted', count }) }
  resume(at: number): Promise<unknown> { return this.ask({ op: 'resume', at }) }
  pause(at: number): Promise<unknown> { return this.ask({ op: 'pause', at }) }
  end(at: number): Promise<unknown> { return this.ask({ op: 'end', at }) }
  reset(at: number): Promise<unknown> { return this.ask({ op: 'reset', at }) }
  vanish(at: number): Promise<unknown> { return this.ask({ op: 'vanish', at }) }
  write(at: number, text: string | Buffer): Promise<unknown> {
    return this.ask({ op: 'write', at, bytes: Buffer.from(text) })
  }

  told(at: number, what: string): Promise<unknown> { return this.ask({ op: 'told', at, what }) }
  async dump(at: number): Promise<TcpImage> {
    return revived(await this.ask({ op: 'dump', at }) as TcpImage)
  }

  async info(at: number): Promise<TcpInfo> { return await this.ask({ op: 'info', at }) as TcpInfo }
  /**
   * Puts a connection back as it was saved. Its ends come about as they had: this side's FIN is sent once
   * more in the gateway's name, and the guest's own one is acknowledged if it had been.
   */
  async restore(image: TcpImage): Promise<number> {
    const at = await this.ask({ op: 'restore', image }) as number
    this.#known = at + 1
    await leadTo(image, {
      end: async () => { await this.end(at) },
      arrives: (packet) => this.#arrives(packet, image.local.address),
      until: (state) => this.until(at, state)
    })
    return at
  }

  async #arrives(packet: Buffer, address: string): Promise<void> {
    this.#sender.send(packet, address)
    await new Promise((resolve) => setImmediate(resolve))
  }

  /** Resolves when the connection has come to this state, which it does within some round trips. */
  async until(at: number, state: number): Promise<void> {
    for (let asked = 0; asked < 5000; asked++) if ((await this.info(at)).state === state) return
    throw new Error(`connection ${at} is in state ${(await this.info(at)).state}, not ${state}`)
  }

  /** Resolves when its kernel waits for nothing more of the connection with this port of the gateway. */
  async untilGone(port: number): Promise<void> {
    const digits = port.toString(16).toUpperCase().padStart(4, '0')
    const timeWait = TcpState.timeWait.toString(16).padStart(2, '0')
    // Out of /proc/net/tcp: `sl local remote state …`.
    const waiting = new RegExp(`:${digits} (?!${timeWait})[0-9A-F]{2} `)
    await this.looks(async () =>
      !waiting.test(String(await this.ask({ op: 'run', command: ['cat', '/proc/net/tcp'] }))))
  }

  /** Resolves when a look says so, which it does within some round trips. */
  async looks(met: () => Promise<boolean> | boolean): Promise<void> {
    for (let asked = 0; asked < 5000; asked++) {
      if (await met()) return
      await this.accepted(0)
    }
    throw new Error('what is looked for has not come about')
  }

  /** What it has read, as soon as that is `length` bytes. */
  async heard(at: number, length: number): Promise<string> {
    return Buffer.from(await this.ask({ op: 'heard', at, bytes: length }) as Uint8Array).toString('latin1')
  }

  stop(): void {
    this.#sender.close()
    this.#child.disconnect()
  }
}
