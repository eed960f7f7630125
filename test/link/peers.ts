import { hostName, generation, historyId } from '../../src/core/ids.ts'
import type { Envelope, Message } from '../../src/core/message.ts'
import type { TlsMaterial } from '../../src/link/tls-material.ts'
import { connectLink } from '../../src/link/dial.ts'
import type { LinkConnection, LinkEvents } from '../../src/link/link.ts'
import type { LinkLimits } from '../../src/link/limits.ts'
import { LinkListener } from '../../src/link/listener.ts'

/** One end of a link, with what arrived there, and a way to wait for it without a clock. */
export class End implements LinkEvents {
  readonly messages: { envelope: Envelope, message: Message }[] = []
  readonly ended: Promise<Error>
  link: LinkConnection | undefined
  onMessage: ((message: Message) => void) | undefined
  #end: (reason: Error) => void = () => undefined
  #awaited: { count: number, resolve: () => void } | undefined

  constructor() {
    this.ended = new Promise(resolve => { this.#end = resolve })
  }

  message(envelope: Envelope, message: Message): void {
    this.messages.push({ envelope, message })
    this.onMessage?.(message)
    if (this.#awaited !== undefined && this.messages.length >= this.#awaited.count) this.#awaited.resolve()
  }

  closed(reason: Error): void {
    this.#end(reason)
  }

  /** The link, which must be up. */
  get up(): LinkConnection {
    if (this.link === undefined) throw new Error('this end of the link is not up')
    return this.link
  }

  /** Resolves when `count` messages have arrived since the beginning. */
  received(count: number): Promise<void> {
    if (this.messages.length >= count) return Promise.resolve()
    return new Promise(resolve => { this.#awaited = { count, resolve } })
  }
}

export const envelope: Envelope = {
  guest: 'shop', generation: generation(3), history: historyId('00c0ffee12345678')
}

export interface Pair {
  readonly gateway: End
  readonly agent: End
  readonly close: () => Promise<void>
}

/** A link over loopback between gateway `gw` and agent `a1`, up on both sides. */
export async function connectedPair(
  limits: Partial<LinkLimits> = {}, tls?: { gateway: TlsMaterial, agent: TlsMaterial }
): Promise<Pair> {
  const gateway = new End()
  const agent = new End()
  let accepted: () => void = () => undefined
  const agentUp = new Promise<void>(resolve => { accepted = resolve })
  const listener = await LinkListener.listen({
    self: { name: hostName('a1'), role: 'agent', tls: tls?.agent },
    host: '127.0.0.1',
    port: 0,
    limits,
    up(link) {
      agent.link = link
      accepted()
      return agent
    },
    refused(error) { throw error }
  })
  gateway.link = await connectLink({
    self: { name: hostName('gw'), role: 'gateway', tls: tls?.gateway },
    expected: hostName('a1'),
    host: '127.0.0.1',
    port: listener.port,
    limits
  }, () => gateway)
  await agentUp
  return { gateway, agent, close: () => listener.close() }
}
