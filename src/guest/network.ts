import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** Connections that the guest takes at a time; further ones are reset. */
export const connectionsMax = 20_000
const backlog = 1024

/**
 * The guest's way to the world: its listeners and every accepted socket. When a lease has run out it stands
 * still like a path whose packets are dropped: nothing is read, written or accepted, and nobody is told; a
 * later lease lets all of it flow on. Time is checked wherever bytes pass, because a timer is late in a
 * process that was stopped.
 */
export class GuestNetwork {
  readonly #host: string
  #ports: number[]
  #servers: Server[] = []
  #sockets = new Set<Socket>()
  /** Taken by the kernel while the path was shut; nobody has heard of them yet. */
  #waiting: Socket[] = []
  #isShut = false
  /** By performance.now(); undefined while no lease is in force. */
  #leaseEnd: number | undefined
  #leaseTimer: NodeJS.Timeout | undefined
  /** Opened by the agent, perhaps before the lease that lets it listen. */
  #wanted = false
  /** Accepts a socket; it reads from it and handles its end, errors are swallowed here. */
  onSocket: ((socket: Socket) => void) | undefined
  /** The lease has run out: nothing passes. */
  onShut: (() => void) | undefined
  /** A later lease is in force: every socket flows again. */
  onReopened: (() => void) | undefined

  constructor(host: string, ports: readonly number[]) {
    this.#host = host
    this.#ports = [...ports]
  }

  /** The ports really used, once {@link reserve} or {@link open} has returned. */
  get ports(): readonly number[] {
    return this.#ports
  }

  get leaseExpired(): boolean {
    return this.#leaseEnd !== undefined && performance.now() >= this.#leaseEnd
  }

  get leaseEver(): boolean {
    return this.#leaseEnd !== undefined
  }

  /** Finds out which ports will be used, without listening when it returns. Rejects when one is taken. */
  async reserve(): Promise<void> {
    await this.#listen()
    await this.#unlisten()
  }

  /** Listens. Rejects when a port is taken. */
  async open(): Promise<void> {
    this.#wanted = true
    if (!this.leaseExpired) await this.#listen()
  }

  /** The network may be used for so many milliseconds from now on. */
  lease(remainingMs: number): void {
    const listen = this.leaseExpired && remainingMs > 0 && this.#wanted && this.#servers.length === 0
    this.#leaseEnd = performance.now() + remainingMs
    this.#arm()
    // Should another process have taken the port meanwhile, the rejection ends the guest, which is the
    // agent's signal.
    if (listen) void this.#listen()
    if (remainingMs > 0) this.#reopen()
  }

  /** True if the lease has run out, in which case everything has been shut. To be asked before bytes pass. */
  shutIfExpired(): boolean {
    if (!this.leaseExpired) return false
    this.#shut()
    return true
  }

  /** True if bytes that were just read may not be known yet: they come again when the path is open. */
  holdsBack(socket: Socket, bytes: Buffer): boolean {
    if (!this.shutIfExpired()) return false
    socket.pause()
    socket.unshift(bytes)
    return true
  }

  #arm(): void {
    clearTimeout(this.#leaseTimer)
    const remaining = Math.max(0, (this.#leaseEnd ?? 0) - performance.now())
    this.#leaseTimer = setTimeout(() => {
      if (!this.shutIfExpired()) this.#arm()
    }, Math.min(Math.ceil(remaining), 0x7fff_ffff))
  }

  #shut(): void {
    if (this.#isShut) return
    this.#isShut = true
    for (const socket of this.#sockets) {
      socket.pause()
      // What is written from now on waits in this process; a closed socket would tell the other side.
      socket.cork()
    }
    this.onShut?.()
  }

  #reopen(): void {
    if (!this.#isShut) return
    this.#isShut = false
    for (const socket of this.#sockets) {
      socket.uncork()
      socket.resume()
    }
    for (const socket of this.#waiting.splice(0)) if (!socket.destroyed) this.#take(socket)
    this.onReopened?.()
  }

  async #listen(): Promise<void> {
    for (const [index, port] of this.#ports.entries()) {
      const options = { allowHalfOpen: true, noDelay: true, pauseOnConnect: true }
      const server = createServer(options, (socket) => this.#accept(socket))
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen({ host: this.#host, port, backlog }, () => {
          server.off('error', reject)
          server.on('error', () => undefined)
          resolve()
        })
      })
      this.#ports[index] = (server.address() as AddressInfo).port
      this.#servers.push(server)
    }
  }

  #unlisten(): Promise<unknown> {
    const servers = this.#servers
    this.#servers = []
    return Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  }

  #accept(socket: Socket): void {
    socket.on('error', () => undefined)
    if (this.#sockets.size + this.#waiting.length >= connectionsMax || this.onSocket === undefined) {
      socket.resetAndDestroy()
    } else if (this.shutIfExpired()) {
      this.#waiting.push(socket)
    } else {
      this.#take(socket)
    }
  }

  #take(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    this.onSocket?.(socket)
    socket.resume()
  }
}
