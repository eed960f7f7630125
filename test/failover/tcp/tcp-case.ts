import { connect, type Socket } from 'node:net'
import { TcpState } from '../../../src/net/tcp-info.ts'
import type { Look } from './guest-connection.ts'
import { network } from './network.ts'
import { answerTo, isLast } from './requests.ts'
import type { TcpLab } from './tcp-lab.ts'

/** How long a client waits for what it is owed, in milliseconds. */
const patienceMs = 15_000

/** One client and its connection: what it said, and what it was told, from its first byte to its end. */
export class TcpCase {
  readonly name: string
  /** In words, for reports. */
  readonly title: string
  readonly #lab: TcpLab
  readonly #said: string[] = []
  #socket: Socket | undefined
  #text = ''
  #client = ''
  #inputEnded = false
  #ended: 'end' | 'reset' | undefined
  #wake: (() => void) | undefined
  /** The gateway's ports whose answers from the guest are kept from arriving. */
  #held: number[] = []
  /** The client reset the connection: what it was not answered may have been carried out or not. */
  hasReset = false

  constructor(lab: TcpLab, name: string, title: string) {
    this.#lab = lab
    this.name = name
    this.title = title
  }

  get text(): string { return this.#text }
  /** As the gateway's log names it. */
  get client(): string { return this.#client }
  get ended(): 'end' | 'reset' | undefined { return this.#ended }
  get said(): readonly string[] { return this.#said }
  get isConnected(): boolean { return this.#socket !== undefined }

  /** All that the client is to be told, in the order of its requests. */
  get owed(): string {
    const last = this.#said.findIndex(isLast)
    return this.#said.slice(0, last < 0 ? undefined : last + 1).map(answerTo).join('')
  }

  // ---- the client

  async connect(): Promise<void> {
    const socket = connect({ host: '127.0.0.1', port: this.#lab.port, allowHalfOpen: true, noDelay: true })
    this.#socket = socket
    socket.on('data', (bytes: Buffer) => {
      this.#text += bytes.toString('latin1')
      this.#wake?.()
    })
    socket.on('end', () => this.#over('end'))
    socket.on('error', () => this.#over('reset'))
    await new Promise<void>((resolve, reject) => { socket.once('connect', resolve).once('error', reject) })
    this.#client = `${socket.localAddress}:${socket.localPort}`
  }

  #over(how: 'end' | 'reset'): void {
    this.#ended ??= how
    if (how === 'reset') this.#ended = how
    this.#wake?.()
  }

  say(request: string): void {
    const whole = `${this.name}.${request}`
    this.#said.push(whole)
    this.#socket?.write(`${whole};`)
  }

  end(): void {
    this.#inputEnded = true
    this.#socket?.end()
  }

  reset(): void {
    this.hasReset = true
    this.#socket?.resetAndDestroy()
  }

  /** Whether it can say more, and be answered. */
  get mayAsk(): boolean {
    return !this.#inputEnded && !this.hasReset && this.#ended === undefined && !this.#said.some(isLast)
  }

  get mayEnd(): boolean { return !this.#inputEnded && !this.hasReset && this.#ended !== 'reset' }

  /** Every answer is here. */
  answered(): Promise<void> {
    return this.#until('every answer', () => this.#text.length >= this.owed.length)
  }

  told(): Promise<void> {
    return this.#until('the end', () => this.#ended !== undefined)
  }

  /** Gives up at a reset, which is the last that is ever heard. */
  async #until(what: string, met: () => boolean): Promise<void> {
    const late = AbortSignal.timeout(patienceMs)
    while (!met() && this.#ended !== 'reset') {
      await new Promise<void>((resolve, reject) => {
        this.#wake = resolve
        late.onabort = () => reject(new Error(`${this.title}: the client waits for ${what} in vain, with `
          + `${this.#text.length} of ${this.owed.length} bytes and ${this.#ended ?? 'no end'}`))
      })
    }
  }

  close(): void { this.#socket?.destroy() }

  // ---- the guest

  /** The guest answers no more, or what it owes and all that follows. */
  async holdAnswers(on: boolean): Promise<void> {
    await this.#lab.machine.ask({ op: 'hold', name: this.name, on })
  }

  async read(on: boolean): Promise<void> {
    await this.#lab.machine.ask({ op: 'read', name: this.name, on })
  }

  /** The other side's end comes next, in FIN-WAIT-2. */
  async part(): Promise<void> {
    await this.#lab.machine.ask({ op: 'part', name: this.name })
  }

  until(what: string, met: (look: Look) => boolean): Promise<Look> {
    return this.#lab.machine.until(this.name, what, met)
  }

  inState(state: keyof typeof TcpState): Promise<Look> {
    return this.until(state, (look) => look.state === TcpState[state])
  }

  /** The guest has carried out all that was said. */
  heard(): Promise<Look> {
    return this.until('done with all requests', ({ handled }) => handled === this.#said.length)
  }

  // ---- the network between gateway and guest

  /** Nothing that the guest sends arrives. */
  async holdNetwork(): Promise<void> {
    const { port } = await this.until('known', () => true)
    this.#held.push(port)
    network.hold(this.#held)
  }

  letNetworkGo(): void {
    network.letGo(this.#held)
    this.#held = []
  }

  /** Connects while no SYN is answered; resolves when the guest has seen its own. */
  async connectHalf(): Promise<void> {
    const before = new Set((await this.#lab.machine.halfOpen()).map(({ port }) => port))
    await this.connect()
    const deadline = performance.now() + patienceMs
    for (;;) {
      const found = (await this.#lab.machine.halfOpen()).find(({ port }) => !before.has(port))
      if (found !== undefined) {
        this.#held = [found.port]
        network.hold(this.#held)
        return
      }
      if (performance.now() > deadline) throw new Error(`${this.title}: the guest has seen no SYN`)
    }
  }
}
