import type { HostName } from '../core/ids.ts'
import type { LinkId } from '../core/agent/port.ts'
import type { LinkConnection } from '../link/link.ts'

/** Every link of this agent that is up, by the number under which the cores know it. */
export class Links {
  readonly #links = new Map<LinkId, LinkConnection>()
  readonly #changed: (peer: HostName, up: boolean) => void
  #last = 0

  /** `changed` is told of every link that comes up, and of every peer whose last one is gone. */
  constructor(changed: (peer: HostName, up: boolean) => void) {
    this.#changed = changed
  }

  /** Numbers are never used again. */
  add(link: LinkConnection): LinkId {
    this.#links.set(++this.#last, link)
    this.#changed(link.peer.name, true)
    return this.#last
  }

  get(id: LinkId): LinkConnection | undefined {
    return this.#links.get(id)
  }

  remove(id: LinkId): void {
    const peer = this.#links.get(id)?.peer.name
    this.#links.delete(id)
    if (peer === undefined || [...this.#links.values()].some(link => link.peer.name === peer)) return
    this.#changed(peer, false)
  }

  count(role: LinkConnection['peer']['role']): number {
    return [...this.#links.values()].filter(link => link.peer.role === role).length
  }
}
