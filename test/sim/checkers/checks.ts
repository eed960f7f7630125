import type { AgentReport } from '../../../src/core/agent/port.ts'
import type { Connection, Ending } from '../../../src/core/gateway/connection.ts'
import type { FailoverSummary, GatewayReport } from '../../../src/core/gateway/port.ts'
import type { TailLog } from '../../../src/core/log/tail-log.ts'
import { ByteLog } from '../byte-log.ts'
import type { Client } from '../client.ts'
import type { Guest, Tcb } from '../guest.ts'
import type { Host } from '../host.ts'
import type { World } from '../world.ts'
import { checkOneActive, checkOpenOrdered } from './active-guest.ts'
import { CommitLedger } from './commit.ts'
import { checkCounters, checkExecution, checkGuestInput, checkKept, checkSaid } from './execution.ts'
import { HistoryChecker, type Logged } from './history.ts'
import { checkPruneOrdered, PruningChecker, sameBytes } from './pruning.ts'
import type { Rule } from './rule.ts'

/** Sees everything that happens, and ends the run when a rule is broken. */
export class Checks {
  readonly #world: World
  readonly #commit: CommitLedger
  readonly #history: HistoryChecker
  readonly #pruning: PruningChecker
  /** The clients of the present gateway's connections. */
  #clients = new Map<number, number>()
  /** The same of each history, whose gateway may be gone. */
  readonly #clientsOf = new Map<string, ReadonlyMap<number, number>>()
  /** What the gateway has given to each client. */
  readonly #given = new Map<number, ByteLog>()
  readonly #values = new Map<string, number>()
  readonly #begun = new Set<string>()
  /** What has counted at each host, newest last, with its history. */
  readonly #counted = new Map<string, { readonly checkpoint: number, readonly history: string }>()
  #active: Guest | undefined
  #anyReleased = false
  /** Clients that may have been told what the guest no longer knows: it could not be compared. */
  readonly #unverified = new Set<number>()
  /** The guest is known to have diverged, or an operator accepted a loss. */
  excused = false

  constructor(world: World) {
    this.#world = world
    this.#commit = new CommitLedger(world)
    this.#history = new HistoryChecker(world)
    this.#pruning = new PruningChecker(world)
  }

  require(condition: boolean, rule: Rule, what: string): void {
    if (!condition) this.#world.fail(rule, what)
  }

  /** The client of a connection, in the present gateway or in the one that made `history`. */
  clientOf(connection: number, history?: string): number {
    const clients = history === undefined ? this.#clients : this.#clientsOf.get(history)
    return clients?.get(connection) ?? -1
  }

  atMark(history: string, checkpoint: number): ReadonlyMap<number, Logged> | undefined {
    return this.#history.atMark(history, checkpoint)
  }

  // ---- clients

  given(client: number): ByteLog {
    let given = this.#given.get(client)
    if (given === undefined) this.#given.set(client, given = new ByteLog())
    return given
  }

