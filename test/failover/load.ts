import type { Client } from './client.ts'
import type { GatewayName, Lab } from './lab.ts'

type Kind = 'long' | 'pipelined' | 'short' | 'half-closing'

/** Commands that a pipelining worker has on their way at a time. */
const depth = 8

/**
 * Workers that count, each on a counter of its own, so that a command executed twice or not at all shows in
 * the next answer. The first wrong byte or broken connection ends it.
 */
export class Load {
  readonly #lab: Lab
  readonly #gateway: GatewayName
  readonly #running: Promise<void>[] = []
  #stopping = false
  answered = 0
  readonly wrong: string[] = []

  constructor(lab: Lab, gateway: GatewayName = 'gateway') {
    this.#lab = lab
    this.#gateway = gateway
  }

  start(kind: Kind, count: number): void {
    for (let n = 0; n < count; n++) {
      this.#running.push(this.#work(kind, `${this.#gateway}-${kind}-${n}`).catch((error: unknown) => {
        this.wrong.push(`${kind}-${n}: ${String(error)}`)
      }))
    }
  }

  /** Resolves when so many more answers have come; all of them right, or `wrong` says which not. */
  async answers(more: number): Promise<void> {
    const wanted = this.answered + more
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        if (this.answered < wanted && this.wrong.length === 0) return
        clearInterval(timer)
        resolve()
      }, 20)
    })
  }

  /** Lets every worker finish what it does. */
  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#running)
  }

  async #work(kind: Kind, key: string): Promise<void> {
    const lasting = kind === 'long' || kind === 'pipelined'
    const each = kind === 'pipelined' ? depth : 1
    let client = lasting ? await this.#lab.client(this.#gateway) : undefined
    for (let count = 0; !this.#stopping; count += each) {
      if (!lasting) client = await this.#lab.client(this.#gateway)
      if (client === undefined) return
      await this.#round(client, kind, key, { count, each })
      if (lasting) continue
      if (kind === 'short') client.end()
      const ended = await client.over()
      if (ended !== 'end' || client.unread !== '') throw new Error(`${ended} after ${client.unread}`)
    }
    client?.destroy()
  }

  async #round(
    client: Client, kind: Kind, key: string, { count, each }: { count: number, each: number }
  ): Promise<void> {
    client.send(...Array.from({ length: each }, () => `INCR ${key}`))
    if (kind === 'half-closing') client.end()
    for (let n = 1; n <= each; n++) {
      const wanted = `:${count + n}\r\n`
      const got = await client.take(wanted.length)
      if (got !== wanted) throw new Error(`${JSON.stringify(got)} and not ${JSON.stringify(wanted)}`)
      this.answered++
    }
  }
}
