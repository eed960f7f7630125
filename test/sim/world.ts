import type { AgentReport } from '../../src/core/agent/port.ts'
import type { FailoverSummary, GatewayReport } from '../../src/core/gateway/port.ts'
import type { ReleaseMode } from '../../src/core/gateway/settings.ts'
import type { Canary } from './canaries/canary.ts'
import { Checks } from './checkers/checks.ts'
import { RuleBroken, type Rule } from './checkers/rule.ts'
import type { Client } from './client.ts'
import { Clock, ms } from './clock.ts'
import { GatewayMachine } from './gateway-machine.ts'
import type { Guest, Snapshot } from './guest.ts'
import { Host } from './host.ts'
import type { Link } from './links.ts'
import { Network } from './network.ts'
import { Crash, type Process } from './process.ts'
import { Random } from './random.ts'
import { drawScenario, type Scenario } from './scenario.ts'
import type { StreamPlace } from './standby.ts'

/** An image as the engine made it: what a torn copy of it is held against. */
export interface Image {
  readonly bytes: Uint8Array
  readonly snapshot: Snapshot
  readonly guest: number
  readonly place: StreamPlace
}

/** One run: everything there is, from one seed. */
export class World {
  readonly seed: number
  readonly random: Random
  readonly clock = new Clock()
  readonly checks: Checks
  readonly network: Network
  readonly hosts: readonly Host[]
  /** The gateway that clients and operators go to; and another one, if one was started beside it. */
  gateway: GatewayMachine
  readonly gateways: GatewayMachine[] = []
  /** To which gateway each of the guest's sockets leads. */
  readonly ports = new Map<number, GatewayMachine>()
  readonly clients: Client[] = []
  readonly guests: Guest[] = []
  readonly links = new Set<Link>()
  readonly images = new Map<number, Image>()
  readonly canary: Canary | undefined
  readonly counts = new Map<string, number>()
  /** Clients whose connection a guest refused; the gateway may hear of it only after the faults are over. */
  readonly refused = new Set<number>()
  scenario: Scenario
  /** The faults are over, and what was broken is mended. */
  healed = false
  /** When the last fault struck. */
  lastFault = 0
  /** Strikes when the next image is being absorbed. */
  absorbing: (() => void) | undefined
  nextLink = 1
  nextPort = 1
  nextGuest = 1
  nextStream = 1
  steps = 0
  traced: string[] | undefined
  /** Gateways that were in charge, and are not any more. */
  readonly #former = new Set<GatewayMachine>()
  #current: Process | undefined
  #ambushes: { readonly step: number, readonly strike: () => void }[] = []
  #failoverSince = 0
  #slowDisk = 1

  constructor(seed: number,
    options: { readonly canary?: Canary | undefined, readonly trace?: boolean } = {}) {
    this.seed = seed
    this.random = new Random(seed)
    this.scenario = drawScenario(this.random)
    this.canary = options.canary
    if (options.trace === true) this.traced = []
    this.checks = new Checks(this)
    this.network = new Network(this)
    this.hosts = this.scenario.settings.hosts.map(({ name }) => new Host(this, name))
    this.gateway = new GatewayMachine(this, 'gateway')
    this.gateways.push(this.gateway)
  }

  // ---- telling

  fail(rule: Rule, what: string): void {
    this.trace(() => `FAIL rule ${rule}: ${what}`)
    throw new RuleBroken(rule, what)
  }

