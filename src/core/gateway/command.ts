import { invariant } from '../../base/invariant.ts'
import { generation, millis, noGateway, type Generation, type HostName, type Millis } from '../ids.ts'
import type { AgentMessage, Envelope, GatewayLife, GuestCondition } from '../message.ts'
import type { Host, Hosts } from './hosts.ts'
import type { GatewayPort, GatewayState } from './port.ts'
import type { GuestSettings } from './settings.ts'

/*
 *   without a state:  asking → writing → binding → in-charge
 *   with one:                  writing ──────────→ in-charge      (binding first, if that was not finished)
 *   any of them ──another gateway is in charge──→ displaced
 *
 * `asking`: every agent is asked for its generation, and where the guest runs. `binding`: the claimed
 * generation is on disk, and the hosts that are not the active one are made to know it: from then on no other
 * gateway can promote one of them, and only then is the guest taken.
 */
type Phase = 'asking' | 'writing' | 'binding' | 'in-charge' | 'displaced'

/** What an agent answered when it was asked. */
interface Answer {
  readonly generation: Generation
  readonly condition: GuestCondition
}

/** Before the first state there is no life to speak of: nobody obeys a generation of 0. */
const nobody: GatewayLife = { gateway: noGateway, incarnation: 0 }

export interface CommandContext {
  readonly settings: GuestSettings
  readonly port: GatewayPort
  readonly hosts: Hosts
  /** Makes the host know generation and gateway, as one without a role; asks it while there is neither. */
  assignIdle(host: Host): void
  /** Why the guest is not served yet. */
  waits(reason: string): void
  /** The guest may be taken. */
  inCharge(): void
  /** For good: what this gateway says has no effect any more. */
  displaced(reason: string): void
  /** A host that is not the active one obeys another gateway in this generation. */
  refused(host: Host): void
}

/**
 * Whether this gateway commands the guest's hosts, and with which durable state (GUARANTEES.md, rule 6). One
 * process claims a generation once at most.
 */
export class Command {
  readonly #context: CommandContext
  #phase: Phase = 'writing'
  #state: GatewayState | undefined
  readonly #answers = new Map<Host, Answer>()
  readonly #bound = new Set<Host>()
  /** Nobody runs the guest: then all are asked again. */
  #askAgainAt: Millis | undefined
  #now: Millis = millis(0)

  constructor(context: CommandContext) {
    this.#context = context
  }

