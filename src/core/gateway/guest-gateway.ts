import { invariant } from '../../base/invariant.ts'
import {
  generation, type CheckpointId, type ConnectionId, type Generation, type HostName, type InputOffset,
  type Millis
} from '../ids.ts'
import type { AgentMessage, Envelope, GatewayMessage, Role } from '../message.ts'
import type { StreamEvents, StreamSide } from '../stream.ts'
import { assignment } from './assignment.ts'
import { Command } from './command.ts'
import type { ClientAddress } from './connection.ts'
import { DataPath } from './data-path.ts'
import { Failover, type FailoverStart } from './failover.ts'
import { Hosts, type Host } from './hosts.ts'
import { LogWriter } from './log-writer.ts'
import type { FailoverSummary, GatewayPort, GatewayState } from './port.ts'
import type { Protection } from './protection.ts'
import { Replication } from './replication.ts'
import type { GuestSettings } from './settings.ts'

/** Floors logged per heartbeat, so that a mark has few to log. */
const floorsPerTick = 1024

/** What an operator may be told when a failover is asked for. */
export type FailoverRequest =
  | { readonly accepted: true }
  | { readonly accepted: false, readonly reason: string }

/**
 * One guest's replication group, as the gateway sees it: the part that decides. It does no I/O and reads no
 * clock; a shell calls it with what happened and does what it asks of its port, and so does the simulator.
 */
export class GuestGateway {
  readonly settings: GuestSettings
  readonly writer: LogWriter
  readonly dataPath: DataPath
  readonly hosts: Hosts
  readonly replication: Replication
  readonly #command: Command
  readonly #port: GatewayPort
  #protection: Protection = { state: 'unprotected', reason: 'it is starting' }
  #failover: Failover | undefined
  /** The guest runs and its path is open. */
  #ready = false
  /** The failover under way found a divergence, or the last one did. */
  #failoverDiverged = false
  /** Lost because of what was decided, not of a silence that may end. */
  #lostForGood = false
  /** Hosts that were asked to restore what there is since the guest last ran. */
  readonly #triedForLoss = new Set<Host>()
  #lastFailover: FailoverSummary | undefined
  #now: Millis

