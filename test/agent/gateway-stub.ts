import { once } from 'node:events'
import { connect } from 'node:net'
import {
  gatewayId, generation, historyId, hostName, lsn, noHistory, type HistoryId
} from '../../src/core/ids.ts'
import type {
  AgentMessage, CheckpointMessage, Envelope, GatewayMessage, Message
} from '../../src/core/message.ts'
import { encodeRecord } from '../../src/core/record-codec.ts'
import type { LogRecord } from '../../src/core/record.ts'
import { connectLink } from '../../src/link/dial.ts'
import type { LinkConnection } from '../../src/link/link.ts'

export const guest = 'shop'
export const historyA = historyId('aaaaaaaaaaaaaaaa')

type Told = AgentMessage | CheckpointMessage
type OfType<T extends Told['type']> = Extract<Told, { type: T }> & { readonly about: Envelope }

/**
 * The other end of an agent's link, driven by a test: it writes down what it hears, and tests wait for it. A
 * real link, and no logic, except that heartbeats are acknowledged.
 */
export class GatewayStub {
  readonly heard: OfType<Told['type']>[] = []
  link: LinkConnection | undefined
  generation = 1
  history: HistoryId = noHistory
  #listeners = new Set<() => void>()
  #taken = new Set<object>()
  closed = false

  static async connect(port: number, expected: string, name = 'gw', role: 'gateway' | 'agent' = 'gateway') {
    const stub = new GatewayStub()
    stub.link = await connectLink(
      {
        self: { name: hostName(name), role, tls: undefined }, expected: hostName(expected),
        host: '127.0.0.1', port
      },
      () => ({
        message: (envelope, message) => { stub.#hear(envelope, message) },
        closed: () => {
          stub.closed = true
          stub.#changed()
        }
      }))
    return stub
  }

  send(message: GatewayMessage | CheckpointMessage, about: Partial<Envelope> = {}): void {
    const envelope = { guest, generation: generation(this.generation), history: this.history, ...about }
    this.link?.send(envelope, message)
  }

  assign(some: Partial<Extract<GatewayMessage, { type: 'assign' }>>): void {
    this.send({
      type: 'assign', gateway: gatewayId('1111111111111111'), incarnation: 1, role: 'idle', boot: false,
      served: false, peer: hostName(''), peerAddress: '', checkpointMs: 200, heartbeatMs: 50, leaseMs: 5000,
      durability: 'memory', logMemoryBytes: 1 << 22, logBytes: 1 << 24, ...some
    })
  }

  /** One epoch. */
  epoch(firstLsn: number, records: readonly LogRecord[]): void {
    const lastLsn = firstLsn + records.length - 1
    const bytes = Buffer.concat(records.map(encodeRecord))
    this.send({ type: 'epoch', firstLsn: lsn(firstLsn), lastLsn: lsn(lastLsn), records: [bytes] })
  }

  /** The first message of this type, heard or to be heard, that no one has taken and that fits. */
  async take<T extends Told['type']>(
    type: T, fits: (message: OfType<T>) => boolean = () => true
  ): Promise<OfType<T>> {
    for (;;) {
      for (const message of this.heard) {
        if (message.type !== type || this.#taken.has(message) || !fits(message as OfType<T>)) continue
        this.#taken.add(message)
        return message as OfType<T>
      }
      if (this.closed) throw new Error(`the link ended before ${type}`)
      await this.#change()
    }
  }

  async untilClosed(): Promise<void> {
    while (!this.closed) await this.#change()
  }

  close(): void {
    this.link?.close()
  }

  #hear(envelope: Envelope, message: Message): void {
    if (message.type === 'heartbeat') this.send({ type: 'heartbeat-ack', n: message.n })
    this.heard.push({ ...message as Told, about: envelope })
    this.#changed()
  }

  #change(): Promise<void> {
    return new Promise(resolve => {
      const listener = () => {
        this.#listeners.delete(listener)
        resolve()
      }
      this.#listeners.add(listener)
    })
  }

  #changed(): void {
    for (const listener of this.#listeners) listener()
  }
}

/** Asks the guest directly, in RESP: one request, one line of answer. */
export async function ask(endpoint: string, request: string): Promise<string> {
  const [host = '', port = ''] = endpoint.split(':')
  const socket = connect(Number(port), host)
  try {
    socket.write(`${request}\r\n`)
    let answer = ''
    while (!answer.includes('\r\n')) {
      const [bytes] = await once(socket, 'data') as [Buffer]
      answer += bytes.toString()
    }
    return answer
  } finally {
    socket.destroy()
  }
}
