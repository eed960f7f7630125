import type { Micros } from './clock.ts'
import type { GatewayMachine } from './gateway-machine.ts'
import { GuestApp, type Session } from './guest-app.ts'
import type { Host } from './host.ts'
import { Channel } from './network.ts'
import { Process } from './process.ts'
import { noBytes, ReceiveHalf, SendHalf, type Segment } from './tcp.ts'
import type { World } from './world.ts'

/** One connection in the guest's kernel, with what the service keeps of it. */
export interface Tcb {
  readonly port: number
  readonly client: number
  readonly service: number
  readonly send: SendHalf
  readonly receive: ReceiveHalf
  readonly session: Session
  /** The service has closed it: what still comes is answered with a reset. */
  closed: boolean
  /** The gateway opened it, or asked for it, since the guest was put in place. */
  attached: boolean
}

/** All of a guest at one instant: what an image holds. */
export interface Snapshot {
  readonly app: GuestApp
  readonly tcbs: readonly Tcb[]
}

function cloneTcb(tcb: Tcb): Tcb {
  return {
    ...tcb, send: tcb.send.clone(), receive: tcb.receive.clone(), session: GuestApp.cloneSession(tcb.session),
    attached: false
  }
}

/** A guest VM: a kernel with its connections, and the service. It dies without a word to anybody. */
export class Guest {
  readonly id: number
  readonly host: Host
  readonly app: GuestApp
  readonly tcbs = new Map<number, Tcb>()
  readonly process: Process
  /** Until when its path is open by the lease; undefined before the first. */
  leaseEnd: Micros | undefined
  networkOpen = false
  /** It was restored from this image's checkpoint; undefined if it was started from nothing. */
  readonly restoredFrom: number | undefined
  readonly #world: World
  readonly #toGateways = new Map<GatewayMachine, Channel>()
  readonly #ready = new Set<Tcb>()
  readonly #resending = new Set<Tcb>()
  #serving = false

  constructor(world: World, host: Host, from?: { readonly snapshot: Snapshot, readonly checkpoint: number }) {
    this.#world = world
    this.id = world.nextGuest++
    this.host = host
    this.process = new Process(world, `guest ${this.id} on ${host.name}`)
    this.app = from?.snapshot.app.clone() ?? new GuestApp()
    this.restoredFrom = from?.checkpoint
    for (const tcb of from?.snapshot.tcbs ?? []) this.tcbs.set(tcb.port, cloneTcb(tcb))
  }

  /** Whether what it sends can reach the gateway, and what is sent to it can reach it. */
  get reachable(): boolean {
    return this.process.alive && this.networkOpen
      && (this.leaseEnd === undefined || this.#world.clock.now < this.leaseEnd)
  }

  snapshot(): Snapshot {
    return { app: this.app.clone(), tcbs: [...this.tcbs.values()].map(cloneTcb) }
  }

  /** Runs, after having been put in place: what had not been acknowledged is sent again, and work goes on. */
  start(): void {
    for (const tcb of this.tcbs.values()) {
      tcb.send.rewind()
      this.#transmit(tcb)
      this.#wake(tcb)
    }
  }

  // ---- the network

  /** A segment from the gateway's kernel arrives. */
  receive(segment: Segment, client: number, service: number): void {
    const tcb = this.tcbs.get(segment.port)
    if (segment.kind === 'syn') return this.#syn(segment, client, service, tcb)
    if (tcb === undefined) {
      if (segment.kind !== 'reset') this.#reply(segment.port, 'reset')
      return
    }
    if (segment.kind === 'reset') return this.#drop(tcb)
    if (segment.kind === 'probe') {
      this.#probed(tcb, segment.edge)
      return
    }
    this.#acknowledged(tcb, segment)
    if (segment.bytes.length > 0 || segment.fin) this.#input(tcb, segment)
  }

  /** Asked for by the gateway in a new generation: where both of its streams stand. */
  #probed(tcb: Tcb, edge: number): void {
    tcb.attached = true
    tcb.send.edge = Math.max(tcb.send.edge, edge)
  }

