import { setTimeout as after } from 'node:timers/promises'
import { RedisClient, type ServiceAddress } from '../failover/clients.ts'
import { command, ok, set, setKey } from '../failover/requests.ts'
import type { LoadName } from './report.ts'

interface Kind {
  readonly clients: number
  readonly request: (client: number, number: number) => Buffer
  readonly reply: Buffer
  /** From one request of a client to its next; it waits for its answer in any case. */
  readonly everyMs: number
}

const networkClients = 16
const networkValueBytes = 64
const memoryEveryMs = 100
const memoryBytes = 256 * 1024
/** So much is rewritten in turn, that many times {@link memoryBytes}. */
const memoryKeys = 8
const memoryKey = (number: number): string => `memory-${number % memoryKeys}`

const kinds: Readonly<Record<LoadName, Kind>> = {
  network: {
    clients: networkClients, everyMs: 0, reply: ok,
    request: (client, number) => set(client, number, networkValueBytes)
  },
  // Few bytes for the network and many for the memory: Redis turns every bit of a value over.
  memory: {
    clients: 1, everyMs: memoryEveryMs, reply: Buffer.from(`:${memoryBytes}\r\n`),
    request: (_client, number) => command('BITOP', 'NOT', memoryKey(number), memoryKey(number))
  }
}

/** Clients that ask a Redis until they are ended, whatever becomes of its host. */
export class Load {
  readonly #kind: Kind
  readonly #clients: readonly RedisClient[]
  readonly #over: Promise<unknown>
  readonly #ended = new AbortController()
  #answered = 0

  private constructor(kind: Kind, clients: readonly RedisClient[]) {
    this.#kind = kind
    this.#clients = clients
    this.#over = Promise.all(clients.map((client, index) => this.#ask(client, index)))
    // It is told in `end`.
    this.#over.catch(() => undefined)
  }

  static async begin(name: LoadName, service: ServiceAddress): Promise<Load> {
    const kind = kinds[name]
    const clients: RedisClient[] = []
    for (let index = 0; index < kind.clients; index++) clients.push(await RedisClient.open(service))
    if (name === 'memory') {
      for (let key = 0; key < memoryKeys; key++) {
        await clients[0]?.ask(setKey(memoryKey(key), Buffer.alloc(memoryBytes)), ok)
      }
    }
    return new Load(kind, clients)
  }

  /** Replies until now. */
  get answered(): number {
    return this.#answered
  }

  /** Resolves when the last replies are here. Rejects if one was wrong, or a connection was lost. */
  async end(): Promise<void> {
    this.#ended.abort()
    try {
      await this.#over
    } finally {
      for (const client of this.#clients) client.destroy()
    }
  }

  async #ask(client: RedisClient, index: number): Promise<void> {
    const { request, reply, everyMs } = this.#kind
    const { signal } = this.#ended
    for (let number = 0; !signal.aborted; number++) {
      const due = performance.now() + everyMs
      await client.ask(request(index, number), reply)
      this.#answered++
      const restMs = due - performance.now()
      if (restMs > 0) await after(restMs, undefined, { signal }).catch(() => undefined)
    }
  }
}
