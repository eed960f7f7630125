import { messageOf } from '../base/errors.ts'
import { PacketFilter } from './packet-filter.ts'
import { PathGate, type GatePlace, type Grant } from './path-gate.ts'

/** A lease is renewed when this part of it has gone, so that heartbeats in a row cost nothing. */
const renewAfterPart = 1 / 8
/** A grant that came too late is tried again so often before the next heartbeat is waited for. */
const grantsMax = 3

/** The device behind a gate: a device that is down is the second way of shutting. */
export interface GatedDevice {
  /** Whether it may be down, so that opening begins with {@link setUp}. */
  isDown(): boolean
  /** Rejects with E_ENGINE. */
  setUp(): Promise<void>
  /** Waits for frames on their way. Rejects with E_ENGINE, also if there is no device. */
  setDown(): Promise<void>
}

/** What the owner of a gate is told. */
export interface GateEvents {
  /** It is being shut, by order or for want of a lease. */
  onShut(): void
  /** It could not be kept as ordered, and was shut as far as it could be. */
  onFailure(reason: string): void
}

/**
 * A {@link PathGate} that is opened and shut by order, and kept open only for as long as a lease lasts, where
 * one was ever given. Orders run one after another, also those of the owner that {@link inTurn} takes.
 *
 * ```
 *  open, shut ────────► wanted ─┐
 *                               ├──► device up, gate open (for good, or to the lease's end) ──► gate shut,
 *  renewLease ─► end of lease ──┘                                                              device down
 * ```
 */
export class LeasedGate {
  readonly #device: GatedDevice
  readonly #events: GateEvents
  readonly #filter = new PacketFilter()
  readonly #gate: PathGate
  /** Opened by its owner; it may be shut all the same, because a lease has run out. */
  #wanted = false
  /** The end of the lease by performance.now(); undefined while none was ever given. */
  #leaseEnd: number | undefined
  /** Until when the gate was granted: a lease's end, or for good (Infinity), or not at all. */
  #granted: number | undefined
  #renewing = false
  #turn: Promise<unknown> = Promise.resolve()

  /** The gate's table is named for its device. */
  constructor(place: Omit<GatePlace, 'table'>, device: GatedDevice, events: GateEvents) {
    this.#device = device
    this.#events = events
    this.#gate = new PathGate(this.#filter, { ...place, table: `tailgate-${place.device}` })
  }

  /** Whether it was opened, and not shut since. */
  get isWanted(): boolean {
    return this.#wanted
  }

  /** Runs what the owner does with device and gate when all that was ordered before is done. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work)
    this.#turn = done.catch(() => undefined)
    return done
  }

  /** As if nothing had ever been ordered; the gate itself stays as it is. */
  forget(): void {
    this.#wanted = false
    this.#leaseEnd = undefined
  }

  /** In turn: makes the gate, shut, in the place of one that is there. Rejects with E_ENGINE. */
  async lay(): Promise<void> {
    this.#granted = undefined
    await this.#gate.lay()
  }

  /** In turn: whether a gate is there, laid by this process or one before. Rejects with E_ENGINE. */
  isLaid(): Promise<boolean> {
    return this.#gate.isLaid()
  }

  /** In turn: takes the gate away; afterwards nothing holds the device's frames. Rejects with E_ENGINE. */
  async remove(): Promise<void> {
    this.#granted = undefined
    await this.#gate.remove()
  }

  /** The packet filter is no longer asked; another order asks it anew. */
  end(): void {
    this.#filter.close()
  }

  /** Opens for good where no lease was ever given, else for what remains of it. Rejects with E_ENGINE. */
  open(): Promise<void> {
    this.#wanted = true
    return this.inTurn(async () => {
      try {
        await this.#admit()
      } catch (error) {
        await this.#close(error)
        throw error
      }
    })
  }

  /** Resolves when no frame passes any more. Rejects with E_ENGINE. */
  shut(): Promise<void> {
    this.#wanted = false
    return this.inTurn(() => this.shutNow())
  }

  /** An open gate shuts by itself after so many milliseconds, unless this is called again; 0: now. */
  renewLease(remainingMs: number): void {
    this.#leaseEnd = performance.now() + remainingMs
    if (!this.#wanted || this.#renewing || (remainingMs > 0 && !this.#isDue(remainingMs))) return
    this.#renewing = true
    // What is ordered until its turn comes is done with it.
    void this.inTurn(async () => {
      this.#renewing = false
      try {
        await this.#admit()
      } catch (error) {
        this.#events.onFailure(await this.#close(error))
      }
    })
  }

  /**
   * In turn: shuts both ways; one is enough, and the second one waits for frames on their way. Rejects with
   * E_ENGINE if neither could be.
   */
  async shutNow(): Promise<void> {
    this.#events.onShut()
    this.#granted = undefined
    const gate = await settled(this.#gate.shut())
    const down = await settled(this.#device.setDown())
    if (gate !== undefined && down !== undefined) throw gate
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
      await this.shutNow()
      return
    }
    if (this.#device.isDown()) await this.#device.setUp()
    if (this.#leaseEnd === undefined) {
      await this.#gate.open()
      this.#granted = Infinity
      // A lease may have been given, and the gate shut, while the kernel was asked.
      if (!this.#wanted) await this.shutNow()
      return
    }
    for (let tries = 0, grant: Grant = 'late'; grant === 'late' && tries < grantsMax; tries++) {
      const end = this.#leaseEnd
      grant = await this.#gate.lease(end, () => this.#wanted && (this.#leaseEnd ?? 0) >= end)
      if (grant === 'granted') this.#granted = end
    }
    // What was granted before may last longer than it may now: for good, or for an older lease.
    if ((this.#granted ?? 0) > this.#leaseEnd) await this.shutNow()
  }

  /** After a failure: what can be shut is, and the first reason is what counts. */
  async #close(reason: unknown): Promise<string> {
    this.#wanted = false
    const still = await settled(this.shutNow())
    const what = messageOf(reason)
    return still === undefined ? what : `${what}; and it is not shut: ${still.message}`
  }
}

/** The error of what fails; undefined of what does not. */
function settled(work: Promise<unknown>): Promise<Error | undefined> {
  return work.then(() => undefined, (error: unknown) =>
    error instanceof Error ? error : new Error(String(error)))
}
