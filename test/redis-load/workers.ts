import { inspect, isDeepStrictEqual } from 'node:util'
import type { Reply } from '../guest/replies.ts'
import { Client, ConnectionLost } from './client.ts'
import { addWrong, newFigures, type Figures, type Kind } from './figures.ts'

export interface Target {
  readonly host: string
  readonly port: number
  /** Before every key, so that loads do not meet. */
  readonly prefix: string
}

/** Requests that a pipelining worker has on their way at a time. */
const depth = 8
/** A pause between the requests of a worker: the load leaves room on a small machine. Milliseconds. */
const thinkMs = 10
/** Workers of kind `shared` meet on so many keys. */
const sharedKeys = 2

type Round = (n: number) => Promise<void>

/**
 * Clients that know what every reply must be.
 *
 * - pipelined, short: a counter of its own, which goes up by exactly one with each request
 * - transactions: two counters that move together, in MULTI
 * - blocking: what one connection pushes, another that waits for it must get, once and in order
 * - published: likewise for a channel
 * - shared: counters that several connections move. No reply may come twice, and each connection's go up.
 *   Who was first among requests that overlapped no log tells, so a failover may reset these, and only these
 */
export class Workers {
  readonly figures: Figures = newFigures()
  readonly #target: Target
  readonly #counters = new Map<string, number>()
  readonly #sharedSeen = new Map<string, Set<number>>()
  /** Requests to a shared counter that were never answered: done, or not. */
  readonly #sharedDoubtful = new Map<string, number>()
  readonly #running: Promise<void>[] = []
  #heard = new Set<string>()
  #stopping = false
  /** Called when something was answered or lost, or a round finished. */
  #moved: (() => void) | undefined

  constructor(target: Target) {
    this.#target = target
  }

  get count(): number { return this.#running.length }
  /** Workers that have finished a round since {@link forget}. */
  get heard(): number { return this.#heard.size }

  forget(): void {
    this.#heard = new Set()
  }

  start(kind: Kind, count: number): void {
    for (let n = 0; n < count; n++) this.#running.push(this.#keep(kind, `${kind}:${n}`, n))
  }

  /** Resolves as soon as `holds`, which may change with every answer and loss. One waits at a time. */
  until(holds: () => boolean): Promise<void> {
    if (holds()) return Promise.resolve()
    return new Promise((resolve) => {
      this.#moved = () => {
        if (!holds()) return
        this.#moved = undefined
        resolve()
      }
    })
  }

  /** Lets every worker finish its round, then reads every counter once more. */
  async finish(): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#running)
    const client = await this.#connect()
    for (const [key, expected] of this.#counters) {
      this.#expect(`${key} in the end`, await client.ask('GET', this.#key(key)), String(expected))
    }
    for (const [key, seen] of this.#sharedSeen) {
      const value = Number(await client.ask('GET', this.#key(key)))
      const most = seen.size + (this.#sharedDoubtful.get(key) ?? 0)
      if (value >= seen.size && value <= most) continue
      addWrong(this.figures, `${key} is ${value} in the end, and ${seen.size} to ${most} requests were done`)
    }
    client.close()
  }

  #key(key: string): string {
    return `${this.#target.prefix}:${key}`
  }

  #connect(): Promise<Client> {
    this.figures.connections++
    return Client.open(this.#target.host, this.#target.port, {
      answered: (ms) => {
        this.figures.answered++
        this.figures.longestPauseMs = Math.max(this.figures.longestPauseMs, ms)
        this.#moved?.()
      },
      unasked: (reply) => addWrong(this.figures, `nobody had asked for ${inspect(reply)}`)
    })
  }

