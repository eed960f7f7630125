import { TailgateError } from '../base/errors.ts'
import { GatedNetwork, type NetworkPlace } from './gated-network.ts'
import { devicesNamed, setWhereThere, type DeviceInfo } from './network-device.ts'

/** Xen's script puts the device on the bridge. */
export interface VifNetworkOptions extends NetworkPlace {
  /** The name that Xen gives to its device: `vifname` of the domain's configuration. */
  readonly device: string
}

/** What Xen adds to `vifname` for the card that it emulates for an HVM guest, which is on the bridge too. */
const emulated = '-emu'
/** With that, a name is as long as the kernel takes it (IFNAMSIZ, without the closing zero). */
const deviceNameMax = 15 - emulated.length

/** What Xen calls the devices of domains that have no `vifname`: `vif4.0`, `vif4.0-emu`. */
const unnamed = 'vif'

/**
 * A device of Xen on a bridge of Linux, behind a gate. Needs `nft`, `ip`, CAP_NET_ADMIN, and
 * CAP_NET_RAW to announce.
 *
 * The device is Xen's: it comes with a domain, named, on the bridge and up, and goes with it, at any moment.
 * So nothing but the gate keeps a standby off the wire, and it is laid before, by the device's name. It also
 * holds the guest's emulated card, and a device of Xen that speaks with the guest's address and has not got
 * its name. A device that is there is down while the gate was shut by order.
 *
 * ```
 *  domain ── vif ── gate ── bridge        the gate is there before the vif is, and stays while the vif is
 * ```
 */
export class VifNetwork extends GatedNetwork {
  readonly #devices: readonly string[]
  /** Known to be down, or ordered to be: who opens the gate sets it up. */
  #isDown = false

  /** Throws E_ENGINE for addresses that are none, and a device's name that is too long. */
  constructor(options: VifNetworkOptions) {
    const { guest, device } = options
    if (device.length > deviceNameMax) {
      throw new TailgateError('E_ENGINE', `${device} is too long a name for the device of ${guest}, to which `
        + `Xen adds ${emulated}: choose a vifname of ${deviceNameMax} characters at most`)
    }
    const also = [`${device}${emulated}`]
    super(options, { device, also, strays: unnamed })
    this.#devices = [device, ...also]
  }

  /**
   * Lays the gate, shut, whatever was there. A device that is there is not touched: a domain that runs stays
   * joined, and its frames stop here until the network is opened. Rejects with E_ENGINE, also where a move
   * could not be announced.
   */
  prepare(): Promise<void> {
    this.forget()
    return this.gate.inTurn(async () => {
      await this.bridge.check()
      await this.bridge.readyToAnnounce()
      await this.#lay()
    })
  }

  /** As {@link prepare}, for a domain that runs: its device must be there, on the bridge. */
  adopt(): Promise<void> {
    this.forget()
    return this.gate.inTurn(async () => {
      await this.bridge.check()
      await this.#checkDevice()
      await this.bridge.readyToAnnounce()
      await this.#lay()
    })
  }

  /** A gate before a device that is there is shut and stays. No domain may be about to come up. */
  close(): Promise<void> {
    this.forget()
    return this.gate.inTurn(async () => {
      try {
        if ((await this.#present()).length === 0) await this.gate.remove()
        else if (await this.gate.isLaid()) await this.gate.shutNow()
      } finally {
        this.gate.end()
      }
    })
  }

  protected get isDown(): boolean { return this.#isDown }

  async #lay(): Promise<void> {
    await this.gate.lay()
    // One that comes later is set up by Xen's script; one that is down was left so by a process before.
    this.#isDown = (await this.#present()).some(({ flags }) => !flags.includes('UP'))
  }

  /** What is there of the guest's devices now. */
  #present(): Promise<readonly DeviceInfo[]> {
    return devicesNamed(this.#devices)
  }

  /** Throws E_ENGINE unless the device of a domain that runs is there, on the bridge. */
  async #checkDevice(): Promise<void> {
    const { device } = this
    const bridge = this.bridge.name
    const [info] = await devicesNamed([device])
    if (info === undefined) {
      throw new TailgateError('E_ENGINE', `there is no device ${device} on this host: start the domain, with `
        + `vifname=${device} in the vif of its configuration`)
    }
    if (info.master !== bridge) {
      throw new TailgateError('E_ENGINE', `${device} is not on the bridge ${bridge}: start the domain with `
        + `bridge=${bridge} in the vif of its configuration, or name the bridge that it is on`)
    }
  }

  protected async setUp(): Promise<void> {
    await this.#setAll('set up', 'up')
    this.#isDown = false
  }

  protected async setDown(): Promise<void> {
    this.#isDown = true
    if (await this.#setAll('taken down', 'down') > 0) return
    throw new TailgateError('E_ENGINE', `there is no device ${this.device} to be taken down: only its gate `
      + 'can be shut')
  }

  /** How many of the devices were there. */
  async #setAll(done: string, state: 'up' | 'down'): Promise<number> {
    const there = await this.#present()
    for (const { ifname } of there) await setWhereThere(ifname, done, [state])
    return there.length
  }
}
