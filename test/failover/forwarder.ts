import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { Lane } from './lane.ts'

/** What the side that connects says, or what the other one says. */
export type Direction = 'orders' | 'answers'

/** Is told of all bytes just before they pass, by the number of their connection. */
export type Watcher = (connection: number, direction: Direction, bytes: Buffer) => void

/** A link through user space, `listen → target` on loopback, which a test can cut, hold up, slow or watch. */
export class Forwarder {
  readonly #target: number
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #lanes: Readonly<Record<Direction, Set<Lane>>> = { orders: new Set(), answers: new Set() }
  readonly #delayMs: Record<Direction, number> = { orders: 0, answers: 0 }
  #watcher: Watcher | undefined
  #connections = 0
  #cut = false
  #held: 'nothing' | 'answers' | 'everything' = 'nothing'

  private constructor(target: number) {
    this.#target = target
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket))
  }

  static async open(target: number): Promise<Forwarder> {
    const forwarder = new Forwarder(target)
    await new Promise<void>((resolve) => forwarder.#server.listen(0, '127.0.0.1', () => resolve()))
    return forwarder
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Every connection breaks, and none comes up. */
  cut(): void {
    this.#cut = true
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  /** Nothing passes, or nothing of what the target says, and nobody is told. */
  hold(what: 'answers' | 'everything' = 'everything'): void {
    this.#held = what
    this.#tellHeld()
  }

  /** After {@link cut} or {@link hold}: bytes pass, those that were held first. */
  mend(): void {
    this.#cut = false
    this.#held = 'nothing'
    this.#tellHeld()
  }

  /** Every byte that comes from now on passes so many milliseconds later; 0 for at once. */
  delay(ms: number, directions: readonly Direction[] = ['orders', 'answers']): void {
    for (const direction of directions) {
      this.#delayMs[direction] = ms
      for (const lane of this.#lanes[direction]) lane.delay(ms)
    }
  }

  /** One at a time, from the first byte of the connections that come from now on. */
  watch(watcher: Watcher): void {
    this.#watcher = watcher
  }

  async close(): Promise<void> {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #holds(direction: Direction): boolean {
    return this.#held === 'everything' || this.#held === direction
  }

  #tellHeld(): void {
    for (const direction of ['orders', 'answers'] as const) {
      for (const lane of this.#lanes[direction]) lane.hold(this.#holds(direction))
    }
  }

  #accept(near: Socket): void {
    if (this.#cut) {
      near.resetAndDestroy()
      return
    }
    const far = connect({ host: '127.0.0.1', port: this.#target, noDelay: true, allowHalfOpen: true })
    const connection = ++this.#connections
    this.#join(near, far, connection, 'orders')
    this.#join(far, near, connection, 'answers')
  }

  #join(from: Socket, to: Socket, connection: number, direction: Direction): void {
    this.#sockets.add(from)
    const state = { delayMs: this.#delayMs[direction], held: this.#holds(direction) }
    const watcher = this.#watcher
    const lane = new Lane(from, to, state, (bytes) => watcher?.(connection, direction, bytes))
    this.#lanes[direction].add(lane)
    from.on('close', () => this.#sockets.delete(from))
    to.on('close', () => this.#lanes[direction].delete(lane))
  }
}