  inputRead(client: number, bytes: Uint8Array): void {
    const at = this.#commit.stream(client).input
    this.require(this.#world.clients[client]?.sent.holds(at, bytes) === true, 2, 'the simulator lost input')
    this.#commit.inputRead(client, bytes.length)
  }

  inputEnded(client: number): void { this.#commit.inputRead(client, 1) }

  outputRead(client: number, place: number,
    length: number): void { this.#commit.outputRead(client, place, length) }

  released(client: number, bytes: Uint8Array): void {
    const given = this.given(client)
    this.#anyReleased = true
    if (this.#active !== undefined) checkSaid(this.#world, this.#active, client, given.length, bytes)
    given.push(bytes)
    this.#commit.released(client, bytes.length)
  }

  releasedEnd(client: number): void {
    const guest = this.#active
    if (guest === undefined) return
    const said = guest.app.account(client).said.length
    this.require(this.given(client).length === said, 4,
      `client ${client} was given the end before all was said`)
  }

  sharedValue(client: number, key: number, value: number): void {
    const known = this.#values.get(`${key} ${value}`)
    this.#values.set(`${key} ${value}`, client)
    if (this.excused || known === undefined) return
    this.#world.fail(4,
      `counter ${key} had the value ${value} for client ${known} and again for client ${client}`)
  }

  isUnverified(client: number): boolean { return this.#unverified.has(client) }

  clientReset(client: Client): void {
    this.#world.count('resets')
    this.#world.trace(() => `client ${client.id} is reset`)
  }

  // ---- the guest

  guestInput(guest: Guest, tcb: Tcb, place: number, bytes: Uint8Array, _fin: boolean): void {
    checkGuestInput(this.#world, tcb, place, bytes)
    this.#pruning.guestInput(guest, tcb)
  }

  execution(guest: Guest, tcb: Tcb): void { checkExecution(this.#world, guest, tcb) }

  guestStarted(guest: Guest): void {
    this.require(!this.#anyReleased, 7,
      `guest ${guest.id} starts from nothing on ${guest.host.name}, after clients `
      + 'were told things')
  }

  standing(_guest: Guest): void { this.#world.count('checkpoints') }

  pathOpen(guest: Guest): void {
    checkOneActive(this.#world, guest)
    checkOpenOrdered(this.#world, guest)
  }

  pathLeads(host: string | undefined): void {
    this.#active = this.#world.hosts.find(one => one.name === host)?.guest
  }

  /** What a kernel has acknowledged must have been read: nobody else has it any more. */
  attaching(tcb: Tcb): void {
    // Of a client that is gone nothing more was read.
    if (this.#world.clients[tcb.client]?.over === true) return
    const { readEnd } = this.#commit.stream(tcb.client)
    this.require(tcb.send.una <= readEnd + 1, 6,
      `output of client ${tcb.client} from ${readEnd} on was acknowledged `
      + `up to ${tcb.send.una} and never read`)
  }

  restoring(host: Host, checkpoint: number, stored: Uint8Array | undefined): void {
    const image = this.#world.images.get(checkpoint)
    const whole = image !== undefined && stored !== undefined && sameBytes(image.bytes, stored)
    this.require(whole, 5, `${host.name} restores checkpoint ${checkpoint}, of which it has not all`)
    if (this.excused) return
    const counted = this.#counted.get(host.name)
    this.require(counted?.checkpoint === checkpoint, 5,
      `${host.name} restores checkpoint ${checkpoint}; the newest that counts is ${counted?.checkpoint ?? 0}`)
  }

  /** An engine whose images build on one another restores the one that it holds; 0 for none. */
  takesAbsorbed(host: Host, checkpoint: number, held: number): void {
    this.require(held === checkpoint, 5, `${host.name} restores checkpoint ${checkpoint}, but holds ${held}`)
  }

  /** An image may build on the one before when that came whole to the backup that it is for. */
  buildsOn(host: Host, last: number | undefined): void {
    const backup = this.#world.hosts.find(({ name }) => name === host.peer)
    this.require(last !== undefined && backup?.images.wasWhole(last) === true, 5,
      `${host.name} builds a checkpoint on ${last ?? 'nothing'}, which ${host.peer ?? 'nobody'} never had`)
  }

  // ---- the log

  backupHolds(_host: string, history: string, firstLsn: number, _lastLsn: number,
    records: readonly Uint8Array[]): void {
    const present = this.#world.gateway.core?.writer.history === history
    this.#history.stored(history, firstLsn, records, (client, place) => {
      if (present) this.#commit.backupHolds(client, place)
    })
  }

  historyBegins(_host: Host, history: string): void {
    this.require(!this.#begun.has(history), 2, `history ${history} begins a second time`)
    this.#begun.add(history)
  }

  pruneOrdered(host: Host, checkpoint: number): void { checkPruneOrdered(this.#world, host, checkpoint) }
  pruned(host: string, log: TailLog, checkpoint: number): void { this.#pruning.pruned(host, log, checkpoint) }

  oldGeneration(host: Host, message: string, orders: number): void {
    this.#world.count('stale')
    this.require(orders === 0, 7, `${host.name} acted on ${message} of an older generation`)
  }

  agentReport(host: Host, report: AgentReport): void {
    if (report.type === 'image-lost') this.#counted.delete(host.name)
    if (report.type !== 'counted' || report.checkpoint === undefined) return
    const { checkpoint } = report
    const image = this.#world.images.get(checkpoint)
    const stored = host.images.bytesOf(checkpoint)
    const whole = image !== undefined && stored !== undefined && sameBytes(image.bytes, stored)
    this.require(whole, 5, `checkpoint ${checkpoint} counts at ${host.name}, which has not all of it`)
    const mark = host.log.markOf(checkpoint)
    this.require(mark === report.lsn, 5, `checkpoint ${checkpoint} counts with a mark that is not in the log`)
    this.#counted.set(host.name, { checkpoint, history: host.log.log?.books.history ?? '' })
  }

  // ---- the gateway

  gatewayDied(): void {
    this.#clients = new Map()
  }

  gatewayReport(report: GatewayReport): void {
    switch (report.type) {
      case 'connection-open': return this.#opened(report.connection)
      case 'connection-end': return this.#ended(report.connection, report.ending)
      case 'history':
        this.#clientsOf.set(report.history, this.#clients)
        return this.#commit.historyBegins()
      case 'mark': return this.#commit.markGiven(report.checkpoint)
      case 'checkpoint-counted': return this.#commit.counted(report.checkpoint)
      case 'served-early':
        this.#world.count('served early')
        this.excused = true
        return
      case 'diverged': return this.#diverged(this.clientOf(report.connection), report.alive, report.reason)
      case 'unverified':
        this.require(this.clientOf(report.connection) >= 0, 4, 'output of nobody is unverified')
        this.#unverified.add(this.clientOf(report.connection))
        return
      case 'failover-done': return this.#failedOver(report.summary)
      default:
    }
  }

  #opened(connection: Connection): void {
    const client = Number(connection.clientAddress.slice(1).split(':')[0])
    this.#clients.set(connection.id, client)
  }

  #ended(connection: Connection, ending: Ending): void {
    this.#world.count(`end ${ending}`)
    const client = this.#world.clients[this.clientOf(connection.id)]
    if (client === undefined) return
    this.#world.trace(() => `gateway: client ${client.id} ends: ${ending}`)
    if (ending === 'guest-reset' && !client.mayBeReset) {
      this.#world.fail(4, `client ${client.id} was reset as if by the guest, which never resets it`)
    }
    if (ending === 'guest-refused' && !this.#world.refused.has(client.id)) {
      this.#world.fail(4, `client ${client.id} was refused, though no guest refused it`)
    }
  }

  #diverged(client: number, alive: boolean, reason: string): void {
    this.#world.trace(() => `gateway: client ${client} diverged (alive ${alive}): ${reason}`)
    this.#world.count('diverged')
    // Whether it had finished in the checkpoint with output on its way, or was reset since, nobody can tell.
    const ambiguous = alive && reason.includes('the restored guest does not know it')
    const excuse = ambiguous ? reason : this.#world.excuseFor(client, alive)
    if (ambiguous) this.#world.count('ambiguous')
    if (excuse === undefined) this.#world.fail(4,
      `client ${client} (alive ${alive}) diverged without a cause: ${reason}`)
    this.excused = true
  }

  #failedOver(summary: FailoverSummary): void {
    this.#world.count('failovers')
    this.#world.failoverEnded(summary)
    const core = this.#world.gateway.core
    const guest = this.#active
    if (core === undefined || guest === undefined) return
    for (const connection of core.dataPath.connections.values()) {
      const client = this.clientOf(connection.id)
      if (!connection.connected || this.#unverified.has(client)) continue
      checkKept(this.#world, guest, client, this.given(client))
    }
  }

  /** Rule 8, every now and then. */
  bounds(): void {
    const { gateway, scenario } = this.#world
    const { core } = gateway
    if (core === undefined) return
    const { settings } = scenario
    const slack = settings.connections * (scenario.gatewayBuffer + 128)
    this.require(core.writer.unacknowledgedBytes <= settings.inFlightBytes + slack, 8,
      'too much log in flight')
    this.require(core.dataPath.heldBytes <= settings.heldBytes + slack, 8, 'too much output is held')
    this.require(core.dataPath.connections.size <= settings.connections, 8, 'too many connections')
  }

  atEnd(): void {
    if (this.#world.gateway.core?.protection.state === 'lost') return
    if (!this.excused && this.#active !== undefined) checkCounters(this.#world, this.#active)
  }
}
