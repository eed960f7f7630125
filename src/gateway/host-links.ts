import { messageOf, type TailgateError } from '../base/errors.ts'
import { hostName, type HostName } from '../core/ids.ts'
import type { AgentMessage, Envelope, Message } from '../core/message.ts'
import type { GatewayConfig, GuestHostConfig } from '../config/types.ts'
import { loadTlsMaterial } from '../link/tls-material.ts'
import { ReconnectingLink } from '../link/reconnecting-link.ts'
import type { Logger } from '../observe/logger.ts'
import { addressOf } from './guest-settings.ts'

/** Messages that only an agent sends to a gateway. */
const fromAgents: ReadonlySet<Message['type']> = new Set<AgentMessage['type']>([
  'heartbeat', 'guest', 'position', 'ack', 'mark-request', 'checkpoint-failed', 'counted', 'promoted',
  'promote-failed', 'network-open', 'tail', 'tail-end', 'stale', 'log-failed'
])

export interface HostLinkEvents {
  up(host: HostName): void
  down(host: HostName): void
  message(host: HostName, envelope: Envelope, message: AgentMessage): void
}

/** One link to each host, whatever number of guests it serves. */
export class HostLinks {
  readonly #links = new Map<HostName, ReconnectingLink>()
  readonly #events: HostLinkEvents
  readonly #logger: Logger
  /** How often each link came up. */
  readonly ups = new Map<HostName, number>()

  private constructor(events: HostLinkEvents, logger: Logger) {
    this.#events = events
    this.#logger = logger
  }

  static async create(config: GatewayConfig, events: HostLinkEvents, logger: Logger): Promise<HostLinks> {
    const links = new HostLinks(events, logger)
    const tls = config.tls === undefined ? undefined : await loadTlsMaterial(config.tls)
    const hosts = new Map<HostName, GuestHostConfig>()
    for (const host of config.guests.flatMap(guest => guest.hosts)) hosts.set(host.name, host)
    for (const host of hosts.values()) {
      const options = {
        self: { name: hostName(config.name), role: 'gateway' as const, tls },
        expected: host.name, host: host.link.host, port: host.link.port
      }
      links.#links.set(host.name, links.#linkTo(host, options))
    }
    return links
  }

  #linkTo(
    host: GuestHostConfig, options: ConstructorParameters<typeof ReconnectingLink>[0]
  ): ReconnectingLink {
    const { name } = host
    return new ReconnectingLink(options, {
      up: () => {
        this.ups.set(name, (this.ups.get(name) ?? 0) + 1)
        this.#logger.event('link.up', { peer: name, address: addressOf(host.link) })
        this.#events.up(name)
      },
      message: (envelope, message) => this.#take(name, envelope, message),
      down: reason => {
        this.#logger.event('link.down', { peer: name, reason: messageOf(reason) })
        this.#events.down(name)
      },
      failed: error => this.#dialFailed(name, error)
    })
  }

  /** A host that is off is dialed for ever, so only what a person must mend is logged. */
  #dialFailed(peer: HostName, error: TailgateError): void {
    if (error.code === 'E_LINK_LOST' || error.code === 'E_TIMEOUT') return
    this.#logger.event('link.refused', { peer, code: error.code, reason: error.message })
  }

  #take(host: HostName, envelope: Envelope, message: Message): void {
    if (!fromAgents.has(message.type)) {
      this.#logger.event('link.refused', {
        peer: host, code: 'E_FRAME', reason: `an agent does not send "${message.type}"`
      })
      this.#links.get(host)?.link?.close()
      return
    }
    this.#events.message(host, envelope, message as AgentMessage)
  }

  start(): void {
    for (const link of this.#links.values()) link.start()
  }

  send(host: HostName, envelope: Envelope, message: Message): void {
    this.#links.get(host)?.link?.send(envelope, message)
  }

  stop(): void {
    for (const link of this.#links.values()) link.stop()
  }
}
