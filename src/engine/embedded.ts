import { TailgateError } from '../base/errors.ts'
import type { GuestCondition } from '../core/message.ts'
import { imagePieceBytes } from '../guest/channel.ts'
import type { Misbehaviour } from '../guest/guest.ts'
import { addressText } from '../net/address.ts'
import type { Engine } from './engine.ts'
import { asEngineError } from './engine-error.ts'
import { GuestHandle } from './guest-handle.ts'

export type { Misbehaviour } from '../guest/guest.ts'

export interface EmbeddedEngineOptions {
  /** The address at which the guest listens on this host. */
  readonly host: string
  /** A port for each service; 0 lets the kernel choose. */
  readonly ports: readonly number[]
  /** The address told to the gateway; `host` if it is not given. */
  readonly advertise?: string
  /** How long the guest may take to stand still, and how long its image may falter, in milliseconds. */
  readonly silenceMs?: number
  /** How long it may take to do what it is ordered, as to start, in milliseconds. */
  readonly answerMs?: number
  /** Faults from the beginning, for tests. */
  readonly misbehave?: Misbehaviour
}

const silenceMsDefault = 10_000
/** An image is unpacked before the guest answers, and its machine may be busy. */
const answerMsDefault = 60_000

const notPlaced = 'the embedded guest could not be put in place'

/** The engine of the embedded guest: one Node process that can be checkpointed without a hypervisor. */
export class EmbeddedEngine implements Engine {
  readonly name = 'embedded'
  readonly canRestore = true
  onFailure: ((reason: string) => void) | undefined
  onPaused: ((ms: number) => void) | undefined
  #options: EmbeddedEngineOptions
  #guest: GuestHandle | undefined
  /** A process without a guest, for the next one that is put in place. */
  #ready: GuestHandle | undefined
  #condition: GuestCondition = 'absent'
  #ports: readonly number[] = []
  /** By process.hrtime, in nanoseconds; 0 while no lease is in force. */
  #leaseDeadline = 0n
  #checkpointing = false

  constructor(options: EmbeddedEngineOptions) {
    this.#options = options
  }

  get condition(): GuestCondition {
    return this.#condition
  }

  get endpoints(): readonly string[] {
    return this.#ports.map((port) => addressText(this.#options.advertise ?? this.#options.host, port))
  }

  /** The guest's process, for whoever wants to see it die. */
  get pid(): number | undefined {
    return this.#guest?.pid
  }

  /** The process that waits for the next guest. */
  get readyPid(): number | undefined {
    return this.#ready?.pid
  }

  async start(): Promise<void> {
    const guest = this.#spawn()
    try {
      const { ports } = await guest.ask({ type: 'start', listen: this.#options }, 'started')
      this.#there(ports)
    } catch (error) {
      await this.#discard(guest)
      throw asEngineError(error, notPlaced)
    }
  }

  async *checkpoint(standing: () => Promise<void>): AsyncGenerator<Uint8Array, void> {
    const guest = this.#running()
    if (this.#checkpointing) throw new TailgateError('E_ENGINE', 'another checkpoint is being taken')
    this.#checkpointing = true
    try {
      await guest.image.ready(this.#silenceMs)
      const since = performance.now()
      await this.#stand(guest)
      guest.image.begin()
      let keep = false
      try {
        await standing()
        keep = true
      } finally {
        guest.verdict(keep, this.#leaseDeadline)
        this.onPaused?.(performance.now() - since)
        // A refused image is dropped by the guest without being told once more.
        if (!keep) guest.image.drop()
      }
      for (;;) {
        const piece = await guest.image.next(this.#silenceMs)
        if (piece === undefined) return
        yield piece
      }
    } finally {
      if (guest.image.drop()) guest.order({ type: 'drop-image' })
      this.#checkpointing = false
    }
  }

  async restore(image: AsyncIterable<Uint8Array>): Promise<void> {
    const guest = this.#spawn()
    try {
      for await (const piece of image) {
        for (let at = 0; at < piece.length; at += imagePieceBytes) {
          guest.order({ type: 'image', bytes: piece.subarray(at, at + imagePieceBytes) })
        }
        await guest.drained()
      }
      const { ports } = await guest.ask({ type: 'restore', listen: this.#options }, 'restored')
      this.#there(ports)
    } catch (error) {
      await this.#discard(guest)
      throw asEngineError(error, notPlaced)
    }
  }

  async openNetwork(): Promise<void> {
    await this.#running().ask({ type: 'open' }, 'opened')
  }

  async attached(): Promise<void> {
    await this.#running().ask({ type: 'attached' }, 'closed-unattached')
  }

  renewLease(remainingMs: number): void {
    this.#leaseDeadline = process.hrtime.bigint() + BigInt(Math.round(remainingMs * 1e6))
    this.#guest?.order({ type: 'lease', deadline: this.#leaseDeadline.toString() })
  }

  async stop(): Promise<void> {
    const guest = this.#guest
    const ready = this.#ready
    this.#guest = this.#ready = undefined
    this.#condition = 'absent'
    this.#ports = []
    await Promise.all([guest?.kill(), ready?.kill()])
  }

  /** Has a process wait, without a guest: to start one takes most of the time that a small image does. */
  standBy(): Promise<void> {
    if (this.#guest === undefined) this.#ready ??= this.#launch()
    return Promise.resolve()
  }

  /** Orders faults, for tests; what is not named stays as it was. */
  misbehave(how: Misbehaviour): void {
    this.#guest?.order({ type: 'misbehave', how })
  }

  get #silenceMs(): number {
    return this.#options.silenceMs ?? silenceMsDefault
  }

  #spawn(): GuestHandle {
    if (this.#guest !== undefined) {
      throw new TailgateError('E_ENGINE', 'the embedded guest is there already; stop it first')
    }
    const guest = this.#ready ?? this.#launch()
    this.#ready = undefined
    this.#guest = guest
    this.#leaseDeadline = 0n
    const { misbehave } = this.#options
    if (misbehave !== undefined) guest.order({ type: 'misbehave', how: misbehave })
    return guest
  }

  #launch(): GuestHandle {
    const answerMs = this.#options.answerMs ?? answerMsDefault
    const guest = new GuestHandle((reason) => this.#exited(guest, reason), answerMs)
    return guest
  }

  #there(ports: readonly number[]): void {
    this.#ports = ports
    this.#condition = 'running'
  }

  async #discard(guest: GuestHandle): Promise<void> {
    this.#guest = undefined
    this.#condition = 'absent'
    await guest.kill()
  }

  #running(): GuestHandle {
    const guest = this.#guest
    if (guest === undefined || this.#condition !== 'running') {
      throw new TailgateError('E_ENGINE', `the embedded guest is ${this.#condition}`)
    }
    return guest
  }

  #exited(guest: GuestHandle, reason: string): void {
    if (this.#ready === guest) this.#ready = undefined
    if (this.#guest !== guest || this.#condition !== 'running') return
    this.#condition = 'failed'
    this.onFailure?.(reason)
  }

  async #stand(guest: GuestHandle): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const settle = (run: () => void): void => {
        clearTimeout(timer)
        guest.onStanding = undefined
        guest.onGone = undefined
        run()
      }
      const timer = setTimeout(() => settle(() => reject(new TailgateError(
        'E_ENGINE', `the embedded guest did not stand still within ${this.#silenceMs} ms`
      ))), this.#silenceMs)
      guest.onStanding = () => settle(resolve)
      guest.onGone = (error) => settle(() => reject(error))
      guest.order({ type: 'stand' })
    })
  }
}
