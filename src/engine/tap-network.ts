import { crc32 } from 'node:zlib'
import { messageOf, TailgateError } from '../base/errors.ts'
import { announcementsOf, macBytes } from './announcement.ts'
import { injectFrames } from './frame-injection.ts'
import type { GuestNetwork } from './guest-network.ts'
import { PacketFilter } from './packet-filter.ts'
import { PathGate, type Grant } from './path-gate.ts'
import { runSystemProgram } from './system-programs.ts'

export interface TapNetworkOptions {
  /** The guest's name. */
  readonly guest: string
  /** The name of its device, and of its gate; left out: one is made of the guest's. */
  readonly device?: string
  /** The bridge that joins guests and gateway on this host; it must be there. */
  readonly bridge: string
  /** The guest's MAC address, the same on every host. */
  readonly mac: string
  /** The guest's addresses, to be announced; without one only switches are told. */
  readonly addresses: readonly string[]
  /** The user id of a QEMU that has no CAP_NET_ADMIN of its own, so that it may open the device. */
  readonly owner?: number
}

/** The kernel's limit for a device's name, without the closing zero (IFNAMSIZ). */
const deviceNameMax = 15
/** A lease is renewed when this part of it has gone, so that heartbeats in a row cost nothing. */
const renewAfterPart = 1 / 8
/** A grant that came too late is tried again so often before the next heartbeat is waited for. */
const grantsMax = 3
/** An announcement is a frame that may be lost: it is repeated after so long, in milliseconds. */
const repeatsMs = [100, 400, 1500]

/** The alias of a device that an agent has made, by which the next one knows it: it may be removed. */
const ownAlias = 'tailgate'

/**
 * A tap device on a bridge of Linux, behind a {@link PathGate}. Needs `nft`, `ip`, CAP_NET_ADMIN, and
 * CAP_NET_RAW to announce.
 *
 * The device outlives the process that opens it (QEMU: `ifname=…,script=no,downscript=no`), and is down
 * while the gate was shut by order: taking it down waits for frames on their way, empties its queue, and
 * lets the bridge forget that the guest was here. A gate that has expired leaves it up. The device of a
 * machine that somebody else started is only ever adopted, never made anew or removed.
 */
export class TapNetwork implements GuestNetwork {
  readonly device: string
  onFailure: ((reason: string) => void) | undefined
  readonly #options: TapNetworkOptions
  readonly #announcements: readonly Buffer[]
  readonly #filter = new PacketFilter()
  readonly #gate: PathGate
  /** Opened by its owner; it may be shut all the same, because a lease has run out. */
  #wanted = false
  #up = false
  /** The end of the lease by performance.now(); undefined while none was ever given. */
  #leaseEnd: number | undefined
  /** Until when the gate was granted: a lease's end, or for good (Infinity), or not at all. */
  #granted: number | undefined
  #renewing = false
  /** Orders run one after another. */
  #turn: Promise<unknown> = Promise.resolve()
  #repeat: NodeJS.Timeout | undefined

