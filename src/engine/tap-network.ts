import { crc32 } from 'node:zlib'
import { TailgateError } from '../base/errors.ts'
import { macBytes } from './announcement.ts'
import { GatedNetwork, type NetworkPlace } from './gated-network.ts'
import { changeDevice, deviceNamed, setWhereThere } from './network-device.ts'

export interface TapNetworkOptions extends NetworkPlace {
  /** The name of its device, and of its gate; left out: one is made of the guest's. */
  readonly device?: string
  /** The user id of a QEMU that has no CAP_NET_ADMIN of its own, so that it may open the device. */
  readonly owner?: number
}

/** The kernel's limit for a device's name, without the closing zero (IFNAMSIZ). */
const deviceNameMax = 15

/** The alias of a device that an agent has made, by which the next one knows it: it may be removed. */
const ownAlias = 'tailgate'

/**
 * A tap device on a bridge of Linux, behind a gate. Needs `nft`, `ip`, CAP_NET_ADMIN, and
 * CAP_NET_RAW to announce.
 *
 * The device outlives the process that opens it (QEMU: `ifname=…,script=no,downscript=no`), and is down
 * while the gate was shut by order: taking it down waits for frames on their way, empties its queue, and
 * lets the bridge forget that the guest was here. A gate that has expired leaves it up. The device of a
 * machine that somebody else started is only ever adopted, never made anew or removed.
 */
export class TapNetwork extends GatedNetwork {
  readonly #options: TapNetworkOptions
  #up = false

  /** Throws E_ENGINE for addresses that are none. */
  constructor(options: TapNetworkOptions) {
    super(options, { device: options.device ?? deviceNameOf(options.guest) })
    this.#options = options
  }

  prepare(): Promise<void> {
    this.forget()
    return this.gate.inTurn(async () => {
      await this.bridge.check()
      if (await this.#ownerOfDevice() === 'others') {
        throw new TailgateError('E_ENGINE', `${this.device} is the device of another program's machine: `
          + 'name another one, or shut that machine down and remove the device')
      }
      await this.gate.lay()
      await this.#removeDevice()
      await this.#makeDevice()
    })
  }

  adopt(): Promise<void> {
    this.forget()
    return this.gate.inTurn(async () => {
      await this.bridge.check()
      await this.#checkDevice()
      await this.gate.lay()
      await this.setDown()
      await this.#joinBridge()
    })
  }

  close(): Promise<void> {
    this.forget()
    return this.gate.inTurn(async () => {
      try {
        // Behind a gate may be the guest of a process before this one: it must not get past it by its end.
        const isGuarded = await this.#ownerOfDevice() === 'others' && await this.gate.isLaid()
        if (isGuarded) await this.#leaveBridge()
        else await this.#removeDevice()
        await this.gate.remove()
      } finally {
        this.gate.end()
      }
    })
  }

  protected get isDown(): boolean { return !this.#up }

  async #removeDevice(): Promise<void> {
    this.#up = false
    if (await this.#ownerOfDevice() !== 'us') return
    await changeDevice(this.device, 'removed', ['link', 'delete', 'dev', this.device])
  }

  /** Whose it is, by its mark; undefined if there is none. Rejects with E_ENGINE if it is no tap at all. */
  async #ownerOfDevice(): Promise<'us' | 'others' | undefined> {
    const info = await deviceNamed(this.device)
    if (info === undefined) return undefined
    if (info.linkinfo?.info_kind !== 'tun') {
      throw new TailgateError('E_ENGINE', `${this.device} is there and is no tap device: rename it`)
    }
    return info.ifalias === ownAlias ? 'us' : 'others'
  }

  async #makeDevice(): Promise<void> {
    const { device } = this
    const { owner } = this.#options
    const user = owner === undefined ? [] : ['user', String(owner)]
    await changeDevice(device, 'made', ['tuntap', 'add', 'dev', device, 'mode', 'tap', ...user])
    await changeDevice(device, 'marked', ['link', 'set', 'dev', device, 'alias', ownAlias])
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
    await changeDevice(this.device, 'set up', [
      'link', 'set', 'dev', this.device, 'address', address, 'addrgenmode', 'none', 'master', bridge
    ])
  }

  /** Nobody reaches what is behind it without the gate. Its owner may be removing it meanwhile. */
  async #leaveBridge(): Promise<void> {
    this.#up = false
    await setWhereThere(this.device, 'taken off the bridge', ['nomaster'])
  }

  protected async setUp(): Promise<void> {
    await changeDevice(this.device, 'set up', ['link', 'set', 'dev', this.device, 'up'])
    this.#up = true
  }

  protected async setDown(): Promise<void> {
    await changeDevice(this.device, 'taken down', ['link', 'set', 'dev', this.device, 'down'])
    this.#up = false
  }
}

/** A name that the kernel takes, always the same: the guest's own where it fits, else a hash of it. */
export function deviceNameOf(guest: string): string {
  const plain = `tg-${guest}`
  if (plain.length <= deviceNameMax && /^[\w.-]+$/.test(plain)) return plain
  return `tg-${crc32(guest).toString(16).padStart(8, '0')}`
}
