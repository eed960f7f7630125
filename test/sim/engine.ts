import type { CheckpointEvents, GuestOutcome, Outcome } from '../../src/core/agent/port.ts'
import type { Millis } from '../../src/core/ids.ts'
import { Guest, type Snapshot } from './guest.ts'
import type { Host } from './host.ts'
import type { Process } from './process.ts'
import type { World } from './world.ts'

interface Checkpoint {
  readonly checkpoint: number
  readonly events: CheckpointEvents
  snapshot: Snapshot | undefined
  over: boolean
  ran: boolean
}

/** The engine on one host, for one life of its agent. The guest outlives it. */
export class Engine {
  readonly #world: World
  readonly #host: Host
  readonly #process: Process
  #checkpoint: Checkpoint | undefined
  /** Grows with each stop: what was under way for a guest before it does nothing. */
  #order = 0

  constructor(world: World, host: Host, process: Process) {
    this.#world = world
    this.#host = host
    this.#process = process
  }

  get endpoints(): string[] {
    return this.#world.scenario.services.map((_service, i) => `${this.#host.name}:${i}`)
  }

  #now(): Millis { return this.#host.clock.now() }

  #later(micros: number, run: () => void): void {
    const order = this.#order
    this.#process.after(micros, () => { if (order === this.#order) run() })
  }

  start(done: (now: Millis, outcome: GuestOutcome) => void): void {
    this.#later(this.#world.engineDelay(), () => {
      const guest = new Guest(this.#world, this.#host)
      this.#host.place(guest)
      this.#world.checks.guestStarted(guest)
      this.openPath(guest)
      done(this.#now(), { ok: true, endpoints: this.endpoints })
    })
  }

  stop(done: (now: Millis) => void): void {
    this.#order++
    const { guest } = this.#host
    const checkpoint = this.#checkpoint
    if (checkpoint !== undefined && !checkpoint.over) this.#fail(checkpoint, 'the guest was ended')
    this.#process.after(this.#world.engineDelay(), () => {
      if (this.#host.guest === guest) this.#host.removeGuest()
      done(this.#now())
    })
  }

  restore(checkpoint: number, done: (now: Millis, outcome: GuestOutcome) => void): void {
    const stored = this.#host.images.bytesOf(checkpoint)
    this.#later(this.#world.engineDelay(), () => {
      const image = this.#world.images.get(checkpoint)
      this.#world.checks.restoring(this.#host, checkpoint, stored)
      if (image === undefined || stored === undefined
        || this.#world.random.chance(this.#world.scenario.restoreFails)) {
        return done(this.#now(), { ok: false, reason: 'the engine could not load the image' })
      }
      const guest = new Guest(this.#world, this.#host, { snapshot: image.snapshot, checkpoint })
      this.#host.place(guest)
      done(this.#now(), { ok: true, endpoints: this.endpoints })
    })
  }

  openNetwork(done: (now: Millis, outcome: Outcome) => void): void {
    this.#later(this.#world.engineDelay(), () => {
      const { guest } = this.#host
      if (guest?.process.alive !== true) return done(this.#now(), { ok: false, reason: 'the guest is gone' })
      this.openPath(guest)
      guest.start()
      done(this.#now(), { ok: true })
    })
  }

  /** From now on the guest can be reached. */
  openPath(guest: Guest): void {
    guest.networkOpen = true
    this.#world.checks.pathOpen(guest)
  }

  attached(): void {
    this.#host.guest?.closeUnattached()
  }

  renewLease(remainingMs: number): void {
    const { guest } = this.#host
    if (guest === undefined) return
    guest.leaseEnd = this.#world.clock.now + this.#host.clock.micros(remainingMs)
    // One of no length shuts it.
    if (guest.reachable) this.#world.checks.pathOpen(guest)
  }

  // ---- checkpoints

  begin(id: number, events: CheckpointEvents): void {
    const checkpoint: Checkpoint = { checkpoint: id, events, snapshot: undefined, over: false, ran: false }
    this.#checkpoint = checkpoint
    if (this.#world.random.chance(this.#world.scenario.engineFails)) return this.#fail(checkpoint,
      'the engine failed')
    this.#later(this.#world.engineDelay(), () => {
      const { guest } = this.#host
      if (checkpoint.over || this.#checkpoint !== checkpoint) return
      if (guest?.process.alive !== true) return this.#fail(checkpoint, 'the guest is gone')
      this.stand(checkpoint, guest)
    })
  }

  /** The guest stands still; what it is at this instant is the image. */
  stand(checkpoint: Checkpoint, guest: Guest): void {
    guest.process.pause()
    checkpoint.snapshot = guest.snapshot()
    this.#world.checks.standing(guest)
    checkpoint.events.standing(this.#now())
  }

  runOn(id: number): void {
    const checkpoint = this.#checkpoint
    const { guest } = this.#host
    if (checkpoint?.checkpoint !== id || checkpoint.over || checkpoint.snapshot === undefined) return
    checkpoint.ran = true
    const { random, scenario } = this.#world
    const bytes = random.bytes(random.range(1, scenario.imageBytes))
    this.#world.images.set(id, { bytes, snapshot: checkpoint.snapshot, guest: guest?.id ?? 0 })
    if (guest?.process.alive === true) this.#process.after(0, () => guest.process.resume())
    const pieces = random.range(1, 5)
    const stopsAt = random.chance(scenario.imageStalls) ? random.below(pieces + 1) : pieces + 1
    this.#ship(checkpoint, bytes, 0, Math.ceil(bytes.length / pieces), stopsAt)
  }

  #ship(checkpoint: Checkpoint, bytes: Uint8Array, at: number, size: number, left: number): void {
    if (left === 0) return
    this.#later(this.#world.imageDelay(), () => {
      if (checkpoint.over || this.#checkpoint !== checkpoint) return
      if (this.#world.random.chance(this.#world.scenario.engineFails / 4)) {
        return this.#fail(checkpoint, 'the engine failed while it wrote the image')
      }
      if (at >= bytes.length) {
        checkpoint.over = true
        this.#checkpoint = undefined
        return checkpoint.events.ended(this.#now())
      }
      checkpoint.events.piece(this.#now(), bytes.slice(at, at + size))
      this.#ship(checkpoint, bytes, at + size, size, left - 1)
    })
  }

  abort(id: number): void {
    const checkpoint = this.#checkpoint
    if (checkpoint?.checkpoint !== id || checkpoint.over) return
    this.#fail(checkpoint, 'it was given up')
  }

  #fail(checkpoint: Checkpoint, reason: string): void {
    checkpoint.over = true
    this.#process.after(this.#world.engineDelay(), () => {
      if (this.#checkpoint === checkpoint) this.#checkpoint = undefined
      const { guest } = this.#host
      if (guest?.process.alive === true) guest.process.resume()
      checkpoint.events.failed(this.#now(), reason)
    })
  }

  /** The guest died by itself: a checkpoint of it fails, unless its image is complete in the engine. */
  guestDied(): void {
    const checkpoint = this.#checkpoint
    if (checkpoint === undefined || checkpoint.over) return
    if (checkpoint.ran && this.#world.random.chance(0.5)) return
    this.#fail(checkpoint, 'the guest died')
  }
}
