import { GuestGateway } from '../../src/core/gateway/guest-gateway.ts'
import type { GatewayState } from '../../src/core/gateway/port.ts'
import type { Protection } from '../../src/core/gateway/protection.ts'
import type { ConnectionId, HostName } from '../../src/core/ids.ts'
import type { AgentMessage } from '../../src/core/message.ts'
import type { StreamEvents } from '../../src/core/stream.ts'
import { ms } from './clock.ts'
import type { ClientStream } from './client-stream.ts'
import { SimGatewayPort } from './gateway-port.ts'
import type { Guest } from './guest.ts'
import type { GuestSocket } from './guest-socket.ts'
import type { Host } from './host.ts'
import { Link, type LinkEnd } from './links.ts'
import { Channel } from './network.ts'
import { MachineClock, Process } from './process.ts'
import { noBytes, type Segment } from './tcp.ts'
import type { World } from './world.ts'

/** The gateway's machine: its kernel with the sockets, its state file, and the gateway's process. */
export class GatewayMachine {
  readonly name: string
  readonly clock: MachineClock
  process: Process
  core: GuestGateway | undefined
  port: SimGatewayPort | undefined
  durable: GatewayState | undefined
  /** The host to which the guest's path leads; undefined while it is cut. */
  path: string | undefined
  readonly links = new Map<HostName, Link>()
  readonly #world: World
  readonly #sockets = new Map<number, GuestSocket>()
  readonly #toHosts = new Map<string, Channel>()
  readonly #clients = new Set<ClientStream>()
  readonly #noteDue = new Set<GuestSocket>()
  /** Those that were written to in this turn of the process. */
  readonly #gathering = new Set<GuestSocket>()

  constructor(world: World, name: string) {
    this.#world = world
    this.name = name
    this.clock = new MachineClock(world)
    this.process = new Process(world, name)
    this.process.kill()
  }

  get running(): boolean { return this.process.alive }
  /** It knows that another gateway is in charge. */
  get standsAside(): boolean {
    const protection = this.core?.protection
    return protection?.state === 'lost' && protection.reason.includes('another gateway is in charge')
  }

  /** It has found the guest, and is about to serve clients from it. */
  isServing(protection: Protection): boolean {
    return this.path !== undefined && protection.state !== 'lost'
  }

  // ---- life and death

