import { TailgateError, messageOf } from '../base/errors.ts'
import type { HostName } from '../core/ids.ts'
import type { Envelope, Message } from '../core/message.ts'
import type { LinkId } from '../core/agent/port.ts'
import type { LinkSelf } from '../link/greeting.ts'
import { ReconnectingLink } from '../link/reconnecting-link.ts'
import { parseAddress } from '../net/address.ts'
import type { Logger } from '../observe/logger.ts'
import type { Links } from './links.ts'

export interface PeerLinkEvents {
  up(link: LinkId): void
  message(link: LinkId, envelope: Envelope, message: Message): void
  down(link: LinkId): void
}

/**
 * A primary's link to the agent of its backup: one for each guest, so that a slow image holds nobody else
 * up.
 */
export class PeerLink {
  readonly #links: Links
  readonly #self: LinkSelf
  readonly #logger: Logger
  readonly #events: PeerLinkEvents
  #dialing: ReconnectingLink | undefined
  #id: LinkId | undefined

  constructor(links: Links, self: LinkSelf, logger: Logger, events: PeerLinkEvents) {
    this.#links = links
    this.#self = self
    this.#logger = logger
    this.#events = events
  }

  /** Dials until told otherwise; a link to another peer ends. */
  connect(peer: HostName, address: string): void {
    this.disconnect()
    const place = parseAddress(address)
    if (place === undefined) {
      const reason = `the gateway gave "${address}" as its address: look at the gateway's hosts`
      this.#logger.event('link.refused', { peer, code: 'E_CONFIG', reason })
      return
    }
    const link = new ReconnectingLink({ self: this.#self, expected: peer, ...place }, {
      up: connection => {
        const id = this.#id = this.#links.add(connection)
        this.#logger.event('link.up', { peer, address })
        this.#events.up(id)
      },
      message: (envelope, message) => {
        if (this.#id !== undefined) this.#events.message(this.#id, envelope, message)
      },
      down: reason => {
        this.#logger.event('link.down', { peer, reason: messageOf(reason) })
        this.#lost()
      },
      failed: error => { this.#failed(peer, error) }
    })
    this.#dialing = link
    link.start()
  }

  disconnect(): void {
    const dialing = this.#dialing
    this.#dialing = undefined
    dialing?.stop()
    this.#lost()
  }

  /** Resolves when there is room on the link. Rejects with E_LINK_LOST. */
  drained(): Promise<void> {
    const link = this.#dialing?.link
    if (link !== undefined) return link.drained()
    return Promise.reject(new TailgateError('E_LINK_LOST', 'there is no link to the backup'))
  }

  /** A host that is off is dialed for ever, so only what a person must mend is logged. */
  #failed(peer: HostName, error: TailgateError): void {
    if (error.code === 'E_LINK_LOST' || error.code === 'E_TIMEOUT') return
    this.#logger.event('link.refused', { peer, code: error.code, reason: error.message })
  }

  #lost(): void {
    const id = this.#id
    this.#id = undefined
    if (id === undefined) return
    this.#links.remove(id)
    this.#events.down(id)
  }
}