  constructor(settings: GuestSettings, port: GatewayPort, now: Millis) {
    this.settings = settings
    this.#port = port
    this.#now = now
    this.writer = new LogWriter({
      epochBytes: settings.epochBytes, inFlightBytes: settings.inFlightBytes,
      gathering: () => port.flushSoon(),
      send: (_history, epoch) => this.#sendEpoch(epoch)
    })
    this.dataPath = new DataPath(settings, port, this.writer)
    this.hosts = new Hosts(settings)
    // A gateway of before may have granted leases until a moment ago.
    for (const host of this.hosts.all()) this.hosts.grantLease(host, now)
    this.#command = new Command({
      settings, port, hosts: this.hosts,
      assignIdle: host => this.#assign(host, 'idle'),
      waits: reason => this.#setProtection({ state: 'unprotected', reason }),
      inCharge: () => this.#assignPrimary(),
      displaced: reason => this.#displaced(reason),
      refused: host => this.#refused(host)
    })
    this.replication = new Replication({
      settings, port, writer: this.writer, dataPath: this.dataPath, hosts: this.hosts,
      send: (host, message) => this.#send(host, message),
      primary: () => this.#serving ? this.active : undefined,
      assignPrimary: () => this.#assignPrimary(),
      assignBackup: host => this.#assign(host, 'backup'),
      // How well a lost guest would be protected is of no interest.
      setProtection: protection => { if (this.#protection.state !== 'lost') this.#setProtection(protection) },
      refuse: (host, reason) => invariant(false, reason, { host })
    })
  }

  get protection(): Protection { return this.#protection }
  get failover(): Failover | undefined { return this.#failover }
  get lastFailover(): FailoverSummary | undefined { return this.#lastFailover }
  /** Why the guest's state may differ from what clients were told; undefined if it does not. */
  get diverged(): string | undefined { return this.#command.state?.diverged }
  get generation(): Generation { return this.#command.generation }
  get active(): Host | undefined { return this.#command.active }

  // ---- life

  /** Starts with what was durable, or undefined. */
  start(state: GatewayState | undefined): void {
    const first = this.settings.hosts[0]
    if (first === undefined) {
      this.#setProtection({ state: 'unprotected', reason: 'it has no hosts: it is only proxied' })
      this.#becomeReady()
    } else this.#command.start(state)
  }

  /** A guest without hosts is always there. */
  #becomeReady(): void {
    this.#ready = true
    this.dataPath.thaw()
  }

  tick(now: Millis): void {
    this.#now = now
    const away = this.hosts.tick(now)
    if (away > 0) {
      this.#port.report({ type: 'clock-jump', ms: away })
      this.#failover?.excuse(now)
    }
    this.#command.tick(now)
    this.dataPath.retryDials()
    this.dataPath.recheckBacklogs()
    if (this.writer.running && this.#failover === undefined) {
      this.dataPath.floors.log(floorsPerTick)
      this.writer.flush()
    }
    if (this.#failover !== undefined) this.#failover.tick(now)
    else this.#watchPrimary(now)
    if (this.#failover === undefined) this.replication.tick(now)
  }

  /** At the end of a turn in which events were logged. */
  flush(): void {
    this.writer.flush()
  }

  accept(service: number, client: StreamSide, address: ClientAddress): StreamEvents | undefined {
    if (this.#protection.state === 'lost') return undefined
    return this.dataPath.accept(service, client, address)
  }

  noteFloor(connection: ConnectionId, floor: InputOffset): void {
    this.dataPath.floors.note(connection, floor)
    this.#failover?.replay?.noteFloor(connection, floor)
  }

  // ---- hosts

  linkUp(name: HostName, now: Millis): void {
    this.#now = now
    const host = this.#host(name)
    host.linked = true
    if (!this.#command.linkUp(host)) return
    if (host === this.active) this.#assignPrimary()
    else if (this.#failover === undefined) {
      if (!this.#lostForGood) this.replication.linkUp(host, now)
    } else if (host === this.#failover.to) {
      this.#assign(host, 'backup')
      this.#failover.committed()
    }
  }

  linkDown(name: HostName, now: Millis): void {
    this.#now = now
    const host = this.#host(name)
    host.linked = host.refuses = false
    this.replication.linkDown(host, now)
    this.#failover?.linkDown(host)
    if (this.#protection.state === 'unprotected' && this.#ready && this.#failover === undefined) {
      this.replication.look(now)
    }
  }

  message(name: HostName, envelope: Envelope, message: AgentMessage, now: Millis): void {
    this.#now = now
    const host = this.#host(name)
    host.generation = envelope.generation
    if (this.#command.admits(host, envelope, message, now)) this.#dispatch(host, envelope, message, now)
  }

  #dispatch(host: Host, envelope: Envelope, message: AgentMessage, now: Millis): void {
    switch (message.type) {
      case 'heartbeat': return this.#heartbeat(host, envelope, message, now)
      case 'guest': return this.#guest(host, message, now)
      case 'position': return this.#position(host, envelope, message)
      case 'ack': return this.#acknowledged(host, envelope, message)
      case 'mark-request':
        this.#port.afterReads(() => this.#mark(host, envelope, message.checkpoint))
        return
      case 'checkpoint-failed':
        if (host === this.active) this.replication.checkpointFailed(message.checkpoint, message.reason)
        return
      case 'counted':
        if (this.#failover === undefined) this.replication.counted(host, envelope, message)
        return
      case 'log-failed':
        if (this.#failover === undefined) this.replication.logFailed(host, message.reason, now)
        return
      case 'promoted': case 'promote-failed': case 'network-open': case 'tail': case 'tail-end':
        if (host === this.#failover?.to) this.#failover.message(now, message)
        return
      case 'stale': // Dealt with by who knows what it says of the command.
    }
  }

  /**
   * The guest stands still: everything it has said so far is read before its mark is logged, so that the log
   * knows the hash at just the place where the checkpoint has each output. Where it does not, what a restored
   * guest says again cannot be compared at once.
   */
  #mark(host: Host, envelope: Envelope, checkpoint: CheckpointId): void {
    if (host !== this.active || this.#failover !== undefined
      || envelope.generation !== this.generation) return
    this.replication.markRequest(host, envelope, checkpoint)
  }

  #heartbeat(
    host: Host, envelope: Envelope, message: AgentMessage & { type: 'heartbeat' }, now: Millis
  ): void {
    this.hosts.heartbeat(host, message, now)
    if (this.#failover === undefined) this.replication.holds(host, envelope, message.log)
    if (!this.#mayRenew(host, envelope)) return
    if (host === this.active) {
      this.hosts.grantLease(host, now)
      this.#foundAgain(host)
    }
    this.#send(host.name, { type: 'heartbeat-ack', n: message.n })
  }

  /** A primary that is being failed over from gets no lease any more; the one that takes over does. */
  #mayRenew(host: Host, envelope: Envelope): boolean {
    if (host !== this.active) return true
    if (this.#lostForGood && this.#failover === undefined) return false
    const leaving = this.#failover !== undefined && this.#failover.to !== host
    return !leaving && envelope.generation === this.generation
  }

  /** The primary of a guest taken for lost speaks again, and its guest still runs: nothing was lost. */
  #foundAgain(host: Host): void {
    if (this.#protection.state !== 'lost' || this.#lostForGood || host.condition !== 'running') return
    this.#setProtection({ state: 'unprotected', reason: `${host.name} is back` })
    this.dataPath.thaw()
    this.replication.look(this.#now)
    this.replication.tell()
  }

  #guest(host: Host, message: AgentMessage & { type: 'guest' }, now: Millis): void {
    this.hosts.heardOf(host, now)
    host.condition = message.condition
    if (host !== this.active || this.#failover !== undefined) return
    if (message.condition === 'running') this.#running(message.endpoints)
    else if (!this.#ready) this.#notRunning(host, message.reason)
  }

  /** A guest that ran once is not started from nothing: a person must say what is to be restored. */
  #notRunning(host: Host, why: string): void {
    const reason = `the guest does not run on ${host.name}${why === '' ? '' : `: ${why}`}`
    if (this.#command.state?.started === true) this.#setProtection({ state: 'lost', reason })
    else if (why !== '') this.#setProtection({ state: 'unprotected', reason })
  }

  #running(endpoints: readonly string[]): void {
    if (this.#ready || this.#lostForGood) return
    this.#ready = true
    this.#port.openPath(endpoints)
    if (this.#command.state?.started === true) return this.#serve()
    // A gateway that forgot that clients were served would start the guest from nothing after its death.
    this.#command.change({ started: true }, () => { if (this.#serving) this.#serve() })
  }

  #serve(): void {
    this.#setProtection({ state: 'unprotected', reason: 'no backup is linked' })
    this.dataPath.thaw()
    this.replication.look(this.#now)
  }

  #position(host: Host, envelope: Envelope, message: AgentMessage & { type: 'position' }): void {
    if (this.#failover === undefined) this.replication.position(host, envelope, message)
    else if (host === this.#failover.to && this.writer.running && envelope.history === this.writer.history) {
      if (this.writer.resume(message.lastLsn)) this.#failover.committed()
    }
  }

  #acknowledged(host: Host, envelope: Envelope, message: AgentMessage & { type: 'ack' }): void {
    if (!this.writer.running || envelope.history !== this.writer.history) return
    if (this.#failover === undefined) {
      if (host === this.replication.backup) this.replication.acknowledge(message.lsn)
    } else if (host === this.#failover.to) {
      this.writer.acknowledge(message.lsn)
      this.writer.flush()
      this.dataPath.committed(this.writer.committed)
      this.#failover.committed()
    }
  }

  /** Another gateway is in charge, which may serve other clients from the same guest, or from another one. */
  #displaced(reason: string): void {
    this.dataPath.freeze()
    this.#lose(reason)
    this.dataPath.takeHeld()
  }

  /** A host obeys another gateway. */
  #refused(host: Host): void {
    host.refuses = true
    if (this.#failover === undefined) return this.replication.refused(host, this.#now)
    // An operator who accepts a loss makes a generation that it obeys whatever gateway it is of.
    if (host !== this.#failover.to || this.#failover.acceptLoss) return
    this.#lose(`${host.name} obeys another gateway in this generation`)
  }

  // ---- failover

  #watchPrimary(now: Millis): void {
    const active = this.active
    if (active === undefined || !this.#ready || this.#protection.state === 'lost') return
    const suspicion = this.hosts.suspicion(active, now)
    if (suspicion !== undefined) this.#primaryFailed(active, suspicion)
  }

  #primaryFailed(active: Host, reason: string): void {
    const backup = this.replication.backup
    if (backup !== undefined && this.replication.protected) {
      this.#begin({ from: active, to: backup, reason, acceptLoss: false, vouched: false })
      return
    }
    this.dataPath.freeze()
    const was = this.#protection.state === 'syncing' ? 'syncing' : 'unprotected'
    this.#setProtection({ state: 'lost', reason: `${reason}, while ${was}` })
  }

  /** An operator asks for a failover, or vouches in one that waits for the old primary to be off. */
  requestFailover(acceptLoss: boolean, now: Millis): FailoverRequest {
    this.#now = now
    if (this.#failover !== undefined) {
      this.#failover.vouch()
      return { accepted: true }
    }
    const active = this.active
    if (active === undefined) return { accepted: false, reason: 'the guest has no active host' }
    if (!this.#command.isInCharge) {
      const { protection } = this
      return { accepted: false, reason: 'reason' in protection ? protection.reason : protection.state }
    }
    const { backup } = this.replication
    if (this.replication.protected && backup !== undefined && !acceptLoss) {
      this.#begin({ from: active, to: backup, reason: 'an operator asked', acceptLoss, vouched: false })
      return { accepted: true }
    }
    if (!acceptLoss) {
      const { state } = this.#protection
      return { accepted: false, reason: `the guest is ${state}; --accept-loss restores what there is` }
    }
    return this.#failWithLoss(active)
  }

  /**
   * Restores what there is, wherever it is: also on the active host, if its promotion came to nothing. A host
   * that could not is asked again only after the others.
   */
  #failWithLoss(active: Host): FailoverRequest {
    const candidates = [...this.hosts.all()].filter(host => host.linked
      && (host !== active || host.condition === 'absent' && host.heard !== undefined))
    if (candidates.every(host => this.#triedForLoss.has(host))) this.#triedForLoss.clear()
    const left = candidates.filter(host => !this.#triedForLoss.has(host))
    const to = left.find(host => (host.log?.checkpoint ?? 0) > 0)
      ?? left.find(host => host !== active) ?? left[0]
    if (to === undefined) return { accepted: false, reason: 'no host is linked that could restore it' }
    this.#triedForLoss.add(to)
    this.#assign(to, 'backup')
    const vouched = to === active || this.#protection.state === 'lost' && this.#now > active.leaseUntil
    this.#begin({ from: active, to, reason: 'an operator accepted the loss', acceptLoss: true, vouched })
    return { accepted: true }
  }

  #begin(start: Omit<FailoverStart, 'generation' | 'now'>): void {
    const failover = new Failover({
      settings: this.settings, port: this.#port, writer: this.writer, dataPath: this.dataPath,
      hosts: this.hosts,
      send: (host, message) => this.#send(host, message),
      changed: () => this.#tellFailover(),
      promotion: (next, to) => this.#command.promotion(next, to),
      adopt: state => this.#command.adopt(state),
      done: summary => this.#failedOver(summary),
      lost: reason => this.#lose(reason),
      diverged: reason => this.#diverge(reason)
    }, { ...start, generation: generation(this.generation + 1), now: this.#now })
    this.#failover = failover
    this.#failoverDiverged = false
    failover.begin()
  }

  #tellFailover(): void {
    const failover = this.#failover
    if (failover === undefined) return
    this.#setProtection({
      state: 'failing-over', phase: failover.phase, reason: failover.reason, blocked: failover.blocked
    })
  }

  #failedOver(replayed: FailoverSummary): void {
    this.#failover = undefined
    this.#lostForGood = false
    this.#triedForLoss.clear()
    this.replication.reset()
    this.dataPath.gate.releaseCheckpointMode()
    const summary = this.#lastFailover = this.#resetAllDiverged(replayed)
    this.#ready = true
    const active = this.active
    if (active !== undefined) {
      active.heard = this.#now
      active.condition = 'running'
    }
    this.#setProtection({ state: 'unprotected', reason: 'it has just failed over; no backup is synced' })
    this.#port.report({ type: 'failover-done', summary })
    this.#assignPrimary()
    this.dataPath.thaw()
    this.replication.look(this.#now)
  }

  /** Others may have been told of what one connection diverged in; who came meanwhile was told nothing. */
  #resetAllDiverged(summary: FailoverSummary): FailoverSummary {
    if (!this.#failoverDiverged || this.settings.onDivergence !== 'reset-all') return summary
    const reset = this.dataPath.killClients('reset-all')
    return { ...summary, kept: Math.max(0, summary.kept - reset), reset: summary.reset + reset }
  }

  #lose(reason: string): void {
    this.#failover?.abort()
    this.#failover = undefined
    this.replication.reset()
    this.dataPath.killAll('lost')
    this.dataPath.killWaiting('lost')
    this.#lostForGood = true
    this.#setProtection({ state: 'lost', reason })
  }

  #diverge(reason: string): void {
    this.#failoverDiverged = true
    if (this.diverged === undefined) this.#command.change({ diverged: reason }, () => undefined)
    if (this.settings.onDivergence === 'stop') this.#lose(`the guest diverged: ${reason}`)
  }

  /** Clients are served from the guest that runs on the active host, and its promotion is behind it. */
  get #serving(): boolean {
    return this.#ready && this.#failover === undefined && this.#protection.state !== 'lost'
  }

  // ---- messages out

  #assignPrimary(): void {
    const active = this.active
    if (active?.linked === true) this.#assign(active, 'primary')
  }

  #assign(host: Host, role: Role): void {
    const isPrimary = role === 'primary'
    this.#send(host.name, assignment(this.settings, this.#command.life, {
      role, boot: isPrimary && this.#command.state?.started === false, served: isPrimary && this.#serving,
      backup: isPrimary && this.writer.running ? this.replication.backup : undefined
    }))
  }

  #sendEpoch(epoch: { firstLsn: number, lastLsn: number, records: readonly Uint8Array[] }): void {
    const to = this.#failover?.to ?? this.replication.backup
    if (to === undefined) return
    const { firstLsn, lastLsn, records } = epoch as Extract<GatewayMessage, { type: 'epoch' }>
    this.#send(to.name, { type: 'epoch', firstLsn, lastLsn, records })
  }

  #send(host: HostName, message: GatewayMessage): void {
    const envelope: Envelope = {
      guest: this.settings.name, generation: this.generation, history: this.writer.history
    }
    this.#port.send(host, envelope, message)
  }

  #host(name: HostName): Host {
    const host = this.hosts.get(name)
    invariant(host !== undefined, 'a host of the guest', { name })
    return host
  }

  #setProtection(protection: Protection): void {
    this.#protection = protection
    this.#port.report({ type: 'protection', protection })
  }
}