  /** Throws E_ENGINE for addresses that are none. */
  constructor(options: TapNetworkOptions) {
    this.#options = options
    this.device = options.device ?? deviceNameOf(options.guest)
    this.#announcements = announcementsOf(options.mac, options.addresses)
    this.#gate = new PathGate(this.#filter, {
      table: `tailgate-${this.device}`, device: this.device, mac: options.mac
    })
  }

  prepare(): Promise<void> {
    this.#forget()
    return this.#inTurn(async () => {
      await this.#checkBridge()
      if (await this.#ownerOfDevice() === 'others') {
        throw new TailgateError('E_ENGINE', `${this.device} is the device of another program's machine: `
          + 'name another one, or shut that machine down and remove the device')
      }
      await this.#gate.lay()
      await this.#removeDevice()
      await this.#makeDevice()
    })
  }

  adopt(): Promise<void> {
    this.#forget()
    return this.#inTurn(async () => {
      await this.#checkBridge()
      await this.#checkDevice()
      await this.#gate.lay()
      await this.#setDown()
      await this.#joinBridge()
    })
  }

  open(): Promise<void> {
    this.#wanted = true
    return this.#inTurn(async () => {
      try {
        await this.#admit()
      } catch (error) {
        await this.#close(error)
        throw error
      }
    })
  }

  shut(): Promise<void> {
    this.#wanted = false
    return this.#inTurn(() => this.#shutNow())
  }

  renewLease(remainingMs: number): void {
    this.#leaseEnd = performance.now() + remainingMs
    if (!this.#wanted || this.#renewing || (remainingMs > 0 && !this.#isDue(remainingMs))) return
    this.#renewing = true
    // What is ordered until its turn comes is done with it.
    void this.#inTurn(async () => {
      this.#renewing = false
      try {
        await this.#admit()
      } catch (error) {
        await this.#fail(error)
      }
    })
  }

  async announce(): Promise<void> {
    if (!this.#wanted) {
      throw new TailgateError('E_ENGINE', `${this.device} is shut: it is announced when it has been opened`)
    }
    clearTimeout(this.#repeat)
    await this.#forgetPlaces()
    await injectFrames(this.#options.bridge, this.#announcements)
    this.#repeatLater(0)
  }

  close(): Promise<void> {
    this.#forget()
    return this.#inTurn(async () => {
      try {
        // Behind a gate may be the guest of a process before this one: it must not get past it by its end.
        const isGuarded = await this.#ownerOfDevice() === 'others' && await this.#gate.isLaid()
        if (isGuarded) await this.#leaveBridge()
        else await this.#removeDevice()
        await this.#gate.remove()
      } finally {
        this.#filter.close()
      }
    })
  }

  /** As if nothing had ever been ordered. */
  #forget(): void {
    this.#wanted = false
    this.#leaseEnd = undefined
    clearTimeout(this.#repeat)
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work)
    this.#turn = done.catch(() => undefined)
    return done
  }

  /** Whether the lease runs; undefined while none was ever given. */
  get #leased(): boolean | undefined {
    return this.#leaseEnd === undefined ? undefined : this.#leaseEnd > performance.now()
  }

  #isDue(remainingMs: number): boolean {
    const end = this.#leaseEnd ?? 0
    if (this.#granted === undefined || this.#granted > end) return true
    return end - this.#granted >= remainingMs * renewAfterPart
  }

  /** Opens what is wanted, for as long as it may be. */
  async #admit(): Promise<void> {
    if (!this.#wanted) return
    if (this.#leased === false) {
      await this.#shutNow()
      return
    }
    if (!this.#up) await this.#setUp()
    if (this.#leaseEnd === undefined) {
      await this.#gate.open()
      this.#granted = Infinity
      // A lease may have been given, and the gate shut, while the kernel was asked.
      if (!this.#wanted) await this.#shutNow()
      return
    }
    for (let tries = 0, grant: Grant = 'late'; grant === 'late' && tries < grantsMax; tries++) {
      const end = this.#leaseEnd
      grant = await this.#gate.lease(end, () => this.#wanted && (this.#leaseEnd ?? 0) >= end)
      if (grant === 'granted') this.#granted = end
    }
    // What was granted before may last longer than it may now: for good, or for an older lease.
    if ((this.#granted ?? 0) > this.#leaseEnd) await this.#shutNow()
  }

  /** Both ways of shutting are gone: one is enough, and the second one waits for frames on their way. */
  async #shutNow(): Promise<void> {
    clearTimeout(this.#repeat)
    this.#granted = undefined
    const gate = await settled(this.#gate.shut())
    const down = await settled(this.#setDown())
    if (gate !== undefined && down !== undefined) throw gate
  }

  /** After a failure: what can be shut is, and the first reason is what counts. */
  async #close(reason: unknown): Promise<string> {
    this.#wanted = false
    const still = await settled(this.#shutNow())
    const what = messageOf(reason)
    return still === undefined ? what : `${what}; and it is not shut: ${still.message}`
  }

  async #fail(error: unknown): Promise<void> {
    const reason = await this.#close(error)
    this.onFailure?.(reason)
  }

  async #checkBridge(): Promise<void> {
    const { bridge } = this.#options
    const info = await this.#describe(bridge)
    if (info?.linkinfo?.info_kind !== 'bridge') {
      throw new TailgateError('E_ENGINE', info === undefined
        ? `there is no bridge ${bridge} on this host: make it, with the network of the guests as a port`
        : `${bridge} is not a bridge: name the one that has the network of the guests as a port`)
    }
    if ((info.linkinfo.info_data?.stp_state ?? 0) !== 0) {
      throw new TailgateError('E_ENGINE', `the bridge ${bridge} speaks the spanning tree protocol, which `
        + `keeps a guest that moves silent for many seconds: ip link set ${bridge} type bridge stp_state 0`)
    }
  }

  async #removeDevice(): Promise<void> {
    this.#up = false
    this.#granted = undefined
    if (await this.#ownerOfDevice() !== 'us') return
    await this.#ip('removed', ['link', 'delete', 'dev', this.device])
  }

  /** Whose it is, by its mark; undefined if there is none. Rejects with E_ENGINE if it is no tap at all. */
  async #ownerOfDevice(): Promise<'us' | 'others' | undefined> {
    const info = await this.#describe(this.device)
    if (info === undefined) return undefined
    if (info.linkinfo?.info_kind !== 'tun') {
      throw new TailgateError('E_ENGINE', `${this.device} is there and is no tap device: rename it`)
    }
    return info.ifalias === ownAlias ? 'us' : 'others'
  }

  async #makeDevice(): Promise<void> {
    const { owner } = this.#options
    const user = owner === undefined ? [] : ['user', String(owner)]
    await this.#ip('made', ['tuntap', 'add', 'dev', this.device, 'mode', 'tap', ...user])
    await this.#ip('marked', ['link', 'set', 'dev', this.device, 'alias', ownAlias])
    await this.#joinBridge()
  }

  /** Throws E_ENGINE unless a machine that runs already has a device of this name. */
  async #checkDevice(): Promise<void> {
    if (await this.#ownerOfDevice() !== undefined) return
    throw new TailgateError('E_ENGINE', `there is no device ${this.device} on this host: name the one that `
      + "the machine's card is joined to")
  }

  async #joinBridge(): Promise<void> {
    const { bridge, mac } = this.#options
    // A bridge takes the lowest of its ports' addresses for its own, and this one must not become it. The
    // kernel would speak IPv6 on the device itself.
    const own = macBytes(mac)
    own[0] = 0xfe
    const address = own.toString('hex').replace(/..(?!$)/g, '$&:')
    await this.#ip('set up', [
      'link', 'set', 'dev', this.device, 'address', address, 'addrgenmode', 'none', 'master', bridge
    ])
  }

  /** Nobody reaches what is behind it without the gate. Its owner may be removing it meanwhile. */
  async #leaveBridge(): Promise<void> {
    this.#up = false
    this.#granted = undefined
    const words = ['link', 'set', 'dev', this.device, 'nomaster']
    const left = await settled(this.#ip('taken off the bridge', words))
    if (left !== undefined && await this.#describe(this.device) !== undefined) throw left
  }

  async #setUp(): Promise<void> {
    await this.#ip('set up', ['link', 'set', 'dev', this.device, 'up'])
    this.#up = true
  }

  async #setDown(): Promise<void> {
    await this.#ip('taken down', ['link', 'set', 'dev', this.device, 'down'])
    this.#up = false
  }

  async #ip(done: string, args: readonly string[]): Promise<void> {
    await runSystemProgram(`the device ${this.device} could not be ${done}`, 'ip', args)
  }

  /**
   * The bridge here learns from frames that come in by its ports, and what this host sends does not: it would
   * keep the guest's frames from its device until the guest speaks, because they are to go back where it was.
   * So it forgets all that it has learnt, and sends a frame to every port until it knows better.
   */
  async #forgetPlaces(): Promise<void> {
    const { bridge } = this.#options
    await runSystemProgram(`${bridge} could not be made to forget where ${this.device} was`, 'ip',
      ['link', 'set', 'dev', bridge, 'type', 'bridge', 'fdb_flush'])
  }

  #repeatLater(n: number): void {
    const ms = repeatsMs[n]
    if (ms === undefined || !this.#wanted) return
    this.#repeat = setTimeout(() => {
      // The first announcement was sent: that one more cannot be is no reason to end anything.
      injectFrames(this.#options.bridge, this.#announcements).catch(() => undefined)
        .then(() => this.#repeatLater(n + 1), () => undefined)
    }, ms)
    this.#repeat.unref()
  }

  /** What `ip` says about a device; undefined if there is none of that name. Rejects with E_ENGINE. */
  async #describe(device: string): Promise<LinkInfo | undefined> {
    const text = await runSystemProgram('the network devices could not be listed', 'ip', ['-j', '-d', 'link'])
    return (JSON.parse(text) as readonly LinkInfo[]).find(({ ifname }) => ifname === device)
  }
}

/** A part of what `ip -json -details link` says about one device. */
interface LinkInfo {
  readonly ifname: string
  readonly ifalias?: string
  readonly linkinfo?: {
    readonly info_kind?: string
    readonly info_data?: { readonly stp_state?: number }
  }
}

/** A name that the kernel takes, always the same: the guest's own where it fits, else a hash of it. */
export function deviceNameOf(guest: string): string {
  const plain = `tg-${guest}`
  if (plain.length <= deviceNameMax && /^[\w.-]+$/.test(plain)) return plain
  return `tg-${crc32(guest).toString(16).padStart(8, '0')}`
}

/** The error of what fails; undefined of what does not. */
function settled(work: Promise<unknown>): Promise<Error | undefined> {
  return work.then(() => undefined, (error: unknown) =>
    error instanceof Error ? error : new Error(String(error)))
}
