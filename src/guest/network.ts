import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** Connections that the guest takes at a time; further ones are reset. */
export const connectionsMax = 20_000
const backlog = 1024

/**
 * The guest's way to the world: its listeners and every accepted socket. It can be shut, and shuts by itself
 * when a lease has run out. Time is checked wherever bytes pass, because a timer is late in a process that
 * was stopped.
 */
export class GuestNetwork {
  readonly #host: string
  #ports: number[]
  #servers: Server[] = []
  #sockets = new Set<Socket>()
  /** By performance.now(); undefined while no lease is in force. */
  #leaseEnd: number | undefined
  #leaseTimer: NodeJS.Timeout | undefined
  /** Opened by the agent; a lease that is renewed after it ran out opens again what was open. */
  #wanted = false
  /** Accepts a socket; it reads from it and handles its end, errors are swallowed here. */
  onSocket: ((socket: Socket) => void) | undefined
  /** The lease has run out; every socket is gone. */
  onShut: (() => void) | undefined

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
    const reopen = this.leaseExpired && remainingMs > 0 && this.#wanted && this.#servers.length === 0
    this.#leaseEnd = performance.now() + remainingMs
    this.#arm()
    // Should another process have taken the port meanwhile, the rejection ends the guest, which is the
    // agent's signal.
    if (reopen) void this.#listen()
  }

  /** True if the lease has run out, in which case everything has been shut. To be asked before bytes pass. */
  shutIfExpired(): boolean {
    if (!this.leaseExpired) return false
    this.#shut()
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
    for (const server of this.#servers) server.close()
    this.#servers = []
    // A process cannot close a socket without a packet; an RST at least is sent once and not repeated.
    for (const socket of this.#sockets) socket.resetAndDestroy()
    this.#sockets.clear()
    this.onShut?.()
  }

  async #listen(): Promise<void> {
    for (const [index, port] of this.#ports.entries()) {
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket))
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
    if (this.shutIfExpired() || this.#sockets.size >= connectionsMax || this.onSocket === undefined) {
      socket.resetAndDestroy()
      return
    }
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    this.onSocket(socket)
  }
}