  #syn(segment: Segment, client: number, service: number, known: Tcb | undefined): void {
    if (known === undefined) {
      const { scenario, random } = this.#world
      if (random.chance(scenario.refuseChance) && !this.#world.healed) {
        this.#world.refused.add(client)
        return this.#reply(segment.port, 'reset')
      }
      const session = GuestApp.newSession(client, this.#world.clientHasNonces(client))
      this.tcbs.set(segment.port, {
        port: segment.port, client, service, session, closed: false, attached: true,
        send: new SendHalf(0, segment.edge), receive: new ReceiveHalf(0, scenario.guestBuffer)
      })
    }
    const tcb = this.tcbs.get(segment.port)
    if (tcb === undefined) return
    this.#send({
      port: tcb.port, kind: 'syn-ack', offset: 0, bytes: noBytes, fin: false, ack: 0, edge: tcb.receive.edge
    }, () => this.#lost(tcb))
  }

  #input(tcb: Tcb, segment: Segment): void {
    if (tcb.closed && segment.offset + segment.bytes.length > tcb.receive.received) {
      this.#reply(tcb.port, 'reset')
      return this.#drop(tcb)
    }
    const place = tcb.receive.received
    const fresh = tcb.receive.accept(segment.offset, segment.bytes, segment.fin)
    this.#world.checks.guestInput(this, tcb, place, fresh.bytes, fresh.fin)
    this.#acknowledge(tcb)
    this.#removeIfDone(tcb)
    this.#wake(tcb)
  }

  #acknowledged(tcb: Tcb, segment: Segment): void {
    tcb.send.acknowledged(segment.ack, segment.edge)
    this.#transmit(tcb)
    this.#removeIfDone(tcb)
    this.#wake(tcb)
  }

  #removeIfDone(tcb: Tcb): void {
    if (tcb.closed && tcb.send.done && tcb.receive.ended) this.#drop(tcb)
  }

  #drop(tcb: Tcb): void {
    this.tcbs.delete(tcb.port)
    this.#ready.delete(tcb)
  }

  #acknowledge(tcb: Tcb): void {
    this.#send({
      port: tcb.port, kind: 'data', offset: tcb.send.sent, bytes: noBytes, fin: false,
        ack: tcb.receive.received,
      edge: tcb.receive.edge
    }, () => this.#lost(tcb))
  }

  #transmit(tcb: Tcb): void {
    const { segmentBytes } = this.#world.scenario
    for (let next = tcb.send.next(segmentBytes); next !== undefined; next = tcb.send.next(segmentBytes)) {
      this.#send({
        port: tcb.port, kind: 'data', ...next, ack: tcb.receive.received, edge: tcb.receive.edge
      }, () => this.#lost(tcb))
    }
  }

  /** A reset that is lost is sent again, as the answer to the other side's keepalive would be. */
  #reply(port: number, kind: 'reset', attempt = 1): void {
    this.#send({ port, kind, offset: 0, bytes: noBytes, fin: false, ack: 0, edge: 0 }, () => {
      if (attempt > 20) return
      this.process.after(this.#world.resendDelay() * attempt, () => this.#reply(port, kind, attempt + 1))
    })
  }

  #send(segment: Segment, lost: () => void): void {
    if (!this.reachable) return lost()
    const gateway = this.#world.ports.get(segment.port) ?? this.#world.gateway
    let channel = this.#toGateways.get(gateway)
    if (channel === undefined) {
      channel = new Channel(this.host.name, gateway.name)
      this.#toGateways.set(gateway, channel)
    }
    this.#world.network.send(channel, () => gateway.fromGuest(this, segment, lost), lost)
  }

  /** Something did not arrive: it is sent again after a while, as long as the connection lives. */
  #lost(tcb: Tcb): void {
    if (this.#resending.has(tcb)) return
    this.#resending.add(tcb)
    this.process.after(this.#world.resendDelay(), () => {
      this.#resending.delete(tcb)
      if (this.tcbs.get(tcb.port) !== tcb) return
      tcb.send.rewind()
      this.#acknowledge(tcb)
      this.#transmit(tcb)
    })
  }

  // ---- the service

  /** The engine was told that every connection worth keeping is attached: closes the others. */
  closeUnattached(): void {
    for (const tcb of [...this.tcbs.values()]) if (!tcb.attached) this.#drop(tcb)
  }

  #canWork(tcb: Tcb): boolean {
    if (tcb.closed || tcb.send.written - tcb.send.una > this.#world.scenario.guestBuffer) return false
    return tcb.receive.unreadBytes > 0 || tcb.session.pending.length > 0 && !tcb.session.idle
      || tcb.receive.ended
  }

  #wake(tcb: Tcb): void {
    if (!this.#canWork(tcb)) return
    this.#ready.add(tcb)
    this.#serve()
  }

  #serve(): void {
    if (this.#serving || this.#ready.size === 0) return
    this.#serving = true
    const { random, scenario } = this.#world
    const stall = this.restoredFrom !== undefined && random.chance(scenario.stallChance)
      ? scenario.stallMicros : 0
    this.process.after(random.range(scenario.serviceMin, scenario.serviceMax) + stall, () => {
      this.#serving = false
      const tcb = this.#pick()
      if (tcb !== undefined) this.#work(tcb)
      this.#serve()
    })
  }

  #pick(): Tcb | undefined {
    const ready = [...this.#ready]
    if (ready.length === 0) return undefined
    const { random, scenario } = this.#world
    const tcb = scenario.guestOrder === 'random' ? random.pick(ready) : ready[0]
    if (tcb !== undefined) this.#ready.delete(tcb)
    return tcb
  }

  #work(tcb: Tcb): void {
    const { session, receive, send } = tcb
    const { random, checks } = this.#world
    const before = receive.edge - receive.received
    if (receive.unreadBytes > 0) {
      this.app.feed(session,
        receive.take(random.chance(0.5) ? receive.unreadBytes : random.range(1, receive.unreadBytes)))
      if (before < receive.capacity / 2) this.#acknowledge(tcb)
    }
    checks.execution(this, tcb)
    const answer = this.app.serve(session, () => random.word())
    if (answer !== undefined) {
      send.push(answer.bytes)
      if (answer.quit) return this.#close(tcb)
      this.#transmit(tcb)
    } else if (receive.unreadBytes === 0 && receive.ended) return this.#close(tcb)
    session.idle = answer === undefined
    this.#wake(tcb)
  }

  /** As close(2): a reset if there is input that was not read, the end of the output otherwise. */
  #close(tcb: Tcb): void {
    tcb.closed = true
    if (tcb.receive.unreadBytes > 0) {
      this.#reply(tcb.port, 'reset')
      return this.#drop(tcb)
    }
    tcb.send.ended = true
    this.#transmit(tcb)
    this.#removeIfDone(tcb)
  }
}