  count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by)
  }

  trace(line: () => string): void {
    this.traced?.push(`${(this.clock.now / 1000).toFixed(3)} ${line()}`)
  }

  gatewayReport(gateway: GatewayMachine, report: GatewayReport): void {
    this.trace(() => `${gateway.name}: ${describe(report)}`)
    if (gateway !== this.gateway && !this.#serves(gateway, report)) return
    if (report.type === 'protection') {
      const { state } = report.protection
      if (state === 'failing-over'
        && report.protection.phase === 'fence') this.#failoverSince = this.clock.now
      if (state === 'lost') this.count('lost')
      if (state === 'protected') this.count('protected')
    }
    if (report.type === 'clock-jump') this.count('jumps')
    if (report.type === 'checkpoint-lost') this.count('checkpoint lost')
    this.checks.gatewayReport(report)
  }

  /** One that was started beside the other is about to serve clients: from now on they go to it. */
  #serves(gateway: GatewayMachine, report: GatewayReport): boolean {
    if (report.type !== 'protection' || !gateway.isServing(report.protection)) return false
    if (this.#former.has(gateway)) return false
    this.takeOver(gateway)
    return true
  }

  /** Clients and operators go to this one. The other lives on, and may not know yet that it is displaced. */
  takeOver(gateway: GatewayMachine): void {
    this.trace(() => `${gateway.name} takes over from ${this.gateway.name}`)
    this.count('taken over')
    if (!this.gateway.standsAside) this.count('taken over from one that does not know')
    for (const client of this.clients) client.leave()
    this.checks.gatewayDied()
    this.#former.add(this.gateway)
    this.gateway = gateway
    this.checks.pathLeads(gateway.path)
  }

  agentReport(host: Host, report: AgentReport): void {
    this.trace(() => `${host.name}: ${JSON.stringify(report)}`)
    this.checks.agentReport(host, report)
  }

  failoverEnded(summary: FailoverSummary): void {
    this.trace(() => `gateway: ${JSON.stringify(summary)}`)
    this.count('kept', summary.kept)
    this.count('replayed', summary.tailRecords)
    if (summary.reordered > 0) this.count('reordered')
    if (summary.unverifiedBytes > 0) this.count('unverified')
  }

  // ---- running things

  /** Runs `what` as part of a process, which may die in the middle of it. */
  inProcess(process: Process, what: () => void): void {
    const outer = this.#current
    this.#current = process
    try {
      what()
      if (process.alive) process.turnEnded()
    } catch (error) {
      if (!(error instanceof Crash) || error.process !== process) throw error
    } finally {
      this.#current = outer
    }
  }

  /** A place at which a process may die: every message and every order that the core gives. */
  hook(): void {
    this.steps++
    const next = this.#ambushes[0]
    if (next !== undefined && next.step <= this.steps) {
      this.#ambushes.shift()
      next.strike()
    }
    if (this.#current?.alive === false) throw new Crash(this.#current)
  }

  /** Strikes so many steps from now. */
  ambush(steps: number, strike: () => void): void {
    this.#ambushes.push({ step: this.steps + steps, strike })
    this.#ambushes.sort((a, b) => a.step - b.step)
  }

  // ---- delays

  readDelay(): number { return this.random.range(1, this.scenario.readMax) }
  diskDelay(): number { return this.random.range(this.scenario.diskMin,
    this.scenario.diskMax) * this.#slowDisk }
  engineDelay(): number { return this.random.range(100, 3000) }
  imageDelay(): number { return this.random.range(100, 4000) }
  resendDelay(): number { return this.random.range(ms(4), ms(20)) }
  reconnectDelay(): number { return this.random.range(ms(1), ms(12)) }

  slowDisks(factor: number): void { this.#slowDisk = factor }

  // ---- who is who

  modeOf(client: number): ReleaseMode | undefined {
    return this.scenario.services[this.clients[client]?.plan.service ?? 0]?.release
  }

  clientHasNonces(client: number): boolean {
    return this.clients[client]?.plan.nonces ?? false
  }

  get primary(): Host | undefined {
    const active = this.gateway.core?.active?.name ?? this.gateway.durable?.active
    return this.hosts.find(host => host.name === active)
  }

  get backup(): Host | undefined {
    const name = this.gateway.core?.replication.backup?.name
    return this.hosts.find(host => host.name === name)
  }

  /**
   * Why this connection's output may come out differently when its input is replayed; undefined if it may
   * not.
   */
  excuseFor(id: number, alive: boolean): string | undefined {
    const client = this.clients[id]
    const { scenario } = this
    if (client === undefined) return undefined
    const released = scenario.services[client.plan.service]?.release
    const exact = alive && released === 'checkpoint'
      && this.scenario.services.every(one => one.release === 'checkpoint')
    if (client.plan.nonces && !exact) return 'nonces'
    if (scenario.shared === 'free' && client.plan.shared && !exact) return 'shared counters'
    if (scenario.stallChance > 0) return 'a guest that stalls'
    if (this.refused.has(id)) return 'a guest that refused it'
    if (client.mayBeReset) return 'a guest that resets'
    if (this.lastFault >= this.#failoverSince && this.#failoverSince > 0) return 'a fault during the failover'
    return undefined
  }
}

function describe(report: GatewayReport): string {
  switch (report.type) {
    case 'connection-open': return `connection ${report.connection.id} for ${report.connection.clientAddress}`
    case 'connection-end': return `connection ${report.connection.id} ends: ${report.ending}`
    default: return JSON.stringify(report)
  }
}
