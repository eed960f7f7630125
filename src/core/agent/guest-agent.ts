import type { Generation, HistoryId, Millis } from '../ids.ts'
import { millis, noHistory } from '../ids.ts'
import type { Envelope, GatewayMessage, GuestCondition, Message, Role } from '../message.ts'
import { BackupLog } from './backup-log.ts'
import { CheckpointCycle } from './checkpoint-cycle.ts'
import { DurableState } from './durable-state.ts'
import { GuestSlot } from './guest-slot.ts'
import { Heartbeats } from './heartbeats.ts'
import { Images } from './images.ts'
import { isGatewayMessage } from './message-kinds.ts'
import { Obedience } from './obedience.ts'
import { PeerMessages } from './peer-messages.ts'
import type { AgentPort, AgentSettings, AgentState, LinkId } from './port.ts'
import { Promotion, type PromotionOrder } from './promotion.ts'
import { Turnstile } from './turnstile.ts'
import { AgentVoice } from './voice.ts'

type Assign = Extract<GatewayMessage, { type: 'assign' }>
type Promote = Extract<GatewayMessage, { type: 'promote' }>
type Begin = Extract<GatewayMessage, { type: 'begin' }>
type Epoch = Extract<GatewayMessage, { type: 'epoch' }>
/** What changes neither generation nor role. */
type Obeyed = Exclude<GatewayMessage, Assign | Promote | Begin>

const unfinished = 'its promotion was not finished: restore it anew, with failover --accept-loss'

/** A message that waits until what came before it has been made durable. */
interface Waiting {
  readonly link: LinkId
  readonly envelope: Envelope
  readonly message: GatewayMessage
}

/**
 * What one host does for one guest: primary, backup, or nothing. Driven by calls, answering through its port.
 *
 * Three rules stand above all others. A generation, and whom this agent obeys in it, is on disk before it is
 * acted on; an older one, and any other gateway, is answered with `stale`. A guest starts only when a gateway
 * says so: `assign` to a primary with `boot`, or `promote`. And a guest that runs where a newer generation
 * has no primary is ended before that generation gets an answer.
 */
export class GuestAgent {
  readonly #port: AgentPort
  readonly #settings: AgentSettings
  readonly #voice: AgentVoice
  readonly #beats = new Heartbeats()
  readonly #slot: GuestSlot
  readonly #cycle: CheckpointCycle
  readonly #log: BackupLog
  readonly #images: Images
  readonly #peers: PeerMessages
  #promotion: Promotion | undefined
  /** The generation of the promotion under way. */
  #promotedTo: Generation | undefined
  readonly #state: DurableState
  /** The role of this life: whatever is on disk, a restarted agent has none until a gateway gives one. */
  #role: Role = 'idle'
  readonly #obedience: Obedience
  /** The history the gateway spoke of last; a primary's messages carry it. */
  #history: HistoryId = noHistory
  /** The gateway's messages wait here while a write or an ending is under way that they depend on. */
  readonly #turnstile: Turnstile<Waiting>
  /**
   * A guest was found running that no disk says is whole: its agent died before the end of its replay, or
   * before another role had ended it.
   */
  #leftOver: boolean
  /** A primary's assignment that came during its promotion, for when that is done. */
  #afterReplay: Assign | undefined

