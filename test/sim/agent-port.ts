import type {
  AgentPort, AgentReport, AgentState, AppendOutcome, CheckpointEvents, CheckpointRequest, GuestOutcome,
  ImageInfo, LinkId, LogFigures, LogSettings, OpenLogOutcome, Outcome, TailOutcome
} from '../../src/core/agent/port.ts'
import type { CheckpointId, Generation, HistoryId, HostName, Lsn, Millis } from '../../src/core/ids.ts'
import type { AgentMessage, CheckpointMessage, Durability, Envelope } from '../../src/core/message.ts'
import { hash } from './backup-store.ts'
import type { Engine } from './engine.ts'
import type { Host } from './host.ts'
import type { Process } from './process.ts'
import type { World } from './world.ts'

/** What an agent's core is connected to: the simulated host, for one life of the agent. */
export class SimAgentPort implements AgentPort {
  readonly hash = hash
  protected readonly world: World
  protected readonly host: Host
  protected readonly process: Process
  readonly #engine: Engine
  /** Orders that changed something; a refused message must give none. */
  orders = 0
  #stateAt = 0

  constructor(world: World, host: Host, process: Process, engine: Engine) {
    this.world = world
    this.host = host
    this.process = process
    this.#engine = engine
  }

  #order(): void {
    this.orders++
    this.world.hook()
  }

  #now(): Millis { return this.host.clock.now() }

  /** Runs an answer in a later turn, and what the agent then wants. */
  #answer(delay: number, run: () => void): void {
    this.process.after(delay, run)
  }

  sendGateway(link: LinkId, envelope: Envelope, message: AgentMessage): void {
    // To tell who asks with an older generation where the guest is, is not to act for it.
    if (message.type !== 'stale' && message.type !== 'guest') this.orders++
    this.world.hook()
    this.host.sendOn(link, envelope, message)
  }

  closeGateway(link: LinkId, _reason: string): void {
    this.#order()
    this.host.closeLink(link)
  }

  sendPeer(link: LinkId, envelope: Envelope, message: CheckpointMessage): void {
    this.world.hook()
    this.host.sendOn(link, envelope, message)
  }

  connectPeer(name: HostName, _address: string): void {
    this.#order()
    this.host.connectPeer(name)
  }

  disconnectPeer(): void {
    this.#order()
    this.host.connectPeer(undefined)
  }

  persist(state: AgentState, done: (now: Millis) => void): void {
    this.#order()
    this.#stateAt = Math.max(this.#stateAt, this.world.clock.now + this.world.diskDelay())
    this.#answer(this.#stateAt - this.world.clock.now, () => {
      this.host.state = state
      this.world.hook()
      done(this.#now())
    })
  }

  startGuest(done: (now: Millis, outcome: GuestOutcome) => void): void {
    this.#order()
    this.#engine.start(done)
  }

  stopGuest(done: (now: Millis) => void): void {
    this.#order()
    this.#engine.stop(done)
  }

  beginCheckpoint(checkpoint: CheckpointId, request: CheckpointRequest, events: CheckpointEvents): void {
    this.#order()
    this.#engine.begin(checkpoint, request, events)
  }

  runOn(checkpoint: CheckpointId): void {
    this.#order()
    this.#engine.runOn(checkpoint)
  }

  abortCheckpoint(checkpoint: CheckpointId): void {
    this.#order()
    this.#engine.abort(checkpoint)
  }

  restoreGuest(checkpoint: CheckpointId, done: (now: Millis, outcome: GuestOutcome) => void): void {
    this.#order()
    this.#engine.restore(checkpoint, done)
  }

  openNetwork(done: (now: Millis, outcome: Outcome) => void): void {
    this.#order()
    this.#engine.openNetwork(done)
  }

  attached(): void {
    this.#order()
    this.#engine.attached()
  }

  renewLease(remainingMs: number): void {
    this.world.hook()
    this.#engine.renewLease(remainingMs)
  }

  openLog(settings: LogSettings, done: (now: Millis, outcome: OpenLogOutcome) => void): void {
    this.#order()
    const outcome = this.host.log.open(settings)
    this.#answer(this.world.diskDelay(), () => done(this.#now(), outcome))
  }

  beginLog(
    history: HistoryId, generation: Generation, firstLsn: Lsn, done: (now: Millis, outcome: Outcome) => void
  ): void {
    this.#order()
    this.world.checks.historyBegins(this.host, history)
    this.host.log.begin(history, generation, firstLsn, () => done(this.#now(), { ok: true }))
  }

  append(
    firstLsn: Lsn, lastLsn: Lsn, records: readonly Uint8Array[],
      done: (now: Millis, outcome: AppendOutcome) => void
  ): void {
    this.#order()
    this.host.log.append(firstLsn, lastLsn, records, outcome => {
      this.world.hook()
      done(this.#now(), outcome)
    })
  }

  markOf(checkpoint: CheckpointId): Lsn | undefined {
    return this.host.log.markOf(checkpoint)
  }

  pruneLog(checkpoint: CheckpointId, mark: Lsn, done: (now: Millis, outcome: Outcome) => void): void {
    this.#order()
    this.world.checks.pruneOrdered(this.host, checkpoint)
    this.host.log.prune({ checkpoint, lsn: mark }, () => done(this.#now(), { ok: true }))
  }

  readTail(reader: number, bytesMax: number, done: (now: Millis, outcome: TailOutcome) => void): void {
    this.#order()
    this.#answer(this.world.readDelay(), () => {
      done(this.#now(), { ok: true,
        piece: this.host.log.read(reader, Math.min(bytesMax, this.world.scenario.tailBytes)) })
    })
  }

  closeTail(reader: number): void {
    this.host.log.closeReader(reader)
  }

  dropLog(): void {
    this.#order()
    this.host.log.drop()
  }

  logFigures(): LogFigures {
    return this.host.log.figures()
  }

  beginImage(checkpoint: CheckpointId): void {
    this.#order()
    this.host.images.begin(checkpoint)
  }

  imagePiece(checkpoint: CheckpointId, bytes: Uint8Array): void {
    this.#order()
    this.host.images.piece(checkpoint, bytes)
  }

  finishImage(info: ImageInfo, durability: Durability, done: (now: Millis, outcome: Outcome) => void): void {
    this.#order()
    this.#answer(durability === 'disk' ? this.world.diskDelay() : this.world.readDelay(), () => {
      const ok = this.host.images.finish(info, durability === 'disk')
      if (!ok) return done(this.#now(), { ok, reason: 'the image was dropped' })
      if (!this.world.scenario.builds) return done(this.#now(), { ok })
      this.#engine.absorb(info.checkpoint, outcome => done(this.#now(), outcome))
    })
  }

  dropImage(checkpoint: CheckpointId): void {
    this.#order()
    this.host.images.drop(checkpoint)
  }

  report(report: AgentReport): void {
    this.world.agentReport(this.host, report)
  }
}
