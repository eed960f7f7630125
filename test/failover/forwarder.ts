import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** A link through user space, `listen → target` on loopback, which a test can cut or hold up. */
export class Forwarder {
  readonly #target: number
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** Those of {@link #sockets} that bring what the target says. */
  readonly #answering = new Set<Socket>()
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
    for (const socket of this.#sockets) if (this.#holds(socket)) socket.pause()
  }

  /** After {@link cut} or {@link hold}: bytes pass, those that were held first. */
  mend(): void {
    this.#cut = false
    this.#held = 'nothing'
    for (const socket of this.#sockets) socket.resume()
  }

  async close(): Promise<void> {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #holds(socket: Socket): boolean {
    return this.#held === 'everything' || this.#held === 'answers' && this.#answering.has(socket)
  }

  #accept(near: Socket): void {
    if (this.#cut) {
      near.resetAndDestroy()
      return
    }
    const far = connect({ host: '127.0.0.1', port: this.#target, noDelay: true, allowHalfOpen: true })
    this.#answering.add(far)
    far.on('close', () => this.#answering.delete(far))
    this.#join(near, far)
    this.#join(far, near)
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from)
    from.on('data', (bytes: Buffer) => {
      if (!to.write(bytes)) from.pause()
    })
    to.on('drain', () => { if (!this.#holds(from)) from.resume() })
    from.on('end', () => to.end())
    from.on('error', () => undefined)
    from.on('close', () => {
      this.#sockets.delete(from)
      to.destroy()
    })
    if (this.#holds(from)) from.pause()
  }
}
