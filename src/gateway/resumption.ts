import { TcpPlacesBook } from '../attach/tcp-places.ts'
import { guestMark, TcpResumeAttach } from '../attach/tcp-resume.ts'
import type { Attach } from '../attach/attach.ts'
import { messageOf } from '../base/errors.ts'
import { parseAddress, resolveHost } from '../net/address.ts'
import { RstShield } from '../net/rst-shield.ts'
import type { Sockets } from '../net/sockets.ts'

export interface ResumptionOptions {
  readonly guest: string
  readonly sockets: Sockets
  readonly connectMs: number
  /** The shield could not be put up or taken down, and why. */
  readonly trouble: (reason: string) => void
}

/** What lets one guest's TCP connections outlive it: over its generations, and during each failover. */
export class Resumption {
  readonly #options: ResumptionOptions
  readonly #book = new TcpPlacesBook()
  readonly #shield: RstShield
  #shielded = false
  /** Which failover it is: what is begun for one that has been given up meanwhile is left. */
  #failover = 0

  constructor(options: ResumptionOptions) {
    this.#options = options
    this.#shield = new RstShield({ name: options.guest, mark: guestMark })
  }

  newAttach(): Attach {
    const { sockets, connectMs } = this.#options
    return new TcpResumeAttach({ sockets, connectMs, book: this.#book, shielded: () => this.#shielded })
  }

  /**
   * From the cut of the guest's path until {@link settled}, no reset that is nobody's leaves for the guest at
   * `endpoints`. Resolves when that is so, or cannot be: then nothing is joined.
   */
  async cut(endpoints: readonly string[]): Promise<void> {
    const failover = ++this.#failover
    this.#shielded = false
    try {
      const hosts = endpoints.flatMap((endpoint) => parseAddress(endpoint)?.host ?? [])
      const found = await Promise.all(hosts.map((host) => resolveHost(host)))
      if (failover !== this.#failover) return
      await this.#shield.arm(found.map(({ address }) => address))
      // If not, the shield's next order is carried out after this one, and stands.
      if (failover === this.#failover) this.#shielded = true
    } catch (error) {
      this.#options.trouble(messageOf(error))
    }
  }

  /** Every connection is resolved. Also takes away what a process that died has left. */
  async settled(): Promise<void> {
    this.#failover += 1
    this.#shielded = false
    try {
      await this.#shield.disarm()
    } catch (error) {
      this.#options.trouble(messageOf(error))
    }
  }
}
