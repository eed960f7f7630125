import { inspect } from 'node:util'
import type { Test } from 'tap'
import type { Reply } from '../guest/replies.ts'
import { addressOf } from '../lab/network-lab.ts'
import { Client, ConnectionLost } from '../redis-load/client.ts'

/**
 * Appends to a list what no guest says twice, and answers it: the time of its clock in microseconds, followed
 * by as many letters as that happens to say, so that not even the length comes again.
 */
const script = `
  local time = redis.call('TIME')
  local entry = time[1] .. '.' .. time[2] .. string.rep('x', time[2] % 97)
  redis.call('RPUSH', KEYS[1], entry)
  return entry`

/** One connection whose answers a replayed guest cannot give again, and all that was told on it. */
export class Chronicle {
  /** Every entry that was answered, in order. */
  readonly told: string[] = []
  /** What came and was not asked for. */
  readonly unasked: readonly Reply[]
  readonly #key: string
  readonly #client: Client
  #lost = false
  #stopping = false
  #wake: (() => void) | undefined

  private constructor(key: string, client: Client, unasked: Reply[]) {
    this.#key = key
    this.#client = client
    this.unasked = unasked
    client.onLost = () => {
      this.#lost = true
      this.#wake?.()
    }
  }

  /** `key`: of its list; `port`: of the gateway's service. */
  static async open(t: Test, key: string, port: number): Promise<Chronicle> {
    const unasked: Reply[] = []
    const client = await Client.open(addressOf('gateway', 'service'), port, {
      answered: () => undefined, unasked: (reply) => { unasked.push(reply) }
    })
    t.teardown(() => client.close())
    return new Chronicle(key, client, unasked)
  }

  /** Rejects with {@link ConnectionLost}, as all here that waits for an answer. */
  async write(): Promise<void> {
    const entry = await this.#client.ask('EVAL', script, 1, this.#key)
    if (typeof entry !== 'string') throw new Error(`the script answered ${inspect(entry)}`)
    this.told.push(entry)
    this.#wake?.()
  }

  /** Writes as fast as it is answered, until {@link stop}. */
  async writeOn(): Promise<void> {
    while (!this.#stopping) await this.write()
  }

  stop(): void {
    this.#stopping = true
  }

  /** Resolves when so many more entries have been told. */
  async more(count: number): Promise<void> {
    const wanted = this.told.length + count
    while (this.told.length < wanted) {
      if (this.#lost) throw new ConnectionLost(`it was told ${this.told.length} entries`)
      await this.#change()
    }
  }

  /** Resolves when the connection has ended by itself. */
  async lost(): Promise<void> {
    while (!this.#lost) await this.#change()
  }

  /** What the guest has in a list, asked on this connection. */
  read(of: Chronicle = this): Promise<Reply> {
    return this.#client.ask('LRANGE', of.#key, 0, -1)
  }

  async #change(): Promise<void> {
    await new Promise<void>((resolve) => { this.#wake = resolve })
  }
}
