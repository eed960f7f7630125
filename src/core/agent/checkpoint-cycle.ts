import { invariant } from '../../base/invariant.ts'
import type { CheckpointId, HistoryId, HostName, Lsn, Millis, OutputHash } from '../ids.ts'
import { checkpointId, millis, noHistory, outputHash } from '../ids.ts'
import type { AgentLimits, AgentPort, LinkId } from './port.ts'
import type { AgentVoice } from './voice.ts'

/** What of an image has gone to the backup. */
interface Shipped {
  /** The backup was told that it begins: with the first piece, or with the mark. */
  begun: boolean
  bytes: number
  /** Over all pieces so far. */
  crc: OutputHash
}

/*
 * One checkpoint at a primary. The guest stands still between the bars, and runs on there only with a mark or
 * with the checkpoint given up. Pieces of the image may come before and after, not between:
 *
 *   idle → reserving → beginning → | standing | → sending → storing → idle
 *                          └───────────┴────────────┴──→ ending → idle
 */
type Phase =
  | { readonly at: 'idle' }
  /** Its number is being made durable, so that no other life of this agent uses it again. */
  | { readonly at: 'reserving' }
  | {
    readonly at: 'beginning', readonly checkpoint: CheckpointId, readonly shipped: Shipped
    until: Millis
  }
  | {
    readonly at: 'standing', readonly checkpoint: CheckpointId, readonly shipped: Shipped
    readonly until: Millis
  }
  /** The history is the one in which the mark lies. */
  | {
    readonly at: 'sending', readonly checkpoint: CheckpointId, readonly shipped: Shipped
    readonly mark: Lsn, readonly history: HistoryId
    until: Millis
  }
  | {
    readonly at: 'storing', readonly checkpoint: CheckpointId, readonly history: HistoryId
    readonly until: Millis
  }
  /** Given up; the engine has not said yet that it is done with it. `until` undefined: that was reported. */
  | { readonly at: 'ending', readonly checkpoint: CheckpointId, readonly until: Millis | undefined }

const idle: Phase = { at: 'idle' }
/** Numbers are made durable in blocks of this many, so that most checkpoints need no write. */
const numbersReserved = 1024
/** A checkpoint's id is its generation and number: two hosts never give the same. */
const numbersPerGeneration = 2 ** 32
const gatewayGone = 'the link to the gateway is gone'

/** Where a primary's checkpoints go, and how often they begin. */
export interface CyclePlan {
  readonly peer: HostName
  /** '' for nowhere: no checkpoint is made. */
  readonly peerAddress: string
  readonly intervalMs: number
  /** The gateway's history: when another begins, the next checkpoint is due at once. */
  readonly history: HistoryId
}

/** Makes the checkpoints of a guest that runs here. */
export class CheckpointCycle {
  readonly #port: AgentPort
  readonly #voice: AgentVoice
  readonly #limits: AgentLimits
  #plan: CyclePlan | undefined
  #peer: LinkId | undefined
  #phase: Phase = idle
  /** The next number, and the first one that is not yet reserved on disk. */
  #number: number
  #reserved: number
  /** When the last one began; undefined makes the next one due at once. */
  #beganAt: Millis | undefined
  #failures = 0
  #running = false
  /** The last checkpoint is whole at the backup and nothing went wrong since: the next may build on it. */
  #builds = false

  constructor(port: AgentPort, voice: AgentVoice, limits: AgentLimits) {
    this.#port = port
    this.#voice = voice
    this.#limits = limits
    this.#number = voice.state.checkpoints
    this.#reserved = voice.state.checkpoints
  }

  /** The gateway said where checkpoints go. One under way goes on unless its way there changed. */
  assign(now: Millis, plan: CyclePlan): void {
    const before = this.#plan
    const moved = before === undefined || before.peerAddress !== plan.peerAddress || before.peer !== plan.peer
    if (moved && before !== undefined) this.#giveUp(now, 'the backup has changed')
    if (moved) this.#builds = false
    if (moved || before.history !== plan.history) this.#dueAtOnce()
    this.#plan = plan
    if (!moved) return
    this.#peer = undefined
    if (plan.peerAddress === '') this.#port.disconnectPeer()
    else this.#port.connectPeer(plan.peer, plan.peerAddress)
  }