  /** As it is on disk, or about to be. */
  get state(): GatewayState | undefined { return this.#state }
  get generation(): Generation { return this.#state?.generation ?? generation(0) }
  get life(): GatewayLife {
    const { gateway, incarnation } = this.#state ?? nobody
    return { gateway, incarnation }
  }
  get isInCharge(): boolean { return this.#phase === 'in-charge' }
  get active(): Host | undefined {
    return this.#state === undefined ? undefined : this.#context.hosts.get(this.#state.active)
  }

  /**
   * Starts with what was durable, or undefined: then the agents are asked first, for a gateway that does not
   * know the generation must not guess it.
   */
  start(state: GatewayState | undefined): void {
    if (state === undefined) {
      this.#phase = 'asking'
      this.#context.waits('the generation is not known here: all agents are being asked')
      return
    }
    const gateway = state.gateway === noGateway ? this.#context.port.newGateway() : state.gateway
    this.#context.waits(`waiting for the agent on ${state.active}`)
    this.#write({ ...state, gateway, incarnation: state.incarnation + 1 })
  }

  tick(now: Millis): void {
    this.#now = now
    if (this.#askAgainAt === undefined || now < this.#askAgainAt) return
    this.#askAgainAt = undefined
    this.#answers.clear()
    for (const host of this.#context.hosts.all()) if (host.linked) this.#context.assignIdle(host)
  }

  /** True if the host may be given its role; else it has been told what there is to tell. */
  linkUp(host: Host): boolean {
    if (this.#phase === 'asking') this.#context.assignIdle(host)
    if (this.#phase === 'binding') this.#bind(host)
    return this.#phase === 'in-charge'
  }

  /** True if a message is for the gateway that is in charge; else it has been dealt with. */
  admits(host: Host, envelope: Envelope, message: AgentMessage, now: Millis): boolean {
    this.#now = now
    if (this.#phase === 'displaced') return false
    if (this.#phase === 'asking') {
      if (message.type === 'guest') this.#answered(host, envelope.generation, message.condition)
      return false
    }
    if (envelope.generation > this.generation) {
      const known = envelope.generation
      this.#standAside(`${host.name} knows generation ${known}, this gateway ${this.generation}`)
      return false
    }
    if (envelope.generation < this.generation) return this.#isLate(host, envelope, message)
    if (message.type === 'stale') {
      this.#refused(host)
      return false
    }
    if (this.#phase === 'binding') this.#hasBound(host)
    else if (host === this.active && this.#state?.claiming === true) {
      this.change({ claiming: false }, () => undefined)
    }
    return true
  }

  /** Of an older generation only a sign of life counts. */
  #isLate(host: Host, envelope: Envelope, message: AgentMessage): boolean {
    if (message.type === 'heartbeat') return true
    // While a generation is being claimed, answers from before it are still on their way.
    if (this.#phase === 'in-charge') {
      this.#context.port.report({ type: 'stale-message', host: host.name, generation: envelope.generation })
    }
    return false
  }

  /** Makes a change of the state durable. */
  change(change: Partial<GatewayState>, done: () => void): void {
    if (this.#state === undefined) return
    this.#state = { ...this.#state, ...change }
    this.#context.port.persist(this.#state, done)
  }

  /** The state to be made durable before a promotion. */
  promotion(next: Generation, to: HostName): GatewayState {
    invariant(this.#state !== undefined, 'only a guest with an active host is failed over')
    return { ...this.#state, generation: next, active: to, started: true }
  }

  /** A promotion is durable: every message carries its generation from now on. */
  adopt(state: GatewayState): void {
    this.#state = state
  }

  // ---- asking and claiming

  #answered(host: Host, known: Generation, condition: GuestCondition): void {
    this.#answers.set(host, { generation: known, condition })
    const all = [...this.#context.hosts.all()]
    if (all.some(other => !this.#answers.has(other))) return
    const highest = Math.max(...[...this.#answers.values()].map(answer => answer.generation))
    const active = highest === 0 ? all[0] : all.find(other => this.#runs(other, highest))
    if (active === undefined) {
      this.#askAgainAt = millis(this.#now + this.#context.hosts.windowMs)
      return
    }
    this.#claim(generation(highest + 1), active, highest > 0, all.length > 1)
  }

  #runs(host: Host, newest: number): boolean {
    const answer = this.#answers.get(host)
    return answer?.generation === newest && answer.condition === 'running'
  }

  #claim(claimed: Generation, active: Host, started: boolean, claiming: boolean): void {
    this.#answers.clear()
    this.#askAgainAt = undefined
    this.#write({
      generation: claimed, active: active.name, started, claiming,
      gateway: this.#context.port.newGateway(), incarnation: 1
    })
  }

  /** The life that this state begins is on disk before anybody hears of it. */
  #write(state: GatewayState): void {
    this.#phase = 'writing'
    this.#state = state
    this.#context.port.persist(state, () => {
      if (this.#phase !== 'writing') return
      if (!state.claiming) return this.#takeCharge()
      this.#phase = 'binding'
      for (const host of this.#context.hosts.all()) if (host.linked) this.#bind(host)
      this.#lookForBound()
    })
  }

  #bind(host: Host): void {
    if (host !== this.active && !this.#bound.has(host)) this.#context.assignIdle(host)
  }

  /** Its agent has answered in the generation that was claimed, which is on its disk then. */
  #hasBound(host: Host): void {
    if (this.#bound.has(host)) return
    this.#bound.add(host)
    this.#lookForBound()
  }

  #lookForBound(): void {
    const missing = [...this.#context.hosts.all()]
      .filter(host => host !== this.active && !this.#bound.has(host)).map(({ name }) => name)
    if (missing.length > 0) {
      this.#context.waits(`taking command: waiting for the agent on ${missing.join(', ')}`)
      return
    }
    this.#context.waits(`waiting for the agent on ${this.#state?.active ?? ''}`)
    // Until the active host has answered, the gateway of before may go on granting it leases.
    const { active } = this
    if (active !== undefined) active.leaseUntil = millis(Infinity)
    this.#takeCharge()
  }

  #takeCharge(): void {
    this.#phase = 'in-charge'
    this.#context.inCharge()
  }

  // ---- another gateway

  #refused(host: Host): void {
    if (this.#phase === 'in-charge' && host !== this.active) this.#context.refused(host)
    else this.#standAside(`${host.name} obeys another one in generation ${this.generation}`)
  }

  #standAside(why: string): void {
    this.#phase = 'displaced'
    this.#context.displaced(`${why}: another gateway is in charge`)
  }
}
