import type {
  GatewayPort, GatewayReport, GatewayState, OpenResult, AttachResult
} from '../../src/core/gateway/port.ts'
import {
  gatewayId, inputOffset, historyId, outputOffset, type ConnectionId, type GatewayId, type HistoryId,
  type HostName, type OutputOffset
} from '../../src/core/ids.ts'
import type { Envelope, GatewayMessage } from '../../src/core/message.ts'
import type { StreamEvents } from '../../src/core/stream.ts'
import { hash } from './backup-store.ts'
import type { GatewayMachine } from './gateway-machine.ts'
import type { Tcb } from './guest.ts'
import { GuestSocket } from './guest-socket.ts'
import type { Process } from './process.ts'
import { noBytes, pathOf, portOf, type Segment } from './tcp.ts'
import type { World } from './world.ts'

interface Dial {
  readonly socket: GuestSocket
  readonly done: (result: OpenResult) => void
}

/** What the gateway's core is connected to: the simulated machine, for one life of the gateway. */
export class SimGatewayPort implements GatewayPort {
  readonly hash = hash
  protected readonly world: World
  protected readonly machine: GatewayMachine
  protected readonly process: Process
  readonly #dials = new Map<number, Dial>()
  #flushing = false
  #persistedAt = 0

  constructor(world: World, machine: GatewayMachine, process: Process) {
    this.world = world
    this.machine = machine
    this.process = process
  }