  /** Not a primary any more. */
  stop(now: Millis, reason: string): void {
    if (this.#plan === undefined) return
    this.#giveUp(now, reason)
    this.#builds = false
    this.#plan = undefined
    this.#peer = undefined
    this.#port.disconnectPeer()
  }

  /**
   * The guest runs, or does not any more. An image whose mark has been given may still become whole without
   * it, and would be the newest there is: the engine says whether it does.
   */
  guestRuns(now: Millis, running: boolean): void {
    this.#running = running
    if (running) return
    this.#builds = false
    if (this.#phase.at === 'beginning' || this.#phase.at === 'standing') {
      this.#giveUp(now, 'the guest does not run')
    }
  }

  /**
   * While the guest stands still, nobody is left who could give the mark. Before, the gateway may be back in
   * time, and after it is not needed.
   */
  gatewayLost(now: Millis): void {
    if (this.#phase.at === 'standing') this.#giveUp(now, gatewayGone)
  }

  peerUp(link: LinkId): void {
    if (this.#plan === undefined || this.#plan.peerAddress === '') return
    this.#peer = link
    this.#dueAtOnce()
  }

  peerDown(now: Millis, link: LinkId): void {
    if (link !== this.#peer) return
    this.#giveUp(now, 'the link to the backup is gone')
    this.#peer = undefined
  }

  get next(): Millis | undefined {
    if (this.#phase.at === 'reserving') return undefined
    return this.#phase.at === 'idle' ? this.#nextBegin() : this.#phase.until
  }

  tick(now: Millis): void {
    const next = this.next
    if (next === undefined || now < next) return
    switch (this.#phase.at) {
      case 'idle': return this.#begin(now)
      case 'beginning': return this.#giveUp(now, 'the engine did not bring the guest to a stand in time')
      case 'standing': return this.#giveUp(now, 'no mark came in time')
      case 'sending': return this.#giveUp(now, 'the image made no progress')
      case 'storing': return this.#giveUp(now, 'the backup did not answer in time')
      case 'ending':
        this.#port.report({
          type: 'checkpoint-failed', checkpoint: this.#phase.checkpoint,
          reason: 'the engine does not give the checkpoint up: the guest may stand still; look at the engine'
        })
        this.#phase = { ...this.#phase, until: undefined }
        return
      case 'reserving': return
    }
  }

  /**
   * The gateway's answer while the guest stands still: the only thing that lets it run on as part of a
   * checkpoint.
   */
  marked(now: Millis, history: HistoryId, checkpoint: CheckpointId, mark: Lsn): void {
    const phase = this.#phase
    const peer = this.#peer
    if (phase.at !== 'standing' || phase.checkpoint !== checkpoint || peer === undefined) {
      const reason = 'a mark for a guest that does not stand still for it'
      this.#port.report({ type: 'refused', checkpoint, reason })
      return
    }
    const { shipped } = phase
    const until = millis(now + this.#limits.imageMs)
    this.#phase = { at: 'sending', checkpoint, shipped, mark, history, until }
    this.#port.report({ type: 'checkpoint-mark', checkpoint, lsn: mark })
    this.#port.runOn(checkpoint)
    this.#tellBegun(peer, history, checkpoint, shipped)
  }

  markRefused(now: Millis, checkpoint: CheckpointId, reason: string): void {
    if (this.#phase.at === 'standing' && this.#phase.checkpoint === checkpoint) this.#giveUp(now, reason)
  }

  /** The backup has it whole and it counts. */
  stored(link: LinkId, checkpoint: CheckpointId): void {
    const phase = this.#phase
    if (link !== this.#peer || phase.at !== 'storing' || phase.checkpoint !== checkpoint) return
    this.#phase = idle
    this.#failures = 0
    this.#builds = this.#running
    this.#port.report({ type: 'checkpoint-stored', checkpoint })
  }

  refused(now: Millis, link: LinkId, checkpoint: CheckpointId, reason: string): void {
    const phase = this.#phase
    if (link !== this.#peer || phase.at === 'idle' || phase.at === 'reserving') return
    if (phase.checkpoint !== checkpoint) return
    if (phase.at !== 'storing') return this.#giveUp(now, reason)
    this.#phase = idle
    this.#failed(checkpoint, reason)
    this.#voice.toGateway(phase.history, { type: 'checkpoint-failed', checkpoint, reason })
  }

  /** The first is due at once, the next an interval after that one began; sooner after a failure. */
  #nextBegin(): Millis | undefined {
    const plan = this.#plan
    if (plan === undefined || plan.intervalMs <= 0) return undefined
    if (this.#peer === undefined || !this.#running || this.#voice.gateway === undefined) return undefined
    if (this.#beganAt === undefined) return millis(0)
    const retry = this.#limits.retryMs * 2 ** (this.#failures - 1)
    return millis(this.#beganAt + (this.#failures === 0 ? plan.intervalMs : Math.min(retry, plan.intervalMs)))
  }

  #dueAtOnce(): void {
    this.#beganAt = undefined
    this.#failures = 0
  }

  #begin(now: Millis): void {
    if (this.#number >= this.#reserved) return this.#reserve()
    const checkpoint = checkpointId(this.#voice.state.generation * numbersPerGeneration + this.#number)
    this.#number++
    this.#beganAt = now
    const shipped = { begun: false, bytes: 0, crc: outputHash(0) }
    this.#phase = { at: 'beginning', checkpoint, shipped, until: this.#standsBy(now) }
    this.#port.report({ type: 'checkpoint-begun', checkpoint })
    const request = { builds: this.#builds, periodMs: this.#plan?.intervalMs ?? 0 }
    this.#port.beginCheckpoint(checkpoint, request, {
      standing: at => { this.#standing(at, checkpoint) },
      piece: (at, bytes) => { this.#piece(at, checkpoint, bytes) },
      ended: at => { this.#ended(at, checkpoint) },
      failed: (at, reason) => { this.#engineFailed(at, checkpoint, reason) }
    })
  }

  #reserve(): void {
    const reserved = this.#number + numbersReserved
    this.#phase = { at: 'reserving' }
    this.#voice.persist({ checkpoints: reserved }, () => {
      this.#reserved = reserved
      this.#phase = idle
    })
  }

  /** By when the guest must stand still, or more of the image have come. The engine may keep the interval. */
  #standsBy(now: Millis): Millis {
    return millis(now + this.#limits.engineMs + (this.#plan?.intervalMs ?? 0))
  }

  #standing(now: Millis, checkpoint: CheckpointId): void {
    const phase = this.#phase
    if (phase.at !== 'beginning' || phase.checkpoint !== checkpoint) return
    const until = millis(now + this.#limits.standStillMs)
    this.#phase = { at: 'standing', checkpoint, shipped: phase.shipped, until }
    if (this.#voice.gateway === undefined) return this.#giveUp(now, gatewayGone)
    this.#voice.toGateway(this.#plan?.history ?? noHistory, { type: 'mark-request', checkpoint })
  }

  #piece(now: Millis, checkpoint: CheckpointId, bytes: Uint8Array): void {
    const phase = this.#phase
    if (phase.at === 'idle' || phase.at === 'reserving' || phase.checkpoint !== checkpoint) return
    invariant(phase.at !== 'standing', 'no piece comes while the guest stands still', { checkpoint })
    if (phase.at !== 'beginning' && phase.at !== 'sending' || this.#peer === undefined) return
    const beforeMark = phase.at === 'beginning'
    phase.until = beforeMark ? this.#standsBy(now) : millis(now + this.#limits.imageMs)
    const history = beforeMark ? this.#plan?.history ?? noHistory : phase.history
    const { shipped } = phase
    this.#tellBegun(this.#peer, history, checkpoint, shipped)
    shipped.bytes += bytes.length
    shipped.crc = this.#port.hash(bytes, shipped.crc)
    this.#voice.toPeer(this.#peer, history, { type: 'checkpoint-data', checkpoint, bytes })
  }

  #tellBegun(peer: LinkId, history: HistoryId, checkpoint: CheckpointId, shipped: Shipped): void {
    if (shipped.begun) return
    shipped.begun = true
    this.#voice.toPeer(peer, history, { type: 'checkpoint-begin', checkpoint })
  }

  #ended(now: Millis, checkpoint: CheckpointId): void {
    const phase = this.#phase
    if (phase.at === 'ending' && phase.checkpoint === checkpoint) { this.#phase = idle; return }
    if (phase.at !== 'sending' || phase.checkpoint !== checkpoint || this.#peer === undefined) return
    const { shipped: { bytes, crc }, mark, history } = phase
    this.#phase = { at: 'storing', checkpoint, history, until: millis(now + this.#limits.imageMs) }
    this.#voice.toPeer(this.#peer, history, { type: 'checkpoint-end', checkpoint, mark, bytes, crc })
  }

  #engineFailed(now: Millis, checkpoint: CheckpointId, reason: string): void {
    const phase = this.#phase
    if (phase.at === 'idle' || phase.at === 'reserving' || phase.checkpoint !== checkpoint) return
    if (phase.at !== 'ending') this.#giveUp(now, reason)
    this.#phase = idle
  }

  /**
   * Whatever was under way will not count, unless its end has gone to the backup: then nobody here knows, and
   * the gateway is not told that it failed.
   */
  #giveUp(now: Millis, reason: string): void {
    const phase = this.#phase
    if (phase.at === 'idle' || phase.at === 'reserving' || phase.at === 'ending') return
    const { checkpoint } = phase
    const history = phase.at === 'beginning' || phase.at === 'standing' ? this.#plan?.history : phase.history
    invariant(history !== undefined, 'a checkpoint under way has a plan', { checkpoint })
    this.#failed(checkpoint, reason)
    if (this.#peer !== undefined && (phase.at === 'storing' || phase.shipped.begun)) {
      this.#voice.toPeer(this.#peer, history, { type: 'checkpoint-abort', checkpoint, reason })
    }
    if (phase.at === 'storing') {
      this.#phase = idle
      return
    }
    this.#phase = { at: 'ending', checkpoint, until: millis(now + this.#limits.engineMs) }
    this.#port.abortCheckpoint(checkpoint)
    this.#voice.toGateway(history, { type: 'checkpoint-failed', checkpoint, reason })
  }

  #failed(checkpoint: CheckpointId, reason: string): void {
    this.#failures++
    this.#builds = false
    this.#port.report({ type: 'checkpoint-failed', checkpoint, reason })
  }
}
