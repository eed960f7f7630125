import type { CheckpointEvents, CheckpointRequest, GuestOutcome, Outcome } from '../../src/core/agent/port.ts'
import type { Millis } from '../../src/core/ids.ts'
import { Guest, type Snapshot } from './guest.ts'
import type { Host } from './host.ts'
import type { Process } from './process.ts'
import { join } from './protocol.ts'
import { Standby, type StreamPlace } from './standby.ts'
import { noBytes } from './tcp.ts'
import type { World } from './world.ts'

interface Checkpoint {
  readonly checkpoint: number
  readonly events: CheckpointEvents
  readonly place: StreamPlace
  /** What was copied while the guest ran. */
  live: Uint8Array
  snapshot: Snapshot | undefined
  over: boolean
  ran: boolean
}

/** The engine on one host, for one life of its agent. The guest outlives it. */
export class Engine {
  readonly #world: World
  readonly #host: Host
  readonly #process: Process
  readonly #standby: Standby
  #checkpoint: Checkpoint | undefined
  /** The checkpoint whose image was yielded last, as long as nothing ended its stream. */
  #last: Checkpoint | undefined
  /** Grows with each stop: what was under way for a guest before it does nothing. */
  #order = 0

  constructor(world: World, host: Host, process: Process) {
    this.#world = world
    this.#host = host
    this.#process = process
    this.#standby = new Standby(world, host, process)
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
    this.#last = undefined
    const { guest } = this.#host
    const checkpoint = this.#checkpoint
    if (checkpoint !== undefined && !checkpoint.over) this.#fail(checkpoint, 'the guest was ended')
    this.#process.after(this.#world.engineDelay(), () => {
      if (this.#host.guest === guest) this.#host.removeGuest()
      done(this.#now())
    })
  }

  restore(checkpoint: number, done: (now: Millis, outcome: GuestOutcome) => void): void {
    if (!this.#world.scenario.builds) return this.#load(checkpoint, true, done)
    const order = this.#order
    this.#standby.take(checkpoint, there => {
      if (order === this.#order) this.#load(checkpoint, there, done)
    })
  }

  #load(checkpoint: number, standsBy: boolean, done: (now: Millis, outcome: GuestOutcome) => void): void {
    const stored = this.#host.images.bytesOf(checkpoint)
    this.#later(this.#world.engineDelay(), () => {
      if (!standsBy) return done(this.#now(), { ok: false, reason: 'the standby is gone' })
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

  absorb(checkpoint: number, done: (outcome: Outcome) => void): void {
    this.#standby.absorb(checkpoint, done)
  }

  loseStandby(): void {
    this.#standby.lose('it ended by itself')
  }

  // ---- checkpoints

  begin(id: number, { builds }: CheckpointRequest, events: CheckpointEvents): void {
    const last = this.#last
    if (builds) this.#world.checks.buildsOn(this.#host, last?.checkpoint)
    const place = builds && last !== undefined
      ? { stream: last.place.stream, index: last.place.index + 1 }
      : { stream: this.#world.nextStream++, index: 0 }
    const checkpoint: Checkpoint = {
      checkpoint: id, events, place, live: noBytes, snapshot: undefined, over: false, ran: false
    }
    this.#checkpoint = checkpoint
    if (this.#world.random.chance(this.#world.scenario.engineFails)) return this.#fail(checkpoint,
      'the engine failed')
    this.#later(this.#world.engineDelay(), () => {
      const { guest } = this.#host
      if (checkpoint.over || this.#checkpoint !== checkpoint) return
      if (guest?.process.alive !== true) return this.#fail(checkpoint, 'the guest is gone')
      this.#copy(checkpoint, guest, this.#world.random.below(this.#world.scenario.livePieces + 1))
    })
  }

  /** So many pieces come while the guest runs; then it stands still. */
  #copy(checkpoint: Checkpoint, guest: Guest, left: number): void {
    if (left === 0) return this.stand(checkpoint, guest)
    this.#later(this.#world.imageDelay(), () => {
      const { random, scenario } = this.#world
      if (checkpoint.over || this.#checkpoint !== checkpoint) return
      const bytes = random.bytes(random.range(1, scenario.imageBytes))
      checkpoint.live = join(checkpoint.live, bytes)
      this.#world.count('live pieces')
      checkpoint.events.piece(this.#now(), bytes)
      this.#copy(checkpoint, guest, left - 1)
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
    const { live, place, snapshot } = checkpoint
    const bytes = join(live, random.bytes(random.range(1, scenario.imageBytes)))
    this.#world.images.set(id, { bytes, snapshot, guest: guest?.id ?? 0, place })
    if (guest?.process.alive === true) this.#process.after(0, () => guest.process.resume())
    const pieces = random.range(1, 5)
    const stopsAt = random.chance(scenario.imageStalls) ? random.below(pieces + 1) : pieces + 1
    this.#ship(checkpoint, bytes, live.length, Math.ceil((bytes.length - live.length) / pieces), stopsAt)
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
        this.#last = checkpoint
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
    this.#last = undefined
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
