import type { ConnectionId } from '../../src/core/ids.ts'
import type { StreamEvents, StreamSide } from '../../src/core/stream.ts'
import type { GatewayMachine } from './gateway-machine.ts'
import { noBytes, ReceiveHalf, SendHalf, type Segment } from './tcp.ts'
import type { World } from './world.ts'

export interface SocketPlaces {
  readonly input: number
  readonly inputEdge: number
  readonly resumesAt: number
}

/**
 * A guest-facing socket in the gateway's kernel. The kernel acknowledges what it has received before the
 * gateway has read it: what it holds then exists nowhere else, and must be drained before the guest is given
 * up.
 */
export class GuestSocket implements StreamSide {
  readonly port: number
  readonly connection: ConnectionId
  readonly client: number
  readonly service: number
  readonly #world: World
  readonly #machine: GatewayMachine
  readonly #events: StreamEvents
  readonly #send: SendHalf
  readonly #receive: ReceiveHalf
  #paused = true
  #reading = false
  #resending = false
  #wasReset = false
  #told: 'open' | 'ended' | 'reset' = 'open'
  #gone = false
  #high = false

  constructor(
    machine: GatewayMachine, world: World, events: StreamEvents,
    of: { readonly port: number, readonly connection: ConnectionId, readonly client: number,
      readonly service: number },
    places: SocketPlaces
  ) {
    this.#machine = machine
    this.#world = world
    this.#events = events
    this.port = of.port
    this.connection = of.connection
    this.client = of.client
    this.service = of.service
    this.#send = new SendHalf(places.input, places.inputEdge)
    this.#receive = new ReceiveHalf(places.resumesAt, world.scenario.gatewayBuffer)
  }

  get gone(): boolean { return this.#gone }
  get edge(): number { return this.#receive.edge }
  /** Input that the guest's kernel has acknowledged. */
  get floor(): number { return this.#send.una }

  // ---- what the gateway does with it

  write(bytes: Uint8Array): void {
    this.#usable('write')
    this.#send.push(bytes.slice())
    if (this.backlog > this.#world.scenario.highWater) this.#high = true
    this.#machine.gathered(this)
  }

  /** The end of a turn: what was written in it leaves. A reset in the same turn has dropped it. */
  flush(): void {
    if (!this.#gone) this.#transmit()
  }

  get backlog(): number {
    return Math.max(0, this.#send.written - this.#send.una - this.#world.scenario.gatewayBuffer)
  }

  end(): void {
    this.#usable('end')
    this.#send.ended = true
    this.#machine.gathered(this)
  }

  reset(): void {
    this.#usable('reset')
    this.#forget()
    this.#machine.toGuest({ ...this.#segment(0, noBytes, false), kind: 'reset' }, this, () => undefined)
  }

  abandon(): void {
    this.#usable('abandon')
    this.#forget()
  }

  pause(): void {
    this.#usable('pause')
    this.#paused = true
  }

  resume(): void {
    this.#usable('resume')
    this.#paused = false
    this.#readSoon()
  }

  #usable(what: string): void {
    this.#world.checks.require(!this.#gone, 8, `${what} on a guest-facing side that is gone`)
  }

  #forget(): void {
    this.#gone = true
    this.#machine.forget(this)
  }

  // ---- what the kernel does

  /** The guest took it: from here on it can be joined. */
  opened(segment: Segment): void {
    this.#send.edge = segment.edge
  }

  /** Tells the guest where this side stands. */
  announce(): void {
    this.#acknowledge()
  }

  receive(segment: Segment): void {
    if (this.#gone) return
    if (segment.kind === 'reset') {
      // A kernel that is through with both directions has no socket any more to which this could happen.
      if (this.#receive.ended && this.#send.done) return
      this.#wasReset = true
      this.#readSoon()
      return
    }
    const before = this.#send.una
    this.#send.acknowledged(segment.ack, segment.edge)
    if (this.#send.una > before) this.#machine.inputAcknowledged(this)
    if (segment.bytes.length > 0 || segment.fin) {
      this.#receive.accept(segment.offset, segment.bytes, segment.fin)
      this.#acknowledge()
      this.#readSoon()
    }
    this.#transmit()
    this.#tellDrain()
  }

  #tellDrain(): void {
    if (!this.#high || this.backlog > this.#world.scenario.lowWater) return
    this.#machine.process.after(this.#world.readDelay(), () => {
      if (!this.#high || this.#gone || this.backlog > this.#world.scenario.lowWater) return
      this.#high = false
      this.#events.drain()
    })
  }

  #transmit(): void {
    const { segmentBytes } = this.#world.scenario
    for (let next = this.#send.next(segmentBytes); next !== undefined; next = this.#send.next(segmentBytes)) {
      this.#put(this.#segment(next.offset, next.bytes, next.fin))
    }
  }

  #acknowledge(): void {
    this.#put(this.#segment(this.#send.sent, noBytes, false))
  }

  #segment(offset: number, bytes: Uint8Array, fin: boolean): Segment {
    const receive = this.#receive
    const read = receive.readPlace + (this.#told === 'ended' ? 1 : 0)
    const ack = this.#world.scenario.ackOnRead ? read : receive.received
    return { port: this.port, kind: 'data', offset, bytes, fin, ack, edge: receive.edge }
  }

  #put(segment: Segment): void {
    this.#machine.toGuest(segment, this, () => this.#lost())
  }

  /** Something did not arrive: it is sent again after a while. */
  #lost(): void {
    if (this.#resending || this.#gone) return
    this.#resending = true
    this.#world.clock.after(this.#world.resendDelay(), () => {
      this.#resending = false
      if (this.#gone || !this.#machine.process.alive) return
      this.#send.rewind()
      this.#acknowledge()
      this.#transmit()
    })
  }

  // ---- reading

  get #readable(): boolean {
    return this.#receive.unreadBytes > 0 || this.#receive.ended && this.#told === 'open'
      || this.#wasReset && this.#told !== 'reset'
  }

  #readSoon(): void {
    if (this.#reading || this.#paused || this.#gone || !this.#readable) return
    this.#reading = true
    this.#machine.process.after(this.#world.readDelay(), () => {
      this.#reading = false
      if (!this.#paused && !this.#gone) this.#read()
      this.#readSoon()
    })
  }

