import { messageOf, TailgateError } from '../base/errors.ts'
import { RemusReceiver, standbyName } from './remus-receiver.ts'
import { openPart, type OpenedPart, type XenPart } from './xen-image.ts'
import type { Xl } from './xl.ts'

export interface XenStandbyOptions {
  readonly xl: Xl
  /** The guest's domain; the standby has a name of its own until it runs. */
  readonly domain: string
  /** Makes the beginning of a command that runs an xl with a lock of its own. */
  readonly ownLock: () => Promise<readonly string[]>
  /** Is told the configuration of the domain before it is made; throws to refuse it. */
  readonly check: (json: string) => void
  /** The gate must be there, and shut, before Xen makes the domain's network card... */
  readonly prepareNetwork: () => Promise<void>
  /** ...and before that runs: a failover waits for this. */
  readonly layGate: () => Promise<void>
  /** An agent after this one will find this domain: under the guest's name, too, if it came up meanwhile. */
  readonly claim: (id: number) => Promise<void>
  /** No image here can be restored any more, until another one has been absorbed. */
  readonly lost: (reason: string) => void
  /** A receiver is ended that has taken nothing for so long, in milliseconds. */
  readonly stallMsMax?: number
}

/**
 * Rejects with E_ENGINE when a domain of the guest's name is on a host that is to have none: somebody made it
 * past the agent, which therefore does not end it.
 */
export async function mustBeNone(xl: Xl, domain: string): Promise<void> {
  if (await xl.domainId(domain) === undefined) return
  throw new TailgateError('E_ENGINE', `a domain ${domain} is on this host that is not its agent's, so the `
    + `host cannot be the guest's backup: if nobody needs it, end it with xl destroy ${domain}`)
}

/**
 * The domain of a backup that stands and takes every image as it comes. There is one at most: a stream that
 * begins takes the place of the one before.
 */
export class XenStandby {
  readonly #options: XenStandbyOptions
  #receiver: RemusReceiver | undefined
  /** One that has failed is being cleared away. */
  #clearing: Promise<void> | undefined

  constructor(options: XenStandbyOptions) {
    this.#options = options
  }

  /** Clears away what an agent before this one has left: nobody knows how far it is. */
  async removeLeftOver(): Promise<void> {
    const { xl, domain } = this.#options
    await xl.destroy(standbyName(domain))
  }

  /** Takes a whole image. Rejects with E_IMAGE and E_ENGINE. */
  async absorb(image: AsyncIterable<Uint8Array>): Promise<void> {
    const opened = await openPart(image)
    try {
      await this.#take(opened)
    } finally {
      await opened.close()
    }
  }

  /**
   * Lets the domain run, which has taken this part last, and answers its number. Rejects with E_IMAGE when it
   * is not that far, and with E_ENGINE when it did not come up, or its gate cannot be laid: then it stays.
   */
  async release({ stream, index }: XenPart): Promise<number> {
    const receiver = this.#receiver
    if (receiver?.part.stream !== stream || receiver.part.index !== index) {
      throw new TailgateError('E_IMAGE', 'the standby domain is not what this checkpoint would be')
    }
    // Laid when the stream began, hours ago; nothing else keeps the domain off the wire when it comes up.
    await this.#options.layGate()
    if (this.#receiver !== receiver) throw new TailgateError('E_ENGINE', 'the standby domain has gone')
    this.#receiver = undefined
    return await receiver.release()
  }

  /** Destroys the domain, if there is one, without a word of a loss. */
  async drop(): Promise<void> {
    await this.#clearing
    const receiver = this.#receiver
    this.#receiver = undefined
    await receiver?.destroy()
  }

  async #take({ part, bytes }: OpenedPart): Promise<void> {
    const receiver = await this.#receiverFor(part)
    try {
      const id = await receiver.take(part, bytes)
      // By now it would come up if this process died. Later, a failover would have to wait for it.
      if (part.index === 0) await this.#options.claim(id)
    } catch (error) {
      // One that has gone by itself was told of already. What becomes of its domain changes nothing.
      if (this.#receiver === receiver) this.#options.lost(messageOf(error))
      await this.drop().catch(() => undefined)
      throw error
    }
  }

  async #receiverFor(part: XenPart): Promise<RemusReceiver> {
    if (part.index === 0) return this.#begin(part)
    if (this.#receiver?.follows(part) === true) return this.#receiver
    throw new TailgateError('E_IMAGE', 'the image builds on one that is not here')
  }

  async #begin(part: XenPart): Promise<RemusReceiver> {
    const { xl, domain, check, ownLock, prepareNetwork, lost, stallMsMax } = this.#options
    await this.#clearing
    if (this.#receiver !== undefined) {
      lost('a new stream of checkpoints takes the place of the standby')
      await this.drop()
    }
    await mustBeNone(xl, domain)
    await prepareNetwork()
    const receiver = new RemusReceiver({ xl, domain, check, command: await ownLock(), stallMsMax }, part)
    receiver.onLost = reason => {
      if (this.#receiver !== receiver) return
      this.#receiver = undefined
      this.#clearing = receiver.destroy().catch(() => undefined)
      lost(reason)
    }
    this.#receiver = receiver
    return receiver
  }
}
