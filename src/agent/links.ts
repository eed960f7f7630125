import type { HostName } from '../core/ids.ts'
import type { LinkId } from '../core/agent/port.ts'
import type { LinkConnection } from '../link/link.ts'

/** `again`: a link is up in the place of one that had ended; `down`: the last one of this peer has ended. */
export type LinkChange = 'up' | 'again' | 'down'

/**
 * Every link of this agent that is up, by the number under which the cores know it. A peer may have several:
 * each worker process of a gateway has its own.
 */
export class Links {
  readonly #links = new Map<LinkId, LinkConnection>()
  /** How many links of each peer have ended and were not followed by another. */
  readonly #missing = new Map<HostName, number>()
  readonly #changed: (peer: HostName, change: LinkChange) => void
  #last = 0

  /** `changed` is told of every link that comes up, and of every peer whose last one is gone. */
  constructor(changed: (peer: HostName, change: LinkChange) => void) {
    this.#changed = changed
  }

  /** Numbers are never used again. */
  add(link: LinkConnection): LinkId {
    const { name } = link.peer
    this.#links.set(++this.#last, link)
    const missing = this.#missing.get(name) ?? 0
    this.#missing.set(name, Math.max(0, missing - 1))
    this.#changed(name, missing > 0 ? 'again' : 'up')
    return this.#last
  }

  get(id: LinkId): LinkConnection | undefined {
    return this.#links.get(id)
  }

  remove(id: LinkId): void {
    const peer = this.#links.get(id)?.peer.name
    this.#links.delete(id)
    if (peer === undefined) return
    this.#missing.set(peer, (this.#missing.get(peer) ?? 0) + 1)
    if ([...this.#links.values()].some(link => link.peer.name === peer)) return
    this.#changed(peer, 'down')
  }

  count(role: LinkConnection['peer']['role']): number {
    return [...this.#links.values()].filter(link => link.peer.role === role).length
  }
}
