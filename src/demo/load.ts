import { RespClient, type Reply } from './resp-client.ts'

/** What the load has seen. All but `sent`, `answered` and the pause must be 0 in the end. */
export interface LoadFigures {
  sent: number
  answered: number
  /** Replies that no execution of the requests could give. */
  wrong: number
  /** Requests that were never answered, or whose effect is gone. */
  lost: number
  /** Requests that took effect more than once. */
  repeated: number
  /** Connections that ended though the client had not ended them. */
  reset: number
  /** The longest that one request took, in milliseconds. */
  longestPauseMs: number
  connections: number
}

export interface LoadOptions {
  readonly port: number
  /** Connections that stay, one request at a time. */
  readonly long: number
  /** Connections that stay, with {@link pipelineDepth} requests at a time. */
  readonly pipelined: number
  /** Workers that open a connection for each pair of requests. */
  readonly short: number
}

const pipelineDepth = 8
/**
 * A pause between the requests of a connection, so that the load leaves room on a small machine.
 * Milliseconds.
 */
const thinkMs = 4

/**
 * Clients that check every answer. Each has keys of its own: a counter that must go up by exactly one with
 * each request, and a value that must be what was set. So a request that got lost shows, and one that was
 * repeated.
 */
export class Load {
  readonly figures: LoadFigures = {
    sent: 0, answered: 0, wrong: 0, lost: 0, repeated: 0, reset: 0, longestPauseMs: 0, connections: 0
  }

  readonly #options: LoadOptions
  readonly #counters = new Map<string, number>()
  readonly #workers: Promise<void>[] = []
  /** Workers that have had an answer since they were last asked about, and those that ever had one. */
  #heard = new Set<string>()
  readonly #everHeard = new Set<string>()
  #onAllHeard: (() => void) | undefined
  #stopping = false
  #pauseSince = { pause: 0 }

  constructor(options: LoadOptions) {
    this.#options = options
  }

  start(): void {
    const { long, pipelined, short } = this.#options
    for (let n = 0; n < long; n++) this.#workers.push(this.#stay(`long:${n}`, 1))
    for (let n = 0; n < pipelined; n++) this.#workers.push(this.#stay(`pipelined:${n}`, pipelineDepth))
    for (let n = 0; n < short; n++) this.#workers.push(this.#comeAndGo(`short:${n}`))
  }

  get workers(): number { return this.#workers.length }

  /** How many workers have been answered since the last call. */
  takeHeard(): number {
    const heard = this.#heard.size
    this.#heard = new Set()
    return heard
  }

  /** Resolves when every worker has had an answer: a machine may still be starting when clients come. */
  allHeard(): Promise<void> {
    return new Promise(resolve => {
      this.#onAllHeard = () => {
        if (this.#everHeard.size >= this.#workers.length) resolve()
      }
      this.#onAllHeard()
    })
  }

  /** Forgets the pauses until now: they were those of a start. */
  forgetPauses(): void {
    this.figures.longestPauseMs = 0
  }

  /** The longest pause since the last call, in milliseconds. */
  takePause(): number {
    const { pause } = this.#pauseSince
    this.#pauseSince = { pause: 0 }
    return pause
  }

  /** Lets every worker finish what it has asked for, then reads every counter again. */
  async finish(): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#workers)
    const client = await this.#connect()
    for (const [key, expected] of this.#counters) {
      const reply = await client.send('GET', key)
      this.#judgeCounter(Number(reply), expected)
    }
    await client.close()
  }

  #connect(): Promise<RespClient> {
    this.figures.connections++
    return RespClient.open(this.#options.port, ms => this.#latency(ms))
  }

  #latency(ms: number): void {
    this.figures.longestPauseMs = Math.max(this.figures.longestPauseMs, ms)
    this.#pauseSince.pause = Math.max(this.#pauseSince.pause, ms)
  }

  async #stay(name: string, depth: number): Promise<void> {
    let client: RespClient | undefined
    try {
      client = await this.#connect()
      for (let round = 0; !this.#stopping; round++) {
        const first = round * depth
        await Promise.all(Array.from({ length: depth }, (_, n) => this.#round(client, name, first + n)))
        await think()
      }
      await client.close()
    } catch {
      this.#broken(client)
    }
  }

  async #comeAndGo(name: string): Promise<void> {
    for (let round = 0; !this.#stopping; round++) {
      let client: RespClient | undefined
      try {
        client = await this.#connect()
        await this.#round(client, name, round)
        await client.close()
      } catch {
        this.#broken(client)
        return
      }
      await think()
    }
  }

  #broken(client: RespClient | undefined): void {
    this.figures.reset++
    client?.destroy()
  }

  /** One counter step, and now and then a value set and read back. */
  async #round(client: RespClient | undefined, name: string, n: number): Promise<void> {
    if (client === undefined) return
    const key = `${name}:value:${n % 64}`
    const value = `${name}=${n}`
    const expected = (this.#counters.get(name) ?? 0) + 1
    this.#counters.set(name, expected)
    const asked = [this.#ask(client, 'INCR', name)]
    if (n % 4 === 0) asked.push(this.#ask(client, 'SET', key, value), this.#ask(client, 'GET', key))
    const [count, set = 'OK', got = value] = await Promise.all(asked)
    this.#judgeCounter(count, expected)
    if (set !== 'OK' || got !== value) this.figures.wrong++
    this.#heard.add(name)
    if (this.#everHeard.has(name)) return
    this.#everHeard.add(name)
    this.#onAllHeard?.()
  }

  async #ask(client: RespClient, ...words: readonly string[]): Promise<Reply> {
    this.figures.sent++
    try {
      const reply = await client.send(...words)
      this.figures.answered++
      return reply
    } catch (error) {
      this.figures.lost++
      throw error
    }
  }

  #judgeCounter(reply: Reply | undefined, expected: number): void {
    if (typeof reply !== 'number' || Number.isNaN(reply)) this.figures.wrong++
    else if (reply < expected) this.figures.lost++
    else if (reply > expected) this.figures.repeated++
  }
}

function think(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, thinkMs))
}
