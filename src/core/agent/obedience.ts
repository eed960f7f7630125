import { noGateway, noHistory, type Generation } from '../ids.ts'
import type { Envelope, GatewayLife, GatewayMessage, GuestCondition } from '../message.ts'
import type { AgentPort, AgentState, LinkId } from './port.ts'
import type { AgentVoice } from './voice.ts'

/**
 * Whether this agent obeys an `assign` of that generation from that life of a gateway. A newer generation
 * always is. Within one an agent obeys the gateway that came first, and of several lives of it the newest:
 * two gateways that know the same generation cannot take it from each other, and one that starts again need
 * not wait for its former life to end. Generation 0 only asks.
 */
export function isObeyed(state: AgentState, generation: Generation, life: GatewayLife): boolean {
  if (generation !== state.generation) return generation > state.generation
  if (generation === 0) return false
  return state.gateway === noGateway
    || life.gateway === state.gateway && life.incarnation >= state.incarnation
}

/** Which gateway speaks on which link, and which of them commands this guest. */
export class Obedience {
  readonly #port: AgentPort
  readonly #voice: AgentVoice
  /** Undefined before the first `assign` on a link. */
  readonly #links = new Map<LinkId, GatewayLife | undefined>()

  constructor(port: AgentPort, voice: AgentVoice) {
    this.#port = port
    this.#voice = voice
  }

  linkUp(link: LinkId): void {
    this.#links.set(link, undefined)
  }

  linkDown(link: LinkId): void {
    this.#links.delete(link)
  }

  has(link: LinkId): boolean {
    return this.#links.has(link)
  }

  /** Who speaks on this link, as far as its `assign` has said so: what a newer generation is bound to. */
  lifeOn(link: LinkId): GatewayLife | undefined {
    return this.#links.get(link)
  }

  /** Whether a message is to be looked at, or answered with `stale`. */
  admits(link: LinkId, { generation }: Envelope, message: GatewayMessage): boolean {
    const { state } = this.#voice
    if (message.type !== 'assign') return generation >= state.generation
    const { gateway, incarnation } = message
    this.#links.set(link, { gateway, incarnation })
    return isObeyed(state, generation, message)
  }

  /** A gateway that has lost its state learns from the answer to its `assign` where the guest runs. */
  turnAway(
    link: LinkId, { generation }: Envelope, { type }: GatewayMessage, condition: GuestCondition,
    endpoints: readonly string[]
  ): void {
    if (generation > 0) this.#port.report({ type: 'stale', generation, reason: type })
    this.#voice.answer(link, noHistory, { type: 'stale' })
    if (type !== 'assign') return
    const reason = generation === 0 ? 'it was asked' : 'it obeys another gateway, or a newer generation'
    this.#voice.answer(link, noHistory, { type: 'guest', condition, endpoints, reason })
  }

  /**
   * From now on this link commands. Another that did is closed, because a guest has one gateway: true if
   * there was one.
   */
  follow(link: LinkId): boolean {
    const before = this.#voice.gateway
    this.#voice.gateway = link
    if (before === undefined || before === link) return false
    this.#links.delete(before)
    this.#port.closeGateway(before, 'another link took over')
    return true
  }
}
