import { crc32 } from 'node:zlib'
import type { StreamEvents } from '../../src/core/stream.ts'
import type { Listener, SocketSide, Sockets } from '../../src/net/sockets.ts'

const everyPeer = new Set<Peer>()

const everyDoor = new Set<Door>()

/** Resets the sides that a test has left open, and closes its listeners. */
export async function closeAll(): Promise<void> {
  for (const { side } of everyPeer) side.reset()
  everyPeer.clear()
  for (const door of everyDoor) await door.close()
  everyDoor.clear()
}

/** One side and what it was told, with waiting for it. */
export class Peer implements StreamEvents {
  readonly side: SocketSide
  received = 0
  crc = 0
  /** Everything that was told, `data` once for each run of them. */
  readonly told: string[] = []
  /** The last bytes received, for short exchanges. */
  text = ''
  onData: ((bytes: Uint8Array) => void) | undefined
  onEnd: (() => void) | undefined
  onDrain: (() => void) | undefined
  #waiting: { readonly met: () => boolean, readonly resolve: () => void }[] = []

  constructor(side: SocketSide) {
    this.side = side
    side.attach(this)
    everyPeer.add(this)
  }

  data(bytes: Uint8Array): void {
    this.received += bytes.length
    this.crc = crc32(bytes, this.crc)
    this.text = (this.text + Buffer.from(bytes).toString('latin1')).slice(-64)
    if (this.told.at(-1) !== 'data') this.told.push('data')
    this.onData?.(bytes)
    this.#look()
  }

  end(): void {
    this.told.push('end')
    this.onEnd?.()
    this.#look()
  }

  reset(): void {
    this.told.push('reset')
    this.#look()
  }

  drain(): void {
    this.told.push('drain')
    this.onDrain?.()
    this.#look()
  }

  /** Resolves when something told has made `met` true. */
  until(met: () => boolean): Promise<void> {
    if (met()) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push({ met, resolve }))
  }

  untilTold(what: string): Promise<void> {
    return this.until(() => this.told.includes(what))
  }

  send(text: string): void {
    this.side.write(Buffer.from(text, 'latin1'))
  }

  #look(): void {
    for (const waiting of this.#waiting.filter(({ met }) => met())) {
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
      waiting.resolve()
    }
  }
}

export interface Pair {
  readonly client: Peer
  readonly server: Peer
  readonly listener: Listener
}

/** A listener whose accepted sides are waited for. */
export class Door {
  readonly accepted: Peer[] = []
  readonly troubles: string[] = []
  /** Looks at a side before the listener's callback returns. */
  onAccepted: ((peer: Peer) => void) | undefined
  #listener: Listener | undefined
  #next: (() => void)[] = []

  get listener(): Listener {
    if (this.#listener === undefined) throw new Error('the door is not open')
    return this.#listener
  }

  async open(sockets: Sockets, host = '127.0.0.1', backlog = 4096): Promise<this> {
    this.#listener = await sockets.listen({
      host, port: 0, backlog,
      accepted: (side) => {
        const peer = new Peer(side)
        this.accepted.push(peer)
        this.onAccepted?.(peer)
        this.#next.shift()?.()
      },
      trouble: (error) => this.troubles.push(error.message)
    })
    everyDoor.add(this)
    return this
  }

  async close(): Promise<void> {
    everyDoor.delete(this)
    await this.listener.close()
  }

  /** The accepted side with this index, when it is there. */
  async peer(index: number): Promise<Peer> {
    for (;;) {
      const peer = this.accepted[index]
      if (peer !== undefined) return peer
      await new Promise<void>((resolve) => this.#next.push(resolve))
    }
  }
}

/** Two connected sides, both paused, behind a listener that is closed again. */
export async function pairOf(sockets: Sockets, host = '127.0.0.1'): Promise<Pair> {
  const door = await new Door().open(sockets, host)
  const client = new Peer(await sockets.dial(host, door.listener.port, { timeoutMs: 5000 }))
  const server = await door.peer(0)
  await door.close()
  return { client, server, listener: door.listener }
}

/**
 * What was sent before this has arrived in every kernel: a byte there and back on a connection of its own.
 */
export async function settle(sockets: Sockets): Promise<void> {
  const { client, server } = await pairOf(sockets)
  for (let n = 1; n <= 3; n++) {
    client.side.resume()
    server.side.resume()
    client.send('?')
    await server.until(() => server.received === n)
    server.send('!')
    await client.until(() => client.received === n)
  }
  client.side.reset()
  await server.untilTold('reset')
}

/** Resolves when `met`, looked at once in each turn of the event loop; rejects after very many. */
export async function eventually(met: () => boolean, what: string): Promise<void> {
  for (let turn = 0; turn < 200_000; turn++) {
    if (met()) return
    await new Promise((resolve) => setImmediate(resolve))
  }
  throw new Error(`did not come about: ${what}`)
}
