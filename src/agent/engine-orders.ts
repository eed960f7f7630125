import { messageOf } from '../base/errors.ts'
import { rethrowInvariant } from '../base/invariant.ts'
import type { GuestOutcome, Outcome } from '../core/agent/port.ts'
import type { Engine } from '../engine/engine.ts'

/**
 * What the core orders of the engine, one order after another: an engine that is starting a guest is not
 * told to stop it before it has, or has failed to. Each rejects with a broken invariant, and nothing else.
 */
export class EngineOrders {
  readonly #engine: Engine
  #turn: Promise<unknown> = Promise.resolve()

  constructor(engine: Engine) {
    this.#engine = engine
  }

  start(): Promise<GuestOutcome> {
    return this.#place(() => this.#engine.start())
  }

  /** `image` is called when it is this order's turn. */
  restore(image: () => AsyncIterable<Uint8Array>): Promise<GuestOutcome> {
    return this.#place(() => this.#engine.restore(image()))
  }

  /** `image` is called when it is this order's turn. Nothing is done by an engine that absorbs none. */
  absorb(image: () => AsyncIterable<Uint8Array>): Promise<Outcome> {
    return this.#inTurn(async () => { await this.#engine.absorb?.(image()) })
  }

  /** Nothing is done by an engine that has nothing to prepare. */
  standBy(): Promise<Outcome> {
    return this.#inTurn(async () => { await this.#engine.standBy?.() })
  }

  openNetwork(): Promise<Outcome> {
    return this.#inTurn(() => this.#engine.openNetwork())
  }

  attached(): Promise<Outcome> {
    return this.#inTurn(() => this.#engine.attached())
  }

  /** A guest that cannot be ended must not be taken for gone: that is a failure of this host. */
  stop(): Promise<Outcome> {
    return this.#inTurn(() => this.#engine.stop())
  }

  /** Nothing is done by an engine that holds no guest which was there before. */
  release(): Promise<Outcome> {
    return this.#inTurn(async () => { await this.#engine.release?.() })
  }

  async #place(work: () => Promise<void>): Promise<GuestOutcome> {
    const outcome = await this.#inTurn(work)
    return outcome.ok ? { ok: true, endpoints: this.#engine.endpoints } : outcome
  }

  #inTurn(work: () => Promise<void>): Promise<Outcome> {
    const done = this.#turn.then(work).then(
      (): Outcome => ({ ok: true }),
      (error: unknown): Outcome => {
        rethrowInvariant(error)
        return { ok: false, reason: messageOf(error) }
      })
    this.#turn = done.catch(() => undefined)
    return done
  }
}
