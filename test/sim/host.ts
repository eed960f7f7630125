import { GuestAgent } from '../../src/core/agent/guest-agent.ts'
import { freshAgentState, type AgentState, type LinkId } from '../../src/core/agent/port.ts'
import type { HostName } from '../../src/core/ids.ts'
import type { Envelope, Message } from '../../src/core/message.ts'
import { SimAgentPort } from './agent-port.ts'
import { BackupStore } from './backup-store.ts'
import { Engine } from './engine.ts'
import type { Guest } from './guest.ts'
import { ImageStore } from './image-store.ts'
import { Link, type LinkEnd } from './links.ts'
import { MachineClock, Process } from './process.ts'
import type { World } from './world.ts'

/** A machine that runs an agent and, at times, the guest. Its disk outlives everything. */
export class Host {
  readonly name: HostName
  readonly clock: MachineClock
  readonly images: ImageStore
  readonly log: BackupStore
  state: AgentState = freshAgentState
  guest: Guest | undefined
  process: Process
  agent: GuestAgent | undefined
  port: SimAgentPort | undefined
  powered = true
  readonly #world: World
  #engine: Engine | undefined
  readonly #links = new Map<LinkId, { readonly link: Link, readonly end: 0 | 1 }>()
  #peer: HostName | undefined
  /** Grows when the peer wanted is another one: an attempt to reach an older one ends. */
  #peerAge = 0
  #armed = Infinity

  constructor(world: World, name: HostName) {
    this.#world = world
    this.name = name
    this.clock = new MachineClock(world)
    this.images = new ImageStore(world)
    this.process = new Process(world, `agent ${name}`)
    this.process.kill()
    this.log = new BackupStore(world, name, this.process)
  }

