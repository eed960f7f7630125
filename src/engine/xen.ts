import { messageOf, TailgateError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import type { GuestCondition } from '../core/message.ts'
import type { CheckpointRequest } from '../core/agent/port.ts'
import type { Engine } from './engine.ts'
import { asEngineError } from './engine-error.ts'
import type { GuestNetwork } from './guest-network.ts'
import { RemusImages } from './remus-images.ts'
import { XenClaim } from './xen-claim.ts'
import { mustFit, type XenPlace } from './xen-domain.ts'
import { openPart } from './xen-image.ts'
import { restoreDomain, saveDomain } from './xen-save.ts'
import { mustBeNone, XenStandby } from './xen-standby.ts'
import { XenWatch } from './xen-watch.ts'
import { describedIn, Xl } from './xl.ts'
import { ownLock } from './xl-lock.ts'

export interface XenEngineOptions {
  /** The domain's name, the same on every host. */
  readonly domain: string
  /** Its configuration (xl.cfg(5)). Undefined: a domain is found here, or restored, and never created. */
  readonly config: string | undefined
  readonly network: GuestNetwork
  readonly bridge: string
  /** The address of its network card. */
  readonly mac: string
  /**
   * `remus`: images that build on one another. `save`: whole ones, for which the domain stands until all of
   * it was written.
   */
  readonly checkpoints: 'remus' | 'save'
  /** A directory of the guest's on this host. */
  readonly directory: string
  /** Where its services listen, `host:port` each: its own addresses, the same on every host. */
  readonly endpoints: readonly string[]
  /** Told why the next image has all of the memory, where no checkpoint has failed. */
  notice?(text: string): void
}

/**
 * The engine of Xen domains, by xl(1) and Remus without its network buffer:
 *
 *   primary: xl remus ─► pipe ─► RemusImages ═══ images ═══► XenStandby ─► xl migrate-receive: backup
 *
 * Images build on one another: each goes into the standby domain of the backup at once, and restoring is no
 * more than ending the standby's stream. The domain runs then by itself, behind a gate that is shut.
 */
export class XenEngine implements Engine {
  readonly name = 'xen'
  readonly canRestore = true
  onFailure: ((reason: string) => void) | undefined
  onPaused: Engine['onPaused']
  onSuspended: Engine['onSuspended']
  onStandbyLost: Engine['onStandbyLost']
  readonly absorb: Engine['absorb']
  readonly #options: XenEngineOptions
  readonly #place: XenPlace
  readonly #xl = new Xl()
  readonly #standby: XenStandby
  readonly #claim: XenClaim
  #condition: GuestCondition = 'absent'
  /** The domain of this name is the guest, or is being made as such: none other is ever destroyed. */
  #isOurs = false
  /** Xen's number of the domain that is our guest. */
  #id: number | undefined
  #watch: XenWatch | undefined
  #images: RemusImages | undefined
  #checkpointing = false

  constructor(options: XenEngineOptions) {
    const { domain, network, bridge, mac, checkpoints, directory } = options
    this.#options = options
    this.#claim = new XenClaim(directory)
    this.#place = { domain, device: network.device, bridge, mac, checkpoints }
    this.#standby = new XenStandby({
      xl: this.#xl, domain, check: json => { this.#check(json) }, claim: id => this.#claim.take(id),
      ownLock: () => ownLock(directory), prepareNetwork: () => network.prepare(),
      layGate: () => network.layGate(),
      lost: reason => { this.onStandbyLost?.(reason) }
    })
    if (checkpoints === 'remus') {
      this.absorb = image => this.#standby.absorb(image).catch((error: unknown) => {
        throw asEngineError(error, 'the image could not be taken into the standby domain')
      })
    }
    network.onFailure = reason => { this.#networkFailed(reason) }
  }

  get condition(): GuestCondition { return this.#condition }

  get endpoints(): readonly string[] {
    return this.#condition === 'absent' ? [] : this.#options.endpoints
  }

  /**
   * Domains outlive agents: one that an agent before this one had is taken for the guest, with its gate shut
   * until a lease is given. Any other of the guest's name is its owner's, and stays as it is until it is
   * started.
   */
  async prepare(): Promise<void> {
    const { network } = this.#options
    const id = await this.#xl.domainId(this.#place.domain)
    if (id !== undefined && !await this.#claim.covers(id)) return
    await network.prepare()
    await this.#standby.removeLeftOver()
    if (id === undefined) {
      await this.#claim.drop()
      return
    }
    network.renewLease(0)
    await network.open()
    await this.#hold()
  }

  /** A domain that is there is taken as it is; one that does not fit is refused, and goes on. */
  async start(): Promise<void> {
    this.#mustBeAbsent()
    const { network } = this.#options
    const isFound = await this.#fitting()
    this.#isOurs = !isFound
    try {
      await (isFound ? network.adopt() : network.prepare())
      await this.#standby.drop()
      if (!isFound) await this.#create()
      await network.open()
      await this.#hold()
    } catch (error) {
      if (!isFound) await this.#destroy()
      throw error
    }
  }

  async *checkpoint(
    standing: () => Promise<void>, { builds, periodMs }: CheckpointRequest
  ): AsyncGenerator<Uint8Array, void> {
    if (this.#condition !== 'running') throw new TailgateError('E_ENGINE', 'no domain runs here')
    if (this.#checkpointing) throw new TailgateError('E_ENGINE', 'another checkpoint is being taken')
    this.#checkpointing = true
    try {
      if (this.#options.checkpoints === 'save') yield* this.#save(standing)
      else yield* (await this.#imagesFor(builds, periodMs)).next(standing)
    } finally {
      this.#checkpointing = false
    }
  }

  async restore(image: AsyncIterable<Uint8Array>): Promise<void> {
    this.#mustBeAbsent()
    try {
      await this.#restore(image)
    } catch (error) {
      throw asEngineError(error, 'the domain could not be put in place')
    }
  }

  async openNetwork(): Promise<void> {
    const { network, checkpoints } = this.#options
    await network.open()
    if (checkpoints === 'save') await this.#xl.unpause(this.#place.domain)
    await network.announce()
  }

  attached(): Promise<void> {
    return Promise.resolve()
  }

  renewLease(remainingMs: number): void {
    this.#options.network.renewLease(remainingMs)
  }

  async release(): Promise<void> {
    this.#forget()
    this.#isOurs = false
    await this.#options.network.close()
  }

  async stop(): Promise<void> {
    this.#forget()
    const { network } = this.#options
    // A gate that is not there cannot be shut; the domain's end is what counts.
    await network.shut().catch(() => undefined)
    await this.#standby.drop()
    if (this.#isOurs) await this.#destroy()
    this.#images?.kill()
    this.#images = undefined
    await network.close()
  }

  #forget(): void {
    this.#condition = 'absent'
    this.#id = undefined
    this.#watch?.stop()
  }

  #mustBeAbsent(): void {
    if (this.#condition === 'absent') return
    throw new TailgateError('E_ENGINE', `the domain ${this.#place.domain} is there already`)
  }

  /** Whether the domain is there already. Rejects with E_ENGINE when it, or its file, does not fit. */
  async #fitting(): Promise<boolean> {
    const { config } = this.#options
    const { domain } = this.#place
    const isFound = await this.#xl.domainId(domain) !== undefined
    if (isFound) mustFit(await this.#xl.describe(domain), this.#place)
    else if (config !== undefined) mustFit(await this.#xl.describeFile(config), this.#place)
    else {
      throw new TailgateError('E_ENGINE', `there is no domain ${domain} on this host, and no \`config\` to `
        + 'create it from: create it, or name its file')
    }
    return isFound
  }

  async #create(): Promise<void> {
    const { config } = this.#options
    invariant(config !== undefined, 'a domain is created from a file')
    await this.#claim.take('any')
    await this.#xl.create(config)
    mustFit(await this.#xl.describe(this.#place.domain), this.#place)
  }

  async #restore(image: AsyncIterable<Uint8Array>): Promise<void> {
    const { part, bytes, close } = await openPart(image)
    try {
      if (this.#options.checkpoints === 'remus') this.#holdDomain(await this.#standby.release(part))
      else await this.#restoreSaved(bytes)
    } finally {
      await close()
    }
  }

  async #restoreSaved(bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const { network, directory } = this.#options
    await mustBeNone(this.#xl, this.#place.domain)
    this.#isOurs = true
    try {
      await network.prepare()
      await this.#claim.take('any')
      await restoreDomain(bytes, directory, json => { this.#check(json) })
      await this.#hold()
    } catch (error) {
      await this.#destroy()
      throw error
    }
  }

  async #destroy(): Promise<void> {
    await this.#xl.destroy(this.#place.domain)
    this.#isOurs = false
    await this.#claim.drop()
  }

  /** A stream's description of its domain must be what the gate of this host is laid for. */
  #check(json: string): void {
    mustFit(describedIn(json), this.#place)
  }

  /** Takes the domain that runs under the name for the guest, also for an agent after this one. */
  async #hold(): Promise<void> {
    const id = await this.#xl.domainId(this.#place.domain)
    if (id === undefined) throw new TailgateError('E_ENGINE', 'the domain ended as soon as it was there')
    await this.#claim.take(id)
    this.#holdDomain(id)
  }

  /** The domain with this number is the guest. The watch looks at once whether it is still there. */
  #holdDomain(id: number): void {
    this.#id = id
    this.#isOurs = true
    this.#condition = 'running'
    this.#watch?.stop()
    const changed = (): void => {
      this.#images?.suspended()
      this.onSuspended?.()
      void this.#look()
    }
    this.#watch = new XenWatch(changed, reason => { this.#fail(reason) })
  }

  /** Whether the guest is still there, by Xen's number: one that was rebooted is another domain. */
  async #look(): Promise<void> {
    const id = this.#id
    if (id === undefined || this.#condition !== 'running') return
    const found = await this.#xl.domainId(this.#place.domain).catch(messageOf)
    if (this.#id !== id || found === id) return
    this.#fail(typeof found === 'string' ? found : 'the domain has ended or was rebooted')
  }

  #fail(reason: string): void {
    if (this.#condition !== 'running') return
    this.#condition = 'failed'
    this.#watch?.stop()
    this.onFailure?.(reason)
  }

  #save(standing: () => Promise<void>): AsyncGenerator<Uint8Array, void> {
    return saveDomain({
      domain: this.#place.domain, directory: this.#options.directory,
      check: json => { this.#check(json) }, paused: ms => { this.onPaused?.(ms) }
    }, standing)
  }

  /** Nobody could shut out a guest any more whose gate does not obey: it is ended. */
  #networkFailed(reason: string): void {
    if (this.#condition !== 'running') return
    this.#fail(`its network is gone: ${reason}`)
    this.#destroy().catch(() => undefined)
  }

  /** The stream that goes on, or one that begins: then the one before must be over. */
  async #imagesFor(builds: boolean, periodMs: number): Promise<RemusImages> {
    const { domain } = this.#place
    const present = this.#images
    if (present !== undefined) {
      if (builds && !present.over && present.periodMs === periodMs) return present
      this.#tellEnd(builds, present)
      await present.close('a checkpoint after it does not build on it')
    }
    await this.#xl.othersGone(domain)
    const images = await RemusImages.begin({
      domain, periodMs,
      check: json => { this.#check(json) },
      paused: (ms, pages) => this.onPaused?.(ms, pages)
    })
    this.#images = images
    void this.#lookForStandstill(images)
    return images
  }

  /** A stream that ended within an image was told of when that failed. */
  #tellEnd(builds: boolean, { failure }: RemusImages): void {
    if (!builds || failure === undefined) return
    const what = 'the stream of checkpoints ended between two images, and the next one has all of the memory'
    this.#options.notice?.(`${what}: ${failure.message}`)
  }

  /** An xl that died at the wrong moment leaves a domain that nobody lets run on. */
  async #lookForStandstill(images: RemusImages): Promise<void> {
    await images.gone
    if (this.#images !== images || this.#condition !== 'running') return
    const stands = await this.#xl.isSuspended(this.#place.domain).catch(() => false)
    // For the checkpoint of another stream a domain stands as it should.
    if (!stands || this.#images !== images) return
    this.#fail('xl remus has ended while the domain stood, and Xen has no order that would let it run on')
  }
}
