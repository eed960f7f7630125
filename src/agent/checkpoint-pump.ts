import { TailgateError, messageOf } from '../base/errors.ts'
import { rethrowInvariant } from '../base/invariant.ts'
import type { CheckpointId, Millis } from '../core/ids.ts'
import type { CheckpointEvents, CheckpointRequest } from '../core/agent/port.ts'
import type { Engine } from '../engine/engine.ts'
import { Spool } from './spool.ts'

/** So much waits of a whole image while the guest runs and the engine may well be held. In bytes. */
const runningBytesMax = 16 << 20

/** What the pump needs of its surroundings. */
export interface PumpOptions {
  readonly engine: Engine
  readonly spoolBytes: number
  now(): Millis
  /** Resolves when the link to the backup takes more; rejects when it is gone. */
  drained(): Promise<void>
  /** Runs what tells the core something; afterwards its deadlines may have changed. */
  tell(call: () => void): void
}

/**
 * One checkpoint between the engine and the core:
 *
 *   engine ── stands still ──► core ── runOn ──► engine ── pieces ──► spool ──► (link drained) core ──► link
 *
 * The spool takes what the engine yields while the link is slow, so that the engine can let go of the guest's
 * memory; when it is full the engine waits. That does no harm to a guest that runs while all of it is copied,
 * so the spool is small until the guest stands. Pieces from before may still be there then: while it stands
 * for its mark they stay, for only the mark passes.
 */
export class CheckpointPump {
  readonly #options: PumpOptions
  readonly #events: CheckpointEvents
  readonly #spool: Spool
  readonly #request: CheckpointRequest
  readonly checkpoint: CheckpointId
  #verdict: ((runOn: boolean) => void) | undefined
  /** While the guest stands still for its mark. */
  #stands: Promise<boolean> | undefined
  #aborted = false

  constructor(
    options: PumpOptions, checkpoint: CheckpointId, request: CheckpointRequest, events: CheckpointEvents
  ) {
    this.#options = options
    this.#request = request
    this.#events = events
    // An image that builds on others may hold what was written while the guest stood without a mark.
    const most = request.builds ? options.spoolBytes : runningBytesMax
    this.#spool = new Spool(Math.min(most, options.spoolBytes))
    this.checkpoint = checkpoint
  }

  /** Runs to the end. Resolves when the engine has let go; rejects at once with a broken invariant. */
  async run(): Promise<void> {
    const outcome = await this.#pass()
    this.#tell(now => {
      if (outcome === undefined) this.#events.ended(now)
      else this.#events.failed(now, outcome)
    })
  }

  runOn(): void {
    this.#verdict?.(true)
  }

  abort(): void {
    this.#aborted = true
    this.#verdict?.(false)
    this.#spool.drop()
  }

  /** Why it failed; undefined when every piece has been handed over. */
  async #pass(): Promise<string | undefined> {
    const [lost, failure] = await Promise.all([this.#empty(), this.#fill()])
    return this.#aborted ? 'it was given up' : failure ?? lost
  }

  /** Takes the image from the engine. Resolves with why it is not whole, if so. */
  async #fill(): Promise<string | undefined> {
    const failure = await this.#take()
    if (failure === undefined) this.#spool.end()
    else this.#spool.drop()
    return failure
  }

  async #take(): Promise<string | undefined> {
    const { engine } = this.#options
    engine.onSuspended = () => { this.#widen() }
    try {
      const pieces = engine.checkpoint(() => this.#standing(), this.#request)
      for await (const piece of pieces) {
        if (!await this.#spool.put(piece)) return 'the image is not wanted any more'
      }
      return undefined
    } catch (error) {
      rethrowInvariant(error)
      return messageOf(error)
    }
  }

  /** Hands pieces to the core at the pace of the link. Resolves with why it cannot go on, if so. */
  async #empty(): Promise<string | undefined> {
    try {
      for (;;) {
        const piece = await this.#spool.take()
        if (piece === undefined) return undefined
        await this.#options.drained()
        while (this.#stands !== undefined) await this.#stands
        if (this.#aborted) return undefined
        this.#tell(now => { this.#events.piece(now, piece) })
      }
    } catch (error) {
      this.#spool.drop()
      rethrowInvariant(error)
      return messageOf(error)
    }
  }

  /** Whatever the guest stands for, it does not stand for want of room. */
  #widen(): void {
    this.#spool.widen(this.#options.spoolBytes)
  }

  async #standing(): Promise<void> {
    this.#widen()
    if (!this.#aborted) {
      this.#stands = new Promise<boolean>(resolve => { this.#verdict = resolve })
      this.#tell(now => { this.#events.standing(now) })
      const runOn = await this.#stands
      this.#stands = undefined
      if (runOn) return
    }
    throw new TailgateError('E_ENGINE', 'the checkpoint was given up while the guest stood still')
  }

  #tell(call: (now: Millis) => void): void {
    const { now, tell } = this.#options
    tell(() => { call(now()) })
  }
}
