import type { LinkId } from '../core/agent/port.ts'
import type { LinkConnection } from '../link/link.ts'

/** Every link of this agent that is up, by the number under which the cores know it. */
export class Links {
  readonly #links = new Map<LinkId, LinkConnection>()
  #last = 0

  /** Numbers are never used again. */
  add(link: LinkConnection): LinkId {
    this.#links.set(++this.#last, link)
    return this.#last
  }

  get(id: LinkId): LinkConnection | undefined {
    return this.#links.get(id)
  }

  remove(id: LinkId): void {
    this.#links.delete(id)
  }

  count(role: LinkConnection['peer']['role']): number {
    return [...this.#links.values()].filter(link => link.peer.role === role).length
  }
}
