import type { StreamEvents, StreamSide } from '../../src/core/stream.ts'
import type { Process } from './process.ts'
import { join } from './protocol.ts'
import { noBytes } from './tcp.ts'
import type { World } from './world.ts'

/** One direction of a client's connection: bytes that wait, bytes on their way, bytes that were not read. */
class Pipe {
  readonly #world: World
  readonly #capacity: number
  readonly #arrived: () => void
  #waiting: Uint8Array[] = []
  #taken = 0
  #readable: Uint8Array[] = []
  #earliest = 0
  backlog = 0
  ending = false
  ended = false
  #endSent = false

  constructor(world: World, capacity: number, arrived: () => void) {
    this.#world = world
    this.#capacity = capacity
    this.#arrived = arrived
  }

  get readableBytes(): number {
    return this.#readable.reduce((sum, bytes) => sum + bytes.length, 0)
  }

  write(bytes: Uint8Array): void {
    this.#waiting.push(bytes)
    this.backlog += bytes.length
    this.#pump()
  }

  end(): void {
    this.ending = true
    this.#pump()
  }

  /** Reads up to `length` bytes, out of as many pieces as it takes: else ever smaller ones would go round. */
  take(length: number): Uint8Array {
    let taken: Uint8Array = noBytes
    while (taken.length < length) {
      const next = this.#readable[0]
      if (next === undefined) break
      const bytes = next.subarray(0, length - taken.length)
      if (bytes.length === next.length) this.#readable.shift()
      else this.#readable[0] = next.subarray(bytes.length)
      taken = join(taken, bytes)
    }
    this.#taken -= taken.length
    this.#pump()
    return taken
  }

  #pump(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const room = this.#capacity - this.#taken
      if (room <= 0) return
      const bytes = next.length <= room ? next : next.subarray(0, room)
      if (bytes === next) this.#waiting.shift()
      else this.#waiting[0] = next.subarray(room)
      this.#taken += bytes.length
      this.backlog -= bytes.length
      this.#carry(() => { this.#readable.push(bytes.slice()) })
    }
    if (!this.ending || this.#endSent) return
    this.#endSent = true
    this.#carry(() => { this.ended = true })
  }

  #carry(arrive: () => void): void {
    const { clock, random, scenario } = this.#world
    this.#earliest = Math.max(this.#earliest, clock.now + random.range(scenario.delayMin, scenario.delayMax))
    clock.after(this.#earliest - clock.now, () => {
      arrive()
      this.#arrived()
    })
  }
}

/** What the client's end is told. */
export interface ClientEnd {
  /** There is something to read, or the gateway ended its direction. */
  readable(): void
  reset(): void
}

/** A client's TCP connection, seen from the client and, as {@link StreamSide}, from the gateway. */
export class ClientStream implements StreamSide {
  readonly client: number
  readonly #world: World
  readonly #process: Process
  readonly #up: Pipe
  readonly #down: Pipe
  readonly #end: ClientEnd
  #events: StreamEvents | undefined
  #paused = true
  #reading = false
  #told: 'open' | 'ended' | 'reset' = 'open'
  #wasReset = false
  /** The gateway has let go of it. */
  #gone = false
  #clientGone = false
  #left = false
  #high = false

  constructor(world: World, client: number, gateway: Process, end: ClientEnd) {
    this.#world = world
    this.client = client
    this.#process = gateway
    this.#end = end
    this.#up = new Pipe(world, world.scenario.clientBuffer, () => this.#readSoon())
    this.#down = new Pipe(world, world.scenario.clientBuffer, () => {
      if (!this.#clientGone) end.readable()
    })
  }

  // ---- the client's end

  send(bytes: Uint8Array): void { this.#up.write(bytes) }
  get sendBacklog(): number { return this.#up.backlog }
  finish(): void { this.#up.end() }
  get readableBytes(): number { return this.#down.readableBytes }
  get downEnded(): boolean { return this.#down.ended && this.#down.readableBytes === 0 }

  read(length: number): Uint8Array {
    const bytes = this.#down.take(length)
    if (this.#high && this.backlog <= this.#world.scenario.lowWater) {
      this.#process.after(this.#world.readDelay(), () => {
        if (!this.#high || this.#gone || this.backlog > this.#world.scenario.lowWater) return
        this.#high = false
        this.#events?.drain()
      })
    }
    return bytes
  }

  /** The client resets the connection, or its machine dies. */
  drop(): void {
    this.#clientGone = true
    this.#wasReset = true
    this.#world.clock.after(this.#world.scenario.delayMax, () => this.#readSoon())
  }

  /** The client goes to another gateway: what this one does with it is of no interest any more. */
  leave(): void {
    this.#left = true
    this.drop()
  }

  // ---- the gateway's end

  /** The gateway took it. */
  accepted(events: StreamEvents): void {
    this.#events = events
    this.#readSoon()
  }

  write(bytes: Uint8Array): void {
    this.#usable('write')
    if (this.#left) return
    this.#world.checks.released(this.client, bytes)
    this.#down.write(bytes.slice())
    if (this.backlog > this.#world.scenario.highWater) this.#high = true
  }

  get backlog(): number { return this.#down.backlog }

  end(): void {
    this.#usable('end')
    if (!this.#left) this.#world.checks.releasedEnd(this.client)
    this.#down.end()
    if (this.#down.ending && this.#told === 'ended') this.#gone = true
  }

  reset(): void {
    this.#usable('reset')
    this.cut()
  }

  /** The gateway is gone, or let go: the client sees a reset. */
  cut(): void {
    this.#gone = true
    this.#world.clock.after(this.#world.random.range(0, this.#world.scenario.delayMax), () => {
      if (!this.#clientGone) this.#end.reset()
    })
  }

  abandon(): void {
    this.#gone = true
  }

  pause(): void { this.#paused = true }

  resume(): void {
    this.#paused = false
    this.#readSoon()
  }

  #usable(what: string): void {
    this.#world.checks.require(!this.#gone, 8, `${what} on client ${this.client}'s side, which is gone`)
  }

  #readSoon(): void {
    const some = this.#up.readableBytes > 0 || this.#up.ended && this.#told === 'open'
      || this.#wasReset && this.#told !== 'reset'
    // A reset is noticed although nothing is read; everything else waits.
    if (this.#reading || this.#gone || !some || this.#paused && !this.#wasReset) return
    this.#reading = true
    this.#process.after(this.#world.readDelay(), () => {
      this.#reading = false
      if (!this.#gone) this.#read()
      this.#readSoon()
    })
  }

  /** What a gateway reads that is not in charge any more is in nobody's log: GUARANTEES.md says so. */
  get #counts(): boolean {
    return this.#process === this.#world.gateway.process
  }

  #read(): void {
    const { random, checks } = this.#world
    if (this.#wasReset && (this.#left || this.#paused || this.#up.readableBytes === 0)) {
      if (this.#told === 'reset') return
      this.#told = 'reset'
      this.#gone = true
      this.#events?.reset()
      return
    }
    if (this.#paused) return
    const unread = this.#up.readableBytes
    if (unread > 0) {
      const bytes = this.#up.take(random.chance(0.7) ? unread : random.range(1, unread))
      const scratch = bytes.slice()
      if (this.#counts) checks.inputRead(this.client, scratch)
      this.#events?.data(scratch)
      scratch.fill(0xee)
    } else if (this.#up.ended && this.#told === 'open') {
      this.#told = 'ended'
      if (this.#counts) checks.inputEnded(this.client)
      this.#events?.end()
    }
  }
}