  get running(): boolean { return this.process.alive }
  /** Where this agent's checkpoints go. */
  get peer(): HostName | undefined { return this.#peer }

  // ---- life and death

  /** Starts the agent, as after a crash or a boot. */
  start(): void {
    if (this.running || !this.powered) return
    const process = this.process = new Process(this.#world, `agent ${this.name}`)
    process.turnEnded = () => { this.#arm() }
    this.log.adopt(process)
    this.#armed = Infinity
    if (this.guest !== undefined && (!this.guest.networkOpen || !this.guest.process.alive)) this.removeGuest()
    this.guest?.process.resume()
    if (this.#world.scenario.builds) this.images.clear()
    const engine = this.#engine = new Engine(this.#world, this, process)
    const port = this.port = this.#world.canary?.agentPort?.(this.#world, this, process, engine)
      ?? new SimAgentPort(this.#world, this, process, engine)
    this.#world.canary?.agentStarts?.(this.#world, this, engine)
    const images = [...this.#world.canary?.foundImages?.(this) ?? [], ...this.images.found()]
    const agent = this.agent = new GuestAgent(port, {
      guest: 'g', canRestore: true, absorbs: this.#world.scenario.builds,
      limits: this.#world.scenario.agentLimits, state: this.state,
      condition: this.guest === undefined ? 'absent' : 'running',
      endpoints: this.guest === undefined ? [] : engine.endpoints, images
    })
    this.#world.canary?.agent?.(agent, this)
    this.#world.trace(() => `${this.name} agent starts`)
  }

  /** The agent's process dies; the guest lives on, and what was written is there when it starts again. */
  crashAgent(): void {
    if (!this.running) return
    this.#world.trace(() => `${this.name} agent crashes`)
    this.#end(false)
    for (const link of [...this.#world.links]) if (link.joins(this.process)) link.break(0)
    const { guest } = this
    if (guest?.process.paused === true && this.#world.random.chance(0.5)) {
      this.#world.clock.after(this.#world.engineDelay(), () => guest.process.resume())
    }
  }

  /** Everything on this machine is gone at once, without a word to anybody. */
  powerLoss(): void {
    if (!this.powered) return
    this.#world.trace(() => `${this.name} loses power`)
    this.powered = false
    if (this.running) this.#end(true)
    this.images.powerLoss()
    this.removeGuest()
    for (const link of [...this.#world.links]) {
      if (link.ends.some(end => end.machine === this.name)) link.break(this.#world.scenario.lateNotice)
    }
  }

  powerOn(): void {
    this.powered = true
    this.start()
  }

  #end(powerLoss: boolean): void {
    this.process.kill()
    this.log.crash(powerLoss)
    this.agent = undefined
    this.#links.clear()
    this.#peer = undefined
    this.#peerAge++
  }

  /** What the engine has absorbed is gone, if there was anything. */
  loseStandby(): void {
    if (this.running) this.#engine?.loseStandby()
  }

  /** The guest dies, and the engine notices after a while. */
  crashGuest(): void {
    const { guest } = this
    if (guest?.process.alive !== true) return
    this.#world.trace(() => `${this.name} guest ${guest.id} dies`)
    guest.process.kill()
    this.process.after(this.#world.engineDelay(), () => {
      if (this.guest !== guest) return
      this.#engine?.guestDied()
      this.agent?.guestFailed(this.clock.now(), 'the guest died')
    })
  }

  place(guest: Guest): void {
    this.removeGuest()
    this.guest = guest
    this.#world.guests.push(guest)
  }

  removeGuest(): void {
    this.guest?.process.kill()
    this.guest = undefined
  }

  // ---- time

  #arm(): void {
    const deadline = this.agent?.nextDeadline()
    if (deadline === undefined) return
    const delay = Math.max(this.clock.micros(deadline - this.clock.now()) + 1, 20)
    const at = this.#world.clock.now + delay
    if (at >= this.#armed) return
    this.#armed = at
    this.process.after(delay, () => {
      if (this.#armed !== at) return
      this.#armed = Infinity
      this.agent?.tick(this.clock.now())
    })
  }

  // ---- links

  sendOn(id: LinkId, envelope: Envelope, message: Message): void {
    const known = this.#links.get(id)
    if (known === undefined) return
    this.#world.trace(() => `${this.name} → ${message.type}`)
    known.link.send(known.end, envelope, message)
  }

  closeLink(id: LinkId): void {
    const known = this.#links.get(id)
    this.#links.delete(id)
    known?.link.close(known.end)
  }

  /** This agent's end of a link from a gateway. */
  gatewayEnd(): LinkEnd & { established(link: Link): void } {
    const { process } = this
    let id = 0
    return {
      machine: this.name, process,
      established: link => {
        id = link.id
        this.#links.set(id, { link, end: 1 })
        this.agent?.linkUp(this.clock.now(), id)
      },
      message: (envelope, message) => this.#fromGateway(id, envelope, message),
      closed: () => {
        this.#links.delete(id)
        this.agent?.linkDown(this.clock.now(), id)
      }
    }
  }

  #fromGateway(id: LinkId, envelope: Envelope, message: Message): void {
    const { port, agent } = this
    if (port === undefined || agent === undefined) return
    this.#world.trace(() => `${this.name} ← ${message.type} gen ${envelope.generation}`)
    const isOld = envelope.generation < this.state.generation
    const before = port.orders
    agent.gatewayMessage(this.clock.now(), id, envelope, message)
    if (isOld) this.#world.checks.oldGeneration(this, message.type, port.orders - before)
  }

  #peerEnd(up: boolean): LinkEnd & { established(link: Link, end: 0 | 1): void } {
    const { process } = this
    let id = 0
    return {
      machine: this.name, process,
      established: (link, end) => {
        id = link.id
        this.#links.set(id, { link, end })
        if (up) this.agent?.peerUp(this.clock.now(), id)
      },
      message: (envelope, message) => this.agent?.peerMessage(this.clock.now(), id, envelope, message),
      closed: () => {
        this.#links.delete(id)
        this.agent?.peerDown(this.clock.now(), id)
        if (up) this.#dialPeer(this.#peerAge)
      }
    }
  }

  connectPeer(name: HostName | undefined): void {
    this.#peer = name
    this.#peerAge++
    for (const [id, { link, end }] of this.#links) {
      if (end === 0) {
        this.#links.delete(id)
        link.close(0)
      }
    }
    this.#dialPeer(this.#peerAge)
  }

  #dialPeer(age: number): void {
    if (age !== this.#peerAge || this.#peer === undefined) return
    this.process.after(this.#world.reconnectDelay(), () => {
      const other = this.#world.hosts.find(host => host.name === this.#peer)
      if (age !== this.#peerAge || other === undefined) return
      if (!other.running || this.#world.network.isCut(this.name, other.name)
        || this.#world.network.isCut(other.name, this.name)) return this.#dialPeer(age)
      const mine = this.#peerEnd(true)
      const theirs = other.#peerEnd(false)
      const link = new Link(this.#world, mine, theirs)
      other.process.run(() => theirs.established(link, 1))
      mine.established(link, 0)
    })
  }
}