  #expect(what: string, got: unknown, wanted: unknown): void {
    if (isDeepStrictEqual(got, wanted)) return
    const shown = got instanceof Error ? got.message : inspect(got, { breakLength: Infinity })
    addWrong(this.figures, `${what}: ${shown} and not ${inspect(wanted, { breakLength: Infinity })}`)
  }

  /** Runs a worker; one of kind `shared` that is reset comes again. */
  async #keep(kind: Kind, name: string, n: number): Promise<void> {
    do {
      const clients: Client[] = []
      try {
        await this.#work(kind, name, n, clients)
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error
        this.figures.resets[kind]++
        this.#moved?.()
      } finally {
        for (const client of clients) client.close()
      }
    } while (kind === 'shared' && !this.#stopping)
  }

  async #work(kind: Kind, name: string, n: number, clients: Client[]): Promise<void> {
    const connect = async (): Promise<Client> => {
      const client = await this.#connect()
      clients.push(client)
      return client
    }
    const round = await this.#round(kind, name, n, connect)
    for (let count = 1; !this.#stopping; count++) {
      await round(count)
      this.#heard.add(name)
      this.#moved?.()
      await think()
    }
  }

  async #round(kind: Kind, name: string, n: number, connect: () => Promise<Client>): Promise<Round> {
    switch (kind) {
      case 'pipelined': return this.#pipelined(name, await connect())
      case 'transactions': return this.#transactions(name, await connect())
      case 'blocking': return this.#blocking(name, await connect(), await connect())
      case 'published': return this.#published(name, await connect(), await connect())
      case 'shared': return this.#shared(`shared:${n % sharedKeys}`, await connect())
      case 'short': return async () => {
        const client = await connect()
        await this.#step(client, name)
        client.close()
      }
    }
  }

  async #step(client: Client, counter: string): Promise<void> {
    const wanted = (this.#counters.get(counter) ?? 0) + 1
    this.#counters.set(counter, wanted)
    this.#expect(counter, await client.ask('INCR', this.#key(counter)), wanted)
  }

  #pipelined(name: string, client: Client): Round {
    return async () => {
      await Promise.all(Array.from({ length: depth }, () => this.#step(client, name)))
    }
  }

  #transactions(name: string, client: Client): Round {
    const [one, other] = [`${name}:one`, `${name}:other`]
    return async (count) => {
      const words = [['MULTI'], ['INCR', this.#key(one)], ['INCR', this.#key(other)], ['EXEC']]
      for (const key of [one, other]) this.#counters.set(key, count)
      const replies = await Promise.all(words.map((command) => client.ask(...command)))
      this.#expect(name, replies, ['OK', 'QUEUED', 'QUEUED', [count, count]])
    }
  }

  #blocking(name: string, taker: Client, giver: Client): Round {
    const queue = this.#key(name)
    return async (count) => {
      const [taken, pushed] = await Promise.all([
        taker.ask('BLPOP', queue, 0), giver.ask('RPUSH', queue, count)
      ])
      this.#expect(name, taken, [queue, String(count)])
      this.#expect(`${name} pushed`, pushed, 1)
    }
  }

  async #published(name: string, subscriber: Client, publisher: Client): Promise<Round> {
    const channel = this.#key(name)
    this.#expect(`${name} subscribed`, await subscriber.ask('SUBSCRIBE', channel), ['subscribe', channel, 1])
    return async (count) => {
      const heard = new Promise<Reply>((resolve, reject) => {
        subscriber.onPush = (message) => {
          subscriber.onPush = undefined
          resolve(message)
        }
        subscriber.onLost = () => reject(new ConnectionLost('a subscriber'))
      })
      const [message, receivers] = await Promise.all([heard, publisher.ask('PUBLISH', channel, count)])
      this.#expect(name, message, ['message', channel, String(count)])
      this.#expect(`${name} published`, receivers, 1)
    }
  }

  #shared(key: string, client: Client): Round {
    const seen = this.#sharedSeen.get(key) ?? new Set<number>()
    this.#sharedSeen.set(key, seen)
    let last = 0
    return async () => {
      const doubtful = this.#sharedDoubtful.get(key) ?? 0
      this.#sharedDoubtful.set(key, doubtful + 1)
      const reply = await client.ask('INCR', this.#key(key))
      this.#sharedDoubtful.set(key, (this.#sharedDoubtful.get(key) ?? 0) - 1)
      const value = Number(reply)
      if (!(value > last)) addWrong(this.figures, `${key}: ${value} after ${last} on one connection`)
      if (seen.has(value)) addWrong(this.figures, `${key}: ${value} was given twice`)
      seen.add(value)
      last = value
    }
  }
}

function think(): Promise<void> {
  return new Promise((resolve) => { setTimeout(() => { resolve() }, thinkMs) })
}