  constructor(port: AgentPort, settings: AgentSettings) {
    this.#port = port
    this.#settings = settings
    const { limits } = settings
    this.#state = new DurableState(port, settings.state)
    this.#leftOver = settings.condition === 'running' && settings.state.role !== 'primary'
    this.#turnstile = new Turnstile(limits.waitingMax)
    this.#voice = new AgentVoice(port, settings.guest, this.#state)
    this.#obedience = new Obedience(port, this.#voice)
    this.#slot = new GuestSlot(port, settings.condition, settings.endpoints, now => {
      this.#guestChanged(now)
    })
    this.#cycle = new CheckpointCycle(port, this.#voice, limits)
    this.#log = new BackupLog(port, this.#voice, settings.canRestore, {
      changed: now => { this.#logChanged(now) },
      failed: now => { this.#logChanged(now) }
    })
    this.#images = new Images(port, this.#voice, this.#log, {
      ...settings, settled: now => { this.#promotion?.advance(now) }
    })
    this.#peers = new PeerMessages({
      port, voice: this.#voice, cycle: this.#cycle, images: this.#images,
      isBackup: () => this.#role === 'backup' && this.#promotion === undefined
    })
  }

  get role(): Role { return this.#role }
  /** As it is on disk. */
  get generation(): Generation { return this.#state.now.generation }
  get condition(): GuestCondition { return this.#slot.condition }
  get endpoints(): readonly string[] { return this.#slot.endpoints }
  /** What a gateway is told: a guest whose replay nobody goes on with is not there to be served. */
  get #condition(): GuestCondition {
    const { condition } = this.#slot
    const notWhole = this.#leftOver || this.#promotion?.orphaned === true
    return notWhole && condition === 'running' ? 'absent' : condition
  }

  /** A gateway's link is established; it owns nothing before its `assign`. */
  linkUp(_now: Millis, link: LinkId): void {
    this.#obedience.linkUp(link)
  }

  linkDown(now: Millis, link: LinkId): void {
    this.#obedience.linkDown(link)
    this.#turnstile.keep(waiting => waiting.link !== link)
    if (link !== this.#voice.gateway) return
    this.#voice.gateway = undefined
    this.#port.report({ type: 'gateway-lost' })
    this.#beats.stop()
    this.#log.gatewayLost()
    this.#promotion?.gatewayLost()
    this.#cycle.gatewayLost(now)
  }

  /** The link to the backup's agent, which {@link AgentPort.connectPeer} asked for. */
  peerUp(_now: Millis, link: LinkId): void {
    this.#cycle.peerUp(link)
  }

  /** A link to another agent ended, whoever opened it. */
  peerDown(now: Millis, link: LinkId): void {
    this.#peers.down(now, link)
  }

  gatewayMessage(now: Millis, link: LinkId, envelope: Envelope, message: Message): void {
    if (!this.#obedience.has(link)) return
    if (!isGatewayMessage(message)) return this.#refuse(`a gateway sent ${message.type}`)
    const passes = this.#turnstile.free || message.type === 'heartbeat-ack'
    if (passes) return this.#take(now, link, envelope, message)
    if (this.#turnstile.wait({ link, envelope, message })) return
    this.#port.closeGateway(link, 'too many messages wait for this host\'s disk')
    this.linkDown(now, link)
  }

  /** A message of another agent, over whichever link it came. */
  peerMessage(now: Millis, link: LinkId, envelope: Envelope, message: Message): void {
    this.#peers.take(now, link, envelope, message)
  }

  /** The guest failed by itself. */
  guestFailed(now: Millis, reason: string): void {
    this.#slot.failed(now, reason)
  }

  /** The engine has nothing any more that it could restore. The gateway is told at once. */
  imagesLost(now: Millis, reason: string): void {
    if (!this.#images.lost(reason)) return
    this.#beats.hurry(now)
    this.#beat(now)
  }

  /** When {@link tick} wants to be called next; undefined for not before something else happens. */
  nextDeadline(): Millis | undefined {
    const beat = this.#beats.next
    const cycle = this.#cycle.next
    if (beat === undefined || cycle === undefined) return beat ?? cycle
    return millis(Math.min(beat, cycle))
  }

  tick(now: Millis): void {
    this.#beat(now)
    this.#cycle.tick(now)
  }

  #take(now: Millis, link: LinkId, envelope: Envelope, message: GatewayMessage): void {
    const known = this.#state.now.generation
    if (!this.#obedience.admits(link, envelope, message)) {
      // A guest that one gateway is restoring is not there for another.
      const condition = this.#promotion === undefined ? this.#condition : 'absent'
      return this.#obedience.turnAway(link, envelope, message, condition, this.endpoints)
    }
    if (message.type === 'assign') return this.#assign(now, link, envelope, message)
    // An operator who accepts a loss may reach an agent that no gateway could give a role.
    const accepted = message.type === 'promote' && message.acceptLoss && envelope.generation > known
    if (accepted && this.#obedience.lifeOn(link) !== undefined) this.#follow(link)
    if (link !== this.#voice.gateway) return this.#refuse(`${message.type} before an assign on this link`)
    if (message.type === 'begin') return this.#begin(now, envelope, message)
    if (message.type === 'promote') return this.#promote(now, link, envelope, message)
    if (envelope.generation > known) {
      // A heartbeat of before may be acknowledged while the new generation is being written.
      if (message.type === 'heartbeat-ack') return
      return this.#refuse(`${message.type} of a generation that was not announced`)
    }
    this.#obey(now, envelope, message)
  }

  /** Messages of the present generation that change neither it nor the role. */
  #obey(now: Millis, envelope: Envelope, message: Obeyed): void {
    switch (message.type) {
      case 'epoch': return this.#epoch(envelope, message)
      case 'heartbeat-ack': return this.#acknowledged(now, message.n)
      case 'mark':
        this.#history = envelope.history
        return this.#cycle.marked(now, envelope.history, message.checkpoint, message.lsn)
      case 'mark-refused': return this.#cycle.markRefused(now, message.checkpoint, message.reason)
      case 'open-network': case 'tail-credit': case 'replayed': {
        const promotion = this.#promotion
        if (promotion === undefined) return this.#refuse(`${message.type} without a promotion`)
        if (message.type === 'open-network') return promotion.openNetwork(now)
        if (message.type === 'tail-credit') return promotion.credit(message.bytes)
        return this.#replayed(now, promotion)
      }
    }
  }

  /** Who is obeyed is on disk before anything else is done; with a newer generation both are, together. */
  #assign(now: Millis, link: LinkId, envelope: Envelope, message: Assign): void {
    this.#follow(link)
    const { gateway, incarnation } = message
    if (envelope.generation > this.#state.now.generation) return this.#assigned(now, link, envelope, message)
    this.#durably(now, { gateway, incarnation }, at => {
      if (link === this.#voice.gateway) this.#assigned(at, link, envelope, message)
    })
  }

  #assigned(now: Millis, link: LinkId, envelope: Envelope, message: Assign): void {
    const { generation, history } = envelope
    const { gateway, incarnation, role } = message
    const newer = generation > this.#state.now.generation
    if (this.#leftOver && !newer && role === 'primary' && message.served) this.#leftOver = false
    if (this.#leftOver) return this.#clearLeftOver(link, envelope, message)
    // Within one generation the gateway cannot want this guest both alive and gone: it is told, and decides.
    if (!newer && role !== 'primary' && this.#inService()) {
      this.#refuse(`role ${role} for a host whose guest runs in the same generation`)
      this.#beats.start(now, message.heartbeatMs, message.leaseMs)
      this.#tellGuest()
      return
    }
    this.#history = history
    const kept = this.#promotion !== undefined && !newer && role !== 'idle'
    if (kept) return this.#answerDuringPromotion(now, message)
    const started = this.#state.now.started || role === 'primary' && message.boot
    this.#durably(now, { generation, gateway, incarnation, role, started }, at => {
      if (newer) {
        this.#beats.forgetLease()
        this.#cycle.stop(at, `generation ${generation} has begun`)
      }
      const unwanted = role !== 'primary' && !this.#slot.empty
      // Who ordered a restore has the rest of its replay; a newer generation has not.
      const halfReplayed = this.#promotion !== undefined && (newer || !this.#promotion.networkOpen)
      const mustStop = unwanted || halfReplayed
      this.#endPromotion()
      if (!mustStop) return this.#takeRole(at, link, message)
      this.#cycle.stop(at, 'the guest is ended')
      // What is being ended gets no lease any more: heartbeats and their answers go on meanwhile.
      this.#role = 'idle'
      this.#turnstile.hold()
      this.#slot.stop(`generation ${generation} made this host ${role}`, stoppedAt => {
        this.#takeRole(stoppedAt, link, message)
        this.#free(stoppedAt)
      })
    })
  }

  /** Nobody has the rest of its replay any more, and what it is told would not be its clients' truth. */
  #clearLeftOver(link: LinkId, envelope: Envelope, message: Assign): void {
    this.#turnstile.hold()
    this.#slot.stop(unfinished, at => {
      this.#leftOver = false
      if (link === this.#voice.gateway) this.#assign(at, link, envelope, message)
      this.#free(at)
    })
  }

  #follow(link: LinkId): void {
    if (!this.#obedience.follow(link)) return
    this.#log.gatewayLost()
    this.#promotion?.gatewayLost()
  }

  /** A guest that clients may be using, or soon may. A restored one behind a closed network is not. */
  #inService(): boolean {
    if (this.#promotion !== undefined) return this.#promotion.networkOrdered
    if (this.#leftOver) return false
    return this.#slot.condition === 'running' || this.#slot.starting
  }

  /** The gateway's link came back in the middle: the promotion waits for what it says next. */
  #answerDuringPromotion(now: Millis, message: Assign): void {
    this.#beats.start(now, message.heartbeatMs, message.leaseMs)
    this.#beat(now)
    this.#tellGuest()
    this.#afterReplay = message.role === 'primary' ? message : undefined
  }

  #takeRole(now: Millis, link: LinkId, message: Assign): void {
    this.#role = message.role
    this.#port.report({ type: 'role', role: message.role, generation: this.#state.now.generation })
    if (link === this.#voice.gateway) this.#beats.start(now, message.heartbeatMs, message.leaseMs)
    if (message.role === 'primary') this.#becomePrimary(now, message)
    else this.#cycle.stop(now, `the host is ${message.role} now`)
    if (message.role !== 'backup') this.#images.stopReceiving('the host is not a backup any more')
    if (!this.#slot.starting) this.#tellGuest()
    this.#beat(now)
    if (message.role !== 'backup') return
    this.#log.assign({
      durability: message.durability, memoryBytes: message.logMemoryBytes, totalBytes: message.logBytes
    })
    this.#images.tellCounted()
  }

  #becomePrimary(now: Millis, message: Assign): void {
    this.#cycle.assign(now, {
      peer: message.peer, peerAddress: message.peerAddress, intervalMs: message.checkpointMs,
      history: this.#history
    })
    this.#cycle.guestRuns(now, this.#slot.condition === 'running')
    if (this.#beats.remaining(now) === undefined) this.#renewLease(now)
    if (message.boot && this.#slot.empty) this.#slot.start()
  }

  #begin(now: Millis, envelope: Envelope, message: Begin): void {
    if (this.#role !== 'backup' || this.#promotion !== undefined) {
      return this.#refuse('a history begins at a host that is no backup')
    }
    const { generation, history } = envelope
    this.#history = history
    this.#durably(now, { generation }, () => { this.#log.begin(history, generation, message.firstLsn) })
  }

  #epoch(envelope: Envelope, message: Epoch): void {
    if (this.#role !== 'backup' || this.#promotion !== undefined) {
      return this.#refuse('an epoch for a host that is no backup')
    }
    this.#log.epoch(envelope.history, message.firstLsn, message.lastLsn, message.records)
  }

  #promote(now: Millis, link: LinkId, envelope: Envelope, message: Promote): void {
    const { generation, history } = envelope
    // Asked again after the link was away: what was done is told, or will be when it is done.
    if (this.#promotion !== undefined && generation === this.#promotedTo) return this.#promotion.resume()
    const refusal = this.#cannotPromote(generation, message.acceptLoss)
    if (refusal !== undefined) return this.#refusePromotion(history, refusal)
    this.#durably(now, { generation, ...this.#obedience.lifeOn(link) }, at => {
      this.#beats.forgetLease()
      if (!this.#settings.canRestore) {
        return this.#refusePromotion(history, 'the engine of this host cannot restore a checkpoint')
      }
      const order = { history, lastLsn: message.lastLsn, acceptLoss: message.acceptLoss }
      const occupied = this.#promotion !== undefined || !this.#slot.empty
      this.#endPromotion()
      if (!occupied) return this.#startPromotion(now, at, generation, order)
      this.#turnstile.hold()
      this.#slot.stop('a newer generation restores it anew', stoppedAt => {
        this.#leftOver = false
        this.#startPromotion(now, stoppedAt, generation, order)
        this.#free(stoppedAt)
      })
    })
  }

  #cannotPromote(generation: Generation, acceptLoss: boolean): string | undefined {
    const known = this.#state.now.generation
    if (generation <= known) return `generation ${generation} is not newer than ${known}, which is known here`
    if (this.#role === 'backup') return undefined
    // Whatever this host was made since: its images are all there is, and no guest of it is in service.
    if (acceptLoss && !this.#inService()) return undefined
    return `this host is ${this.#role}, not backup`
  }

  #refusePromotion(history: HistoryId, reason: string): void {
    this.#port.report({ type: 'promote-failed', reason })
    this.#voice.toGateway(history, { type: 'promote-failed', reason })
  }

  #startPromotion(askedAt: Millis, now: Millis, generation: Generation, order: PromotionOrder): void {
    this.#images.stopReceiving('the host is being promoted')
    this.#promotedTo = generation
    this.#promotion = new Promotion({
      port: this.#port, voice: this.#voice, log: this.#log, images: this.#images,
      limits: this.#settings.limits,
      events: {
        restored: (at, endpoints) => { this.#slot.run(at, endpoints) },
        networkOpen: at => { this.#renewLease(at) },
        failed: at => { this.#promotionFailed(at) }
      }
    }, order, askedAt)
    // The gateway may have died while its order was made durable: nobody will go on with this promotion.
    if (this.#voice.gateway === undefined) this.#promotion.gatewayLost()
    this.#promotion.advance(now)
  }

  /** Log and images stay: an operator may still accept the loss. Nothing of a guest does. */
  #promotionFailed(now: Millis): void {
    this.#endPromotion()
    if (this.#slot.empty) return
    this.#turnstile.hold()
    this.#slot.stop('its promotion failed', at => { this.#free(at) })
    this.#beat(now)
  }

  #replayed(now: Millis, promotion: Promotion): void {
    if (!promotion.networkOpen) return this.#refuse('replayed before the network is open')
    this.#port.attached()
    this.#durably(now, { role: 'primary' }, at => {
      const assigned = this.#afterReplay
      const { orphaned } = promotion
      this.#endPromotion()
      this.#role = 'primary'
      this.#log.drop()
      this.#images.dropAll()
      this.#port.report({ type: 'replayed', generation: this.#state.now.generation })
      if (orphaned) this.#tellGuest()
      if (assigned !== undefined) this.#becomePrimary(at, assigned)
    })
  }

  #endPromotion(): void {
    this.#promotion?.end()
    this.#promotion = undefined
    this.#afterReplay = undefined
  }

  #guestChanged(now: Millis): void {
    const running = this.#slot.condition === 'running'
    this.#cycle.guestRuns(now, running && this.#role === 'primary')
    if (running) this.#renewLease(now)
    if (this.#slot.condition === 'failed') this.#endPromotion()
    this.#tellGuest()
  }

  #logChanged(now: Millis): void {
    this.#images.review()
    this.#promotion?.advance(now)
  }

  #beat(now: Millis): void {
    if (this.#voice.gateway === undefined) return
    const n = this.#beats.due(now)
    if (n === undefined) return
    const role = this.#role
    const log = role === 'backup' ? this.#images.position() : undefined
    const history = log === undefined ? this.#history : this.#log.history
    this.#voice.toGateway(history, { type: 'heartbeat', n, role, condition: this.#condition, log })
  }

  #acknowledged(now: Millis, n: number): void {
    if (this.#beats.acknowledged(n) && this.#beats.remaining(now) !== undefined) this.#renewLease(now)
  }

  /**
   * Only for a guest that clients may reach: a lease must not open the network of a standby. Until the first
   * one comes in time there is none that could run out: it is shut by one of no length.
   */
  #renewLease(now: Millis): void {
    const open = this.#promotion === undefined ? this.#role === 'primary'
      : this.#promotion.networkOpen && !this.#promotion.orphaned
    if (!open || this.#slot.condition !== 'running' || !this.#beats.leased) return
    this.#port.renewLease(this.#beats.remaining(now) ?? 0)
  }

  #tellGuest(): void {
    const condition = this.#condition
    const { endpoints } = this.#slot
    const reason = condition === this.#slot.condition ? this.#slot.reason : unfinished
    this.#voice.toGateway(this.#history, { type: 'guest', condition, endpoints, reason })
  }

  /** Writes a change of generation or role, and lets nothing of the gateway's pass before it is there. */
  #durably(now: Millis, change: Partial<AgentState>, then: (now: Millis) => void): void {
    if (this.#state.is(change)) return then(now)
    this.#turnstile.hold()
    this.#state.change(change, at => {
      then(at)
      this.#free(at)
    })
  }

  #free(now: Millis): void {
    this.#turnstile.release(({ link, envelope, message }) => {
      if (this.#obedience.has(link)) this.#take(now, link, envelope, message)
    })
  }

  #refuse(reason: string): void {
    this.#port.report({ type: 'refused', reason })
  }
}
