import { announcementsOf } from './announcement.ts'
import { Bridge } from './bridge.ts'
import type { GuestNetwork } from './guest-network.ts'
import { LeasedGate } from './leased-gate.ts'
import type { GatePlace } from './path-gate.ts'

/** Where a guest's network is, whatever its device. */
export interface NetworkPlace {
  /** The guest's name. */
  readonly guest: string
  /** The bridge that joins guests and gateway on this host; it must be there. */
  readonly bridge: string
  /** The guest's MAC address, the same on every host. */
  readonly mac: string
  /** The guest's addresses, to be announced; without one only switches are told. */
  readonly addresses: readonly string[]
}

/** A device on a bridge of Linux, behind a {@link LeasedGate}. Whence the device comes is each kind's own. */
export abstract class GatedNetwork implements GuestNetwork {
  readonly device: string
  onFailure: ((reason: string) => void) | undefined
  protected readonly bridge: Bridge
  protected readonly gate: LeasedGate

  /** Throws E_ENGINE for addresses that are none. */
  constructor({ bridge, mac, addresses }: NetworkPlace, gate: Omit<GatePlace, 'mac' | 'table'>) {
    const { device } = gate
    this.device = device
    this.bridge = new Bridge(bridge, device, announcementsOf(mac, addresses))
    this.gate = new LeasedGate({ ...gate, mac }, {
      isDown: () => this.isDown,
      setUp: () => this.setUp(),
      setDown: () => this.setDown()
    }, {
      onShut: () => { this.bridge.silence() },
      onFailure: (reason) => this.onFailure?.(reason)
    })
  }

  abstract prepare(): Promise<void>
  abstract adopt(): Promise<void>
  abstract close(): Promise<void>

  layGate(): Promise<void> {
    return this.gate.inTurn(() => this.gate.lay())
  }

  open(): Promise<void> {
    return this.gate.open()
  }

  shut(): Promise<void> {
    return this.gate.shut()
  }

  renewLease(remainingMs: number): void {
    this.gate.renewLease(remainingMs)
  }

  announce(): Promise<void> {
    return this.bridge.announce(() => this.gate.isWanted)
  }

  /** Whether the device may be down, so that opening begins with {@link setUp}. */
  protected abstract get isDown(): boolean
  /** Rejects with E_ENGINE. */
  protected abstract setUp(): Promise<void>
  /** Waits for frames on their way. Rejects with E_ENGINE, also if there is no device. */
  protected abstract setDown(): Promise<void>

  /** As if nothing had ever been ordered. */
  protected forget(): void {
    this.gate.forget()
    this.bridge.silence()
  }
}
