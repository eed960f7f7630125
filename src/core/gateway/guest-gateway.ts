import { invariant } from '../../base/invariant.ts'
import {
  generation, type CheckpointId, type ConnectionId, type Generation, type HostName, type InputOffset,
  type Millis
} from '../ids.ts'
import type { AgentMessage, Envelope, GatewayMessage } from '../message.ts'
import type { StreamEvents, StreamSide } from '../stream.ts'
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
  readonly #port: GatewayPort
  #protection: Protection = { state: 'unprotected', reason: 'it is starting' }
  #state: GatewayState | undefined
  #failover: Failover | undefined
  /** The guest runs and its path is open. */
  #ready = false
  #divergedReason: string | undefined
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
    this.replication = new Replication({
      settings, port, writer: this.writer, dataPath: this.dataPath, hosts: this.hosts,
      send: (host, message) => this.#send(host, message),
      primary: () => this.#serving ? this.active : undefined,
      assignPrimary: () => this.#assignPrimary(),
      // How well a lost guest would be protected is of no interest.
      setProtection: protection => { if (this.#protection.state !== 'lost') this.#setProtection(protection) },
      refuse: (host, reason) => invariant(false, reason, { host })
    })
  }

  get protection(): Protection { return this.#protection }
  get failover(): Failover | undefined { return this.#failover }
  get lastFailover(): FailoverSummary | undefined { return this.#lastFailover }
  /** Why the guest's state may differ from what clients were told; undefined if it does not. */
  get diverged(): string | undefined { return this.#divergedReason }
  get generation(): Generation { return this.#state?.generation ?? generation(0) }
  get active(): Host | undefined {
    return this.#state === undefined ? undefined : this.hosts.get(this.#state.active)
  }

  // ---- life

  /**
   * Starts with what was durable, or undefined. Without it the agents are asked first: a gateway that does
   * not know the generation must not guess it.
   */
  start(state: GatewayState | undefined): void {
    const first = this.settings.hosts[0]
    if (first === undefined) {
      this.#setProtection({ state: 'unprotected', reason: 'it has no hosts: it is only proxied' })
      this.#becomeReady()
    } else if (state === undefined) {
      this.#setProtection({
        state: 'unprotected', reason: 'the generation is not known here: all agents are being asked'
      })
    } else {
      this.#state = state
      this.#setProtection({ state: 'unprotected', reason: `waiting for the agent on ${state.active}` })
    }
  }

  /** A guest without hosts is always there. */
  #becomeReady(): void {
    this.#ready = true
    this.dataPath.thaw()
  }

  tick(now: Millis): void {
    this.#now = now
    const away = this.hosts.tick(now)
    if (away > 0) this.#port.report({ type: 'clock-jump', ms: away })
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

  accept(service: number, client: StreamSide, address: string): StreamEvents | undefined {
    if (this.#protection.state === 'lost') return undefined
    return this.dataPath.accept(service, client, address)
  }

  noteFloor(connection: ConnectionId, floor: InputOffset): void {
    this.dataPath.floors.note(connection, floor)
  }

  // ---- hosts

  linkUp(name: HostName, now: Millis): void {
    this.#now = now
    const host = this.#host(name)
    host.linked = true
    if (this.#state === undefined) this.#assign(host, 'idle')
    else if (host === this.active) this.#assignPrimary()
    else if (this.#failover === undefined) {
      if (!this.#lostForGood) this.replication.linkUp(host, now)
    } else if (host === this.#failover.to) {
      this.replication.assignBackup(host)
      this.#failover.committed()
    }
  }

  linkDown(name: HostName, now: Millis): void {
    this.#now = now
    const host = this.#host(name)
    host.linked = false
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
    if (envelope.generation > this.generation) return this.#newer(host, envelope.generation, message)
    if (envelope.generation < this.generation && message.type !== 'heartbeat') {
      this.#port.report({ type: 'stale-message', host: name, generation: envelope.generation })
      return
    }
    this.#dispatch(host, envelope, message, now)
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
        if (host === this.#failover?.to) this.#failover.message(message)
        return
      case 'stale': return this.#answered(host)
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
    this.#answered(host)
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
    host.heard = now
    host.condition = message.condition
    this.#answered(host)
    if (host !== this.active || this.#failover !== undefined) return
    if (message.condition === 'running') this.#running(message.endpoints)
    else if (!this.#ready) this.#notRunning(host, message.reason)
  }

  /** A guest that ran once is not started from nothing: a person must say what is to be restored. */
  #notRunning(host: Host, why: string): void {
    const reason = `the guest does not run on ${host.name}${why === '' ? '' : `: ${why}`}`
    if (this.#state?.started === true) this.#setProtection({ state: 'lost', reason })
    else if (why !== '') this.#setProtection({ state: 'unprotected', reason })
  }

  #running(endpoints: readonly string[]): void {
    if (this.#ready || this.#lostForGood || this.#state === undefined) return
    this.#ready = true
    this.#port.openPath(endpoints)
    if (this.#state.started) return this.#serve()
    // A gateway that forgot that clients were served would start the guest from nothing after its death.
    this.#state = { ...this.#state, started: true }
    this.#port.persist(this.#state, () => { if (this.#serving) this.#serve() })
  }

  #serve(): void {
    this.#setProtection({ state: 'unprotected', reason: 'no backup is linked' })
    this.dataPath.thaw()
    this.replication.look(this.#now)
  }

  #position(host: Host, envelope: Envelope, message: AgentMessage & { type: 'position' }): void {
    if (this.#failover === undefined) this.replication.position(host, envelope, message.lastLsn)
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

  /** An agent knows a generation that this gateway does not: another gateway has promoted since. */
  #newer(host: Host, newer: Generation, message: AgentMessage): void {
    if (this.#state === undefined) {
      if (message.type === 'guest') host.condition = message.condition
      this.#answered(host)
      return
    }
    const reason = `${host.name} knows generation ${newer}, this gateway ${this.generation}: `
      + 'another gateway is in charge'
    this.#failover?.abort()
    this.#failover = undefined
    this.#lostForGood = true
    this.#setProtection({ state: 'lost', reason })
    this.dataPath.freeze()
  }

  // ---- the first start

  /** An agent has answered. Once all have, the generation and the active host follow. */
  #answered(host: Host): void {
    if (this.#state !== undefined) return
    host.heard = this.#now
    const all = [...this.hosts.all()]
    if (all.some(other => other.heard === undefined)) return
    const highest = Math.max(...all.map(other => other.generation ?? 0))
    const active = highest === 0
      ? all[0]
      : all.find(other => other.generation === highest && other.condition === 'running')
    if (active === undefined) return
    this.#state = { generation: generation(Math.max(1, highest)), active: active.name, started: highest > 0 }
    this.#port.persist(this.#state, () => this.#assignPrimary())
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
    this.replication.assignBackup(to)
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
      adopt: state => { this.#state = state },
      done: summary => this.#failedOver(summary),
      lost: reason => this.#lose(reason),
      diverged: reason => this.#diverge(reason)
    }, { ...start, generation: generation(this.generation + 1), now: this.#now })
    this.#failover = failover
    failover.begin()
  }

  #tellFailover(): void {
    const failover = this.#failover
    if (failover === undefined) return
    this.#setProtection({
      state: 'failing-over', phase: failover.phase, reason: failover.reason, blocked: failover.blocked
    })
  }

  #failedOver(summary: FailoverSummary): void {
    this.#failover = undefined
    this.#lostForGood = false
    this.#triedForLoss.clear()
    this.#lastFailover = summary
    this.replication.reset()
    this.dataPath.gate.releaseCheckpointMode()
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
    if (this.#divergedReason !== undefined && this.settings.onDivergence === 'reset-all') {
      this.dataPath.killAll('reset-all')
    }
    this.replication.look(this.#now)
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
    this.#divergedReason ??= reason
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

  #assign(host: Host, role: 'primary' | 'idle'): void {
    const { settings } = this
    const backup = this.writer.running ? this.replication.backup : undefined
    this.#send(host.name, {
      type: 'assign', role, boot: role === 'primary' && this.#state?.started === false,
      served: role === 'primary' && this.#serving,
      peer: backup?.name ?? '' as HostName, peerAddress: backup?.settings.address ?? '',
      checkpointMs: settings.checkpointMs, heartbeatMs: settings.heartbeatMs,
      leaseMs: settings.hosts.length > 1 ? settings.leaseMs : 0,
      durability: settings.durability, logMemoryBytes: settings.logMemoryBytes, logBytes: settings.logBytes
    })
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
