import type { World } from '../world.ts'

interface Read {
  /** The place after the bytes that were read together. */
  readonly end: number
  /** How many events of input the gateway had read before. */
  readonly barrier: number
}

interface Stream {
  input: number
  /** What was read of the output, by place; what is read again replaces what was read before. */
  reads: Read[]
  readEnd: number
  released: number
}

/**
 * Rule 1: an independent ledger of what the gateway had read from clients before it read each byte from the
 * guest, held against what the backup has stored. It knows nothing of lsns, epochs or barriers.
 */
export class CommitLedger {
  readonly #world: World
  readonly #streams = new Map<number, Stream>()
  /** Each input the gateway read: whose, and up to where. */
  #events: { readonly client: number, readonly place: number }[] = []
  /** The events up to here are stored at the backup. */
  #stored = 0
  readonly #held = new Map<number, number>()
  /** `checkpoint` mode: for each mark given, how far each client's output had been read. */
  readonly #marks = new Map<number, Map<number, number>>()
  #safe = new Map<number, number>()

  constructor(world: World) {
    this.#world = world
  }

  stream(client: number): Stream {
    let stream = this.#streams.get(client)
    if (stream === undefined) this.#streams.set(client,
      stream = { input: 0, reads: [], readEnd: 0, released: 0 })
    return stream
  }

  inputRead(client: number, length: number): void {
    const stream = this.stream(client)
    stream.input += length
    this.#events.push({ client, place: stream.input })
  }

  outputRead(client: number, start: number, length: number): void {
    const stream = this.stream(client)
    while (stream.reads.length > 0 && (stream.reads.at(-1)?.end ?? 0) > start) stream.reads.pop()
    stream.reads.push({ end: start + length, barrier: this.#events.length })
    stream.readEnd = start + length
  }

  /** A history begins: what was read before it is in the guest, not in this log. */
  historyBegins(): void {
    this.#stored = this.#events.length
    this.#held.clear()
    this.#marks.clear()
    this.#safe.clear()
  }

  backupHolds(client: number, place: number): void {
    this.#held.set(client, Math.max(place, this.#held.get(client) ?? 0))
    for (let next = this.#events[this.#stored]; next !== undefined; next = this.#events[this.#stored]) {
      if ((this.#held.get(next.client) ?? 0) < next.place) return
      this.#stored++
    }
  }

  markGiven(checkpoint: number): void {
    this.#marks.set(checkpoint, new Map([...this.#streams].map(([client, { readEnd }]) => [client, readEnd])))
  }

  counted(checkpoint: number): void {
    const safe = this.#marks.get(checkpoint)
    if (safe !== undefined) this.#safe = safe
  }

  /** Bytes go to a client. Checked while the gateway says that the guest is protected. */
  released(client: number, length: number): void {
    const stream = this.stream(client)
    stream.released += length
    const core = this.#world.gateway.core
    if (core?.protection.state !== 'protected') return
    const mode = this.#world.modeOf(client)
    if (mode === 'epoch') this.#releasedEpoch(client, stream)
    if (mode === 'checkpoint' && stream.released > (this.#safe.get(client) ?? 0)) {
      this.#world.fail(1, `client ${client} was given output up to ${stream.released}, `
        + `of which a checkpoint that counts holds ${this.#safe.get(client) ?? 0}`)
    }
  }

  #releasedEpoch(client: number, stream: Stream): void {
    const read = stream.reads.find(({ end }) => end >= stream.released)
    if (read === undefined) {
      this.#world.fail(3,
        `client ${client} was given output up to ${stream.released}; ${stream.readEnd} was read`)
    } else if (read.barrier > this.#stored) {
      this.#world.fail(1,
        `client ${client} was given output up to ${stream.released}, read after ${read.barrier} `
        + `inputs, of which the backup has stored ${this.#stored}`)
    }
    while ((stream.reads[0]?.end ?? Infinity) < stream.released) stream.reads.shift()
  }
}