  newHistory(): HistoryId {
    return historyId(this.#id())
  }

  newGateway(): GatewayId {
    return gatewayId(this.#id())
  }

  #id(): string {
    const { random } = this.world
    return random.word().toString(16).padStart(8, '0')
      + ((random.word() | 1) >>> 0).toString(16).padStart(8, '0')
  }

  send(host: HostName, envelope: Envelope, message: GatewayMessage): void {
    this.world.hook()
    this.world.trace(() => `${this.machine.name} → ${host} ${message.type} gen ${envelope.generation}`)
    this.machine.links.get(host)?.send(0, envelope, message)
  }

  flushSoon(): void {
    if (this.#flushing) return
    this.#flushing = true
    this.process.after(0, () => {
      this.#flushing = false
      this.machine.core?.flush()
    })
  }

  openPath(endpoints: readonly string[]): void {
    this.world.hook()
    this.machine.path = endpoints[0]?.split(':')[0]
    if (this.machine === this.world.gateway) this.world.checks.pathLeads(this.machine.path)
  }

  open(connection: ConnectionId, service: number, events: StreamEvents,
    done: (result: OpenResult) => void): void {
    this.world.hook()
    const port = this.world.nextPort++
    this.world.ports.set(port, this.machine)
    const client = this.machine.connectionOf(connection)
    const socket = new GuestSocket(this.machine, this.world, events, { port, connection, client, service },
      { input: 0, inputEdge: 0, resumesAt: 0 })
    this.#dials.set(port, { socket, done })
    this.machine.toGuest(
      { port, kind: 'syn', offset: 0, bytes: noBytes, fin: false, ack: 0, edge: socket.edge }, socket,
        () => undefined)
    this.process.after(this.world.scenario.dialTimeout, () => {
      if (this.#dials.delete(port)) done({ ok: false, refused: false, reason: 'no answer' })
    })
  }

  /** A segment for no socket: perhaps the answer to a dial. */
  dialed(segment: Segment, lost: () => void): boolean {
    const dial = this.#dials.get(segment.port)
    if (dial === undefined) return false
    if (segment.kind !== 'syn-ack' && segment.kind !== 'reset') {
      lost()
      return true
    }
    this.#dials.delete(segment.port)
    if (segment.kind === 'reset') {
      this.process.after(this.world.readDelay(),
        () => dial.done({ ok: false, refused: true, reason: 'refused' }))
      return true
    }
    this.machine.add(dial.socket)
    dial.socket.opened(segment)
    this.process.after(this.world.readDelay(), () => {
      if (dial.socket.gone) return dial.done({ ok: false, refused: false, reason: 'the path was cut' })
      dial.done({ ok: true, path: { side: dial.socket, path: pathOf(segment.port) } })
    })
    return true
  }

  attach(
    connection: ConnectionId, service: number, path: Uint8Array, received: OutputOffset, events: StreamEvents,
    done: (result: AttachResult) => void
  ): void {
    this.world.hook()
    const { scenario, network } = this.world
    const host = this.world.hosts.find(one => one.name === this.machine.path)
    const port = portOf(path)
    let answered = false
    const finish = (result: AttachResult): void => {
      if (answered) return
      answered = true
      done(result)
    }
    const probe = (): void => {
      if (answered || !this.process.alive) return
      const guest = host?.guest
      const again = (): void => this.world.clock.after(this.world.resendDelay(), probe)
      if (guest?.reachable !== true || network.isCut(this.machine.name, guest.host.name)) return again()
      guest.process.run(() => {
        const tcb = guest.tcbs.get(port)
        guest.receive({ port, kind: 'probe', offset: 0, bytes: noBytes, fin: false, ack: 0, edge: 0 }, 0, 0)
        const places = tcb === undefined ? undefined : this.#places(tcb, received)
        this.process.after(scenario.delayMax, () => {
          if (answered) return
          if (places === undefined || tcb === undefined) return finish({ ok: true, answer: { known: false } })
          this.#join(connection, service, tcb, places, events, finish)
        })
      })
    }
    this.process.after(scenario.delayMin, probe)
    this.process.after(scenario.attachTimeout, () => finish({ ok: false, reason: 'no answer' }))
  }

  #places(tcb: Tcb, received: OutputOffset): { input: number, output: number, resumesAt: number,
    edge: number } {
    const output = tcb.send.place
    const resumesAt = Math.max(tcb.send.una, Math.min(received, output))
    this.world.checks.attaching(tcb)
    return { input: tcb.receive.received, output, resumesAt, edge: tcb.receive.edge }
  }

  #join(
    connection: ConnectionId, service: number, tcb: Tcb,
    places: { input: number, output: number, resumesAt: number, edge: number }, events: StreamEvents,
    finish: (result: AttachResult) => void
  ): void {
    const socket = new GuestSocket(this.machine, this.world, events,
      { port: tcb.port, connection, client: tcb.client, service },
      { input: places.input, inputEdge: places.edge, resumesAt: places.resumesAt })
    this.machine.add(socket)
    socket.announce()
    finish({
      ok: true, answer: {
        known: true, side: socket, input: inputOffset(places.input), output: outputOffset(places.output),
        resumesAt: outputOffset(places.resumesAt)
      }
    })
  }

  noteFloor(connection: ConnectionId, floor: number): void {
    this.machine.core?.noteFloor(connection, inputOffset(floor))
  }

  acknowledge(_connection: ConnectionId, _received: OutputOffset): void { /* the kernel acknowledges */ }

  afterReads(done: () => void): void {
    this.process.after(this.world.readDelay(), () => {
      this.machine.readAll()
      done()
    })
  }

  cutPath(done: () => void): void {
    this.world.hook()
    this.machine.path = undefined
    for (const { done: failed } of this.#dials.values()) {
      if (this.world.random.chance(0.5)) {
        this.process.after(this.world.readDelay(),
          () => failed({ ok: false, refused: false, reason: 'the path was cut' }))
      }
    }
    this.#dials.clear()
    this.process.after(this.world.engineDelay(), () => {
      this.machine.drain()
      done()
      this.machine.forgetSockets()
    })
  }

  persist(state: GatewayState, done: () => void): void {
    this.world.hook()
    const { clock } = this.world
    this.#persistedAt = Math.max(this.#persistedAt, clock.now + this.world.diskDelay())
    this.process.after(this.#persistedAt - clock.now, () => {
      this.machine.durable = state
      this.world.hook()
      done()
    })
  }

  fence(host: HostName, done: (fenced: boolean) => void): void {
    this.world.hook()
    this.process.after(this.world.engineDelay(), () => {
      if (this.world.random.chance(this.world.scenario.fenceFails)) return done(false)
      this.world.hosts.find(one => one.name === host)?.powerLoss()
      this.world.count('fenced')
      done(true)
    })
  }

  report(report: GatewayReport): void {
    this.world.gatewayReport(this.machine, report)
  }
}