  #read(): void {
    const { random } = this.#world
    const unread = this.#receive.unreadBytes
    if (unread > 0) {
      const small = this.#receive.edge - this.#receive.received < this.#receive.capacity / 2
      this.#deliver(random.chance(0.7) ? unread : random.range(1, unread))
      if (!this.#gone && (small || this.#world.scenario.ackOnRead)) this.#acknowledge()
      return
    }
    this.#tellEnd()
  }

  #deliver(length: number): void {
    const place = this.#receive.readPlace
    this.#machine.deliver(this.client, place, this.#events, this.#receive.take(length))
  }

  #tellEnd(): void {
    if (this.#receive.ended && this.#told === 'open') {
      this.#told = 'ended'
      this.#events.end()
      if (!this.#gone && this.#world.scenario.ackOnRead) this.#acknowledge()
    } else if (this.#wasReset && this.#told !== 'reset') {
      this.#told = 'reset'
      this.#forget()
      this.#events.reset()
    }
  }

  /** Delivers what is here, as far as the gateway wants to read. */
  readNow(): void {
    const some = this.#receive.unreadBytes > 0
    while (this.#receive.unreadBytes > 0 && !this.#paused && !this.#gone) {
      this.#deliver(this.#receive.unreadBytes)
    }
    // The guest is told of the room.
    if (some && !this.#gone) this.#acknowledge()
    if (!this.#paused && !this.#gone && this.#readable) this.#tellEnd()
  }

  /** The path is cut: what the kernel has is delivered, even to a gateway that had paused this side. */
  drain(): void {
    while (this.#receive.unreadBytes > 0 && !this.#gone) {
      this.#deliver(this.#receive.unreadBytes)
    }
    while (!this.#gone && this.#readable) this.#tellEnd()
  }
}
