import { connect, type Socket } from 'node:net'
import { get, got, ok, ping, pong, set } from './requests.ts'
import type { Point } from './report.ts'

export interface ServiceAddress {
  readonly host: string
  readonly port: number
}

/** So many are being opened at a time: fewer than a listener's queue takes. */
const openingMax = 64

/** One connection with at most one request under way, every reply of which must be the right one. */
export class RedisClient {
  readonly #socket: Socket
  #expected: Buffer | undefined
  #matched = 0
  #resolve: () => void = () => undefined
  #reject: (error: Error) => void = () => undefined
  #broken: Error | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => this.#fail(new Error('a connection was closed')))
  }

  static open({ host, port }: ServiceAddress): Promise<RedisClient> {
    return new Promise((resolve, reject) => {
      let client: RedisClient | undefined
      const callback = (bytes: number): boolean => {
        if (client !== undefined) client.#take(shared.subarray(0, bytes))
        return true
      }
      const onread = { buffer: shared, callback }
      const socket = connect({ host, port, noDelay: true, onread }, () => {
        socket.off('error', reject)
        client = new RedisClient(socket)
        resolve(client)
      })
      socket.once('error', reject)
    })
  }

  /** Resolves when `reply` has come, byte by byte. Rejects when anything else comes, or the end. */
  ask(request: Buffer, reply: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#broken !== undefined) {
        reject(this.#broken)
        return
      }
      this.#expected = reply
      this.#matched = 0
      this.#resolve = resolve
      this.#reject = reject
      this.#socket.write(request)
    })
  }

  destroy(): void {
    this.#socket.removeAllListeners('close')
    this.#socket.destroy()
  }

  /** The bytes are another connection's when this returns. */
  #take(bytes: Buffer): void {
    const expected = this.#expected
    const place = this.#matched
    const isRight = expected?.subarray(place, place + bytes.length).equals(bytes) ?? false
    if (!isRight) {
      const said = JSON.stringify(bytes.toString('latin1', 0, Math.min(bytes.length, 80)))
      this.#fail(new Error(`a reply is not the one that was to come: ${said}`))
      return
    }
    this.#matched += bytes.length
    if (this.#matched !== expected?.length) return
    this.#expected = undefined
    this.#resolve()
  }

  #fail(error: Error): void {
    this.#broken ??= error
    this.#reject(this.#broken)
  }
}

/** Nothing of what was read is kept, so one buffer does for all connections. */
const shared = Buffer.alloc(64 * 1024)

/** The clients of a guest, each with a key of its own. */
export class Clients {
  readonly #clients: readonly RedisClient[]
  /** The newest request of each, and how long its value was. */
  #last: { readonly request: number, readonly valueBytes: number } | undefined
  #sent = 0

  private constructor(clients: readonly RedisClient[]) {
    this.#clients = clients
  }

  /** Resolves when the guest has answered on every one of them. */
  static async open(service: ServiceAddress, count: number): Promise<Clients> {
    const clients: RedisClient[] = []
    let begun = 0
    const openInTurn = async (): Promise<void> => {
      while (begun < count) {
        begun++
        const client = await RedisClient.open(service)
        clients.push(client)
        await client.ask(ping, pong)
      }
    }
    try {
      await Promise.all(Array.from({ length: openingMax }, openInTurn))
    } catch (error) {
      for (const client of clients) client.destroy()
      throw error
    }
    return new Clients(clients)
  }

  /** All send at once, each its next request when the one before is answered. */
  async sendTail({ requests, valueBytes }: Point): Promise<void> {
    const first = this.#sent
    this.#sent += requests
    await Promise.all(this.#clients.map(async (client, connection) => {
      for (let request = first; request < first + requests; request++) {
        await client.ask(set(connection, request, valueBytes), ok)
      }
    }))
    this.#last = { request: first + requests - 1, valueBytes }
  }

  /** One client's request; resolves with its answer. */
  async askOne(): Promise<void> {
    await this.#clients[0]?.ask(ping, pong)
  }

  /** Rejects unless every client still has its connection, and finds what it set last. */
  async verify(): Promise<void> {
    const last = this.#last
    if (last === undefined) throw new Error('nothing was sent that could be verified')
    await Promise.all(this.#clients.map((client, connection) =>
      client.ask(get(connection), got(connection, last.request, last.valueBytes))))
  }

  destroy(): void {
    for (const client of this.#clients) client.destroy()
  }
}