  start(): void {
    if (this.running) return
    const { scenario } = this.#world
    const process = this.process = new Process(this.#world, this.name)
    process.turnEnded = () => { this.#flushGathered() }
    const port = this.port = this.#world.canary?.gatewayPort?.(this.#world, this, process)
      ?? new SimGatewayPort(this.#world, this, process)
    const core = this.core = new GuestGateway(scenario.settings, port, this.clock.now())
    this.#world.trace(() => `${this.name} starts`)
    this.#world.canary?.gateway?.(core, this.#world)
    core.start(this.durable)
    this.#tickSoon()
    for (const host of this.#world.hosts) this.#dial(host)
  }

  #tickSoon(): void {
    const { scenario } = this.#world
    this.process.after(ms(scenario.settings.heartbeatMs / 2), () => {
      this.core?.tick(this.clock.now())
      this.#tickSoon()
      if (scenario.floors === 'sampled') for (const socket of this.#sockets.values()) this.#noteFloor(socket)
      this.#world.checks.bounds()
    })
  }

  /** The process dies: clients see resets, and so may the guest. With the machine, the guest sees nothing. */
  crash(machine: boolean): void {
    if (!this.running) return
    this.#world.trace(() => `${this.name} crashes`)
    this.process.kill()
    this.core = undefined
    if (this === this.#world.gateway) this.#world.checks.gatewayDied()
    for (const client of this.#clients) client.cut()
    this.#clients.clear()
    for (const socket of [...this.#sockets.values()]) {
      // Its kernel sends nothing again, not even once another life of the gateway has begun.
      socket.abandon()
      if (!machine) {
        this.toGuest({ port: socket.port, kind: 'reset', offset: 0, bytes: noBytes, fin: false, ack: 0,
          edge: 0 },
          socket, () => undefined)
      }
    }
    this.path = undefined
    this.links.clear()
    for (const link of [...this.#world.links]) {
      if (link.joins(this.process)) link.break(machine ? this.#world.scenario.lateNotice : 0)
    }
  }

  // ---- clients

  /** A client's connection arrives. Refused ones see a reset. */
  accept(service: number, client: ClientStream): void {
    this.#clients.add(client)
    this.process.run(() => {
      const events = this.core?.accept(service, client, `c${client.client}:1`)
      if (events === undefined) client.cut()
      else client.accepted(events)
    })
  }

  // ---- links

  #dial(host: Host): void {
    const { process } = this
    process.after(this.#world.reconnectDelay(), () => {
      const cut = this.#world.network.isCut(this.name, host.name)
        || this.#world.network.isCut(host.name, this.name)
      if (!host.running || cut) return this.#dial(host)
      const theirs = host.gatewayEnd()
      const link = new Link(this.#world, this.#end(host), theirs)
      host.process.run(() => theirs.established(link))
      this.links.set(host.name, link)
      this.core?.linkUp(host.name, this.clock.now())
    })
  }

  #end(host: Host): LinkEnd {
    const { process } = this
    return {
      machine: this.name, process,
      message: (envelope, message) => {
        this.#world.trace(() => `${this.name} ← ${host.name} ${message.type} gen ${envelope.generation}`)
        this.core?.message(host.name, envelope, message as AgentMessage, this.clock.now())
      },
      closed: () => {
        this.links.delete(host.name)
        this.#world.trace(() => `${this.name}: link to ${host.name} is down`)
        this.core?.linkDown(host.name, this.clock.now())
        this.#dial(host)
      }
    }
  }

  // ---- the kernel

  add(socket: GuestSocket): void {
    this.#sockets.set(socket.port, socket)
  }

  /** Leaves at the end of the turn. */
  gathered(socket: GuestSocket): void {
    this.#gathering.add(socket)
  }

  #flushGathered(): void {
    for (const socket of this.#gathering) socket.flush()
    this.#gathering.clear()
  }

  forget(socket: GuestSocket): void {
    this.#sockets.delete(socket.port)
  }

  /** What the guest's host sends arrives; `lost` makes it send again. */
  fromGuest(guest: Guest, segment: Segment, lost: () => void): void {
    if (this.path !== guest.host.name) return lost()
    const socket = this.#sockets.get(segment.port)
    if (socket !== undefined) return socket.receive(segment)
    if (this.port?.dialed(segment, lost) === true) return
    // From the drain to the last attach a shield keeps the kernel from resetting what the guest still has.
    if (this.core?.failover === undefined && segment.kind !== 'reset') {
      this.toGuest({ ...segment, kind: 'reset', bytes: noBytes, fin: false }, { client: 0, service: 0 },
        () => undefined)
      return
    }
    lost()
  }

  toGuest(
    segment: Segment, of: { readonly client: number, readonly service: number }, lost: () => void
  ): void {
    const { path } = this
    if (path === undefined) return lost()
    let channel = this.#toHosts.get(path)
    if (channel === undefined) this.#toHosts.set(path, channel = new Channel(this.name, path))
    this.#world.network.send(channel, () => {
      const guest = this.#world.hosts.find(host => host.name === path)?.guest
      if (guest?.reachable !== true || this.path !== path) return lost()
      guest.process.run(() => guest.receive(segment, of.client, of.service))
    }, lost)
  }

  /** The gateway reads; the bytes are its own only during the call. */
  deliver(client: number, place: number, events: StreamEvents, bytes: Uint8Array): void {
    const scratch = bytes.slice()
    this.#world.checks.outputRead(client, place, scratch.length)
    events.data(scratch)
    scratch.fill(0xdd)
  }

  /** The guest's path is cut: what was received for the sockets is delivered, then they are silent. */
  drain(): void {
    for (const socket of [...this.#sockets.values()]) socket.drain()
  }

  /** Reads what the kernel holds for the sockets that are being read. */
  readAll(): void {
    for (const socket of [...this.#sockets.values()]) socket.readNow()
  }

  forgetSockets(): void {
    for (const socket of [...this.#sockets.values()]) socket.abandon()
    this.#noteDue.clear()
  }

  // ---- floors

  inputAcknowledged(socket: GuestSocket): void {
    const { scenario } = this.#world
    if (scenario.floors === 'never' || scenario.floors === 'sampled' || this.#noteDue.has(socket)) return
    this.#noteDue.add(socket)
    this.process.after(scenario.floors === 'late' ? this.#world.random.below(ms(100))
      : this.#world.readDelay(), () => {
      this.#noteDue.delete(socket)
      this.#noteFloor(socket)
    })
  }

  #noteFloor(socket: GuestSocket): void {
    if (!socket.gone) this.port?.noteFloor(socket.connection, socket.floor)
  }

  connectionOf(connection: ConnectionId): number {
    return this.#world.checks.clientOf(connection)
  }
}
