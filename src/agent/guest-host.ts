import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { TailgateError, messageOf } from '../base/errors.ts'
import { rethrowInvariant } from '../base/invariant.ts'
import { millis, outputHash, type Hash, type Millis } from '../core/ids.ts'
import type { Durability, Envelope, Message } from '../core/message.ts'
import { GuestAgent } from '../core/agent/guest-agent.ts'
import {
  defaultAgentLimits, type AgentPort, type AgentReport, type AgentState, type ImageInfo, type LinkId,
  type LogFigures, type Outcome
} from '../core/agent/port.ts'
import type { AgentConfig } from '../config/types.ts'
import type { Engine } from '../engine/engine.ts'
import type { LinkSelf } from '../link/greeting.ts'
import type { Logger } from '../observe/logger.ts'
import { AgentStateFile } from './agent-state.ts'
import { Alarm } from './alarm.ts'
import { CheckpointPump } from './checkpoint-pump.ts'
import { EngineOrders } from './engine-orders.ts'
import { ImageStore } from './image-store.ts'
import type { Links } from './links.ts'
import { LogKeeper } from './log-keeper.ts'
import { PeerLink } from './peer-link.ts'

export interface GuestHostOptions {
  readonly guest: string
  readonly config: AgentConfig
  readonly engine: Engine
  readonly self: LinkSelf
  readonly links: Links
  readonly logger: Logger
  readonly observer: GuestObserver
  /** Something without which this host must not go on: its state cannot be written, its guest not ended. */
  fatal(error: unknown): void
}

/** Who is told what happens to one guest. */
export interface GuestObserver {
  report(report: AgentReport, now: Millis): void
  lease(remainingMs: number): void
  shipped(bytes: number): void
  stored(bytes: number): void
  appended(bytes: number): void
  fsynced(ms: number): void
  /** The guest stood still for a mark, for so long; pages written since the one before, where known. */
  paused(ms: number, dirtyPages?: number): void
  pruned(bytes: number): void
  /** A timer came so much later than it was set for. */
  late(ms: number): void
  cut(bytes: number, lastLsn: number): void
}

const hash: Hash = (bytes, previous) => outputHash(crc32(bytes, previous))

/** One guest of this agent: the core and everything it gives orders to. */
export class GuestHost {
  readonly core: GuestAgent
  readonly log: LogKeeper
  readonly #options: GuestHostOptions
  readonly #images: ImageStore
  readonly #state: AgentStateFile
  readonly #orders: EngineOrders
  readonly #peer: PeerLink
  readonly #alarm: Alarm
  /** The link that brings checkpoints, and the one that is held because the disk is behind. */
  #source: LinkId | undefined
  #held: LinkId | undefined
  #pump: CheckpointPump | undefined
  #stopped = false

  private constructor(
    options: GuestHostOptions, parts: {
      readonly images: ImageStore, readonly state: AgentStateFile
      readonly known: AgentState, readonly directory: string
    }
  ) {
    const { guest, engine, config, links, self, logger } = options
    this.#options = options
    this.#images = parts.images
    this.#state = parts.state
    this.log = new LogKeeper(parts.directory)
    this.#orders = new EngineOrders(engine)
    this.#alarm = new Alarm(now, lateMs => {
      options.observer.late(lateMs)
      this.#tell(at => { this.core.tick(at) })
    })
    this.#peer = new PeerLink(links, self, logger, {
      up: link => { this.#tell(at => { this.core.peerUp(at, link) }) },
      message: (link, envelope, message) => { this.peerMessage(link, envelope, message) },
      down: link => { this.peerDown(link) }
    })
    this.core = new GuestAgent(this.#port(), {
      guest, canRestore: engine.canRestore, absorbs: engine.absorb !== undefined, state: parts.known,
      condition: engine.condition, endpoints: engine.endpoints, images: parts.images.images,
      limits: { ...defaultAgentLimits, imageBytesMax: config.limits.imageBytes }
    })
    engine.onPaused = (ms, dirtyPages) => { options.observer.paused(ms, dirtyPages) }
    engine.onFailure = reason => { this.#tell(at => { this.core.guestFailed(at, reason) }) }
    if (engine.absorb !== undefined) {
      engine.onStandbyLost = reason => { this.#tell(at => { this.core.imagesLost(at, reason) }) }
    }
    this.#images.onBacklog = hold => { this.#holdSource(hold) }
    this.log.onRecovery = ({ torn, lastLsn }) => {
      if (torn !== undefined) options.observer.cut(torn.bytes, lastLsn)
    }
  }

  /** Opens what there is of a guest on disk. Rejects with E_STATE and E_DISK. Starts no guest. */
  static async open(options: GuestHostOptions): Promise<GuestHost> {
    const { engine, guest } = options
    const directory = guestDirectory(options.config, guest)
    const state = new AgentStateFile(directory)
    const known = await state.read()
    // What an engine has absorbed it holds in this process or in one that ends with it.
    const found = engine.absorb === undefined ? 'keep' : 'remove'
    const { store, removed } = await ImageStore.open(join(directory, 'images'), found)
    const why = found === 'keep' ? 'is torn' : 'can be restored by no other life of this agent'
    for (const name of removed) {
      options.observer.report({ type: 'image-refused', reason: `${name} ${why} and was removed` }, now())
    }
    await takeUp(engine, known)
    return new GuestHost(options, { images: store, state, known, directory })
  }

  gatewayUp(link: LinkId): void {
    this.#tell(at => { this.core.linkUp(at, link) })
  }

  gatewayDown(link: LinkId): void {
    this.#tell(at => { this.core.linkDown(at, link) })
  }

  gatewayMessage(link: LinkId, envelope: Envelope, message: Message): void {
    this.#tell(at => { this.core.gatewayMessage(at, link, envelope, message) })
  }

  peerMessage(link: LinkId, envelope: Envelope, message: Message): void {
    if (message.type === 'checkpoint-begin') this.#source = link
    this.#tell(at => { this.core.peerMessage(at, link, envelope, message) })
  }

  peerDown(link: LinkId): void {
    this.#tell(at => { this.core.peerDown(at, link) })
  }

  /** Ends it, and the guest with it where the engine's guest cannot be without its agent. */
  stop(): Promise<void> {
    return this.#end(() => this.#orders.stop())
  }

  /** Ends it before anything was ordered: a guest that was found runs on, and nobody reaches it. */
  release(): Promise<void> {
    return this.#end(() => this.#orders.release())
  }

  async #end(endGuest: () => Promise<unknown>): Promise<void> {
    this.#stopped = true
    this.#alarm.set(undefined)
    this.#pump?.abort()
    this.#peer.disconnect()
    await endGuest()
    await this.#images.close()
    await this.log.close()
  }

  /** Everything that reaches the core passes here: its deadlines may be others afterwards. */
  #tell(call: (now: Millis) => void): void {
    if (this.#stopped) return
    call(now())
    this.#alarm.set(this.core.nextDeadline())
  }

  /** Calls `done` with how `work` ended, in a later turn. */
  #answer<T>(work: Promise<T>, done: (now: Millis, outcome: T) => void): void {
    work.then(
      outcome => { this.#tell(at => { done(at, outcome) }) },
      (error: unknown) => { this.#options.fatal(error) })
  }

  /** With a checkpoint here, the engine may prepare what it can for restoring it. */
  #standBy(): void {
    const { observer } = this.#options
    this.#answer(this.#orders.standBy(), (at, outcome) => {
      if (!outcome.ok) observer.report({ type: 'refused', reason: outcome.reason }, at)
    })
  }

  /** Stored first, so that the engine reads what was stored; it need not keep up with the link. */
  async #finishImage(info: ImageInfo, durability: Durability): Promise<Outcome> {
    const images = this.#images
    const stored = await outcomeOf(images.finish(info, durability), () => ({ ok: true }))
    if (!stored.ok || this.#options.engine.absorb === undefined) return stored
    return this.#orders.absorb(() => images.read(info.checkpoint))
  }

  #holdSource(hold: boolean): void {
    const { links } = this.#options
    if (this.#held !== undefined) links.get(this.#held)?.resume()
    this.#held = hold ? this.#source : undefined
    if (this.#held !== undefined) links.get(this.#held)?.pause()
  }

  #port(): AgentPort {
    return { hash, ...this.#linkPort(), ...this.#enginePort(), ...this.#logPort(), ...this.#imagePort() }
  }

  #linkPort() {
    const { links, observer } = this.#options
    return {
      sendGateway: (link, envelope, message) => { links.get(link)?.send(envelope, message) },
      closeGateway: link => { links.get(link)?.close() },
      sendPeer: (link, envelope, message) => {
        if (message.type === 'checkpoint-data') observer.shipped(message.bytes.length)
        links.get(link)?.send(envelope, message)
      },
      connectPeer: (name, address) => { this.#peer.connect(name, address) },
      disconnectPeer: () => { this.#peer.disconnect() },
      persist: (state, done) => { this.#answer(this.#state.write(state), at => { done(at) }) },
      report: report => {
        observer.report(report, now())
        const isBackup = report.type === 'role' && report.role === 'backup'
        if (isBackup && this.#images.images.length > 0) this.#standBy()
      }
    } satisfies Partial<AgentPort>
  }

  #enginePort() {
    const orders = this.#orders
    return {
      startGuest: done => { this.#answer(orders.start(), done) },
      stopGuest: done => {
        this.#answer(orders.stop().then(mustSucceed), at => { done(at) })
      },
      beginCheckpoint: (checkpoint, request, events) => {
        const pump = this.#pump = new CheckpointPump({
          engine: this.#options.engine, spoolBytes: this.#options.config.limits.spoolBytes, now,
          drained: () => this.#peer.drained(), tell: call => { this.#tell(() => { call() }) }
        }, checkpoint, request, events)
        pump.run().catch((error: unknown) => { this.#options.fatal(error) })
      },
      runOn: checkpoint => { if (this.#pump?.checkpoint === checkpoint) this.#pump.runOn() },
      abortCheckpoint: checkpoint => { if (this.#pump?.checkpoint === checkpoint) this.#pump.abort() },
      restoreGuest: (checkpoint, done) => {
        this.#answer(orders.restore(() => this.#images.read(checkpoint)), done)
      },
      openNetwork: done => { this.#answer(orders.openNetwork(), done) },
      attached: () => {
        this.#answer(orders.attached(), (at, outcome) => {
          if (!outcome.ok) this.#options.observer.report({ type: 'refused', reason: outcome.reason }, at)
        })
      },
      renewLease: remainingMs => {
        this.#options.engine.renewLease(remainingMs)
        this.#options.observer.lease(remainingMs)
      }
    } satisfies Partial<AgentPort>
  }

  #logPort() {
    const { log } = this
    const { observer } = this.#options
    return {
      openLog: (settings, done) => {
        this.#answer(outcomeOf(log.open(settings), snapshot => ({ ok: true, log: snapshot })), done)
      },
      beginLog: (history, generation, firstLsn, done) => {
        this.#answer(outcomeOf(log.begin(history, generation, firstLsn), () => ({ ok: true })), done)
      },
      append: (firstLsn, lastLsn, records, done) => {
        const began = performance.now()
        const appended = log.append(firstLsn, lastLsn, records)
        this.#answer(outcomeOf(appended, lsn => ({ ok: true, lsn })), (at, outcome) => {
          if (outcome.ok) observer.appended(records.reduce((sum, part) => sum + part.length, 0))
          if (log.durability === 'disk') observer.fsynced(at - began)
          done(at, outcome)
        })
      },
      markOf: checkpoint => log.markOf(checkpoint),
      pruneLog: (checkpoint, mark, done) => {
        const before = sizeOf(log.figures())
        this.#answer(outcomeOf(log.prune(checkpoint, mark), () => ({ ok: true })), (at, outcome) => {
          observer.pruned(Math.max(0, before - sizeOf(log.figures())))
          done(at, outcome)
        })
      },
      readTail: (reader, bytesMax, done) => {
        this.#answer(outcomeOf(log.readTail(reader, bytesMax), piece => ({ ok: true, piece })), done)
      },
      closeTail: reader => { this.#answer(log.closeTail(reader), () => undefined) },
      dropLog: () => { this.#answer(outcomeOf(log.drop(), () => ({ ok: true })), () => undefined) },
      logFigures: () => log.figures()
    } satisfies Partial<AgentPort>
  }

  #imagePort() {
    const images = this.#images
    return {
      beginImage: checkpoint => { images.begin(checkpoint, this.log.durability) },
      imagePiece: (checkpoint, bytes) => {
        this.#options.observer.stored(bytes.length)
        images.piece(checkpoint, bytes)
      },
      finishImage: (info, durability, done) => {
        this.#answer(this.#finishImage(info, durability), (at, outcome) => {
          done(at, outcome)
          if (outcome.ok) this.#standBy()
        })
      },
      dropImage: checkpoint => { this.#answer(images.drop(checkpoint), () => undefined) }
    } satisfies Partial<AgentPort>
  }
}

/** Where an agent keeps what it has of a guest. */
export function guestDirectory(config: AgentConfig, guest: string): string {
  return join(config.dataDir, encodeURIComponent(guest))
}

/** Rejects with E_ENGINE; the engine holds nothing of this host then. */
async function takeUp(engine: Engine, known: AgentState): Promise<void> {
  try {
    await engine.prepare?.()
    // A service that runs without us is there whether this agent is or not: it is found, not started.
    if (!engine.canRestore && known.role === 'primary' && known.started) await engine.start()
  } catch (error) {
    await engine.release?.().catch(() => undefined)
    throw error
  }
}

function now(): Millis {
  return millis(performance.now())
}

/** Turns a rejection into an outcome: what can fail for reasons outside the program the core decides on. */
function outcomeOf<T, O extends { readonly ok: true }>(
  work: Promise<T>, ok: (value: T) => O
): Promise<O | { readonly ok: false, readonly reason: string }> {
  return work.then(ok, (error: unknown) => {
    rethrowInvariant(error)
    return { ok: false, reason: messageOf(error) }
  })
}

function sizeOf({ memoryBytes, diskBytes }: LogFigures): number {
  return memoryBytes + diskBytes
}

function mustSucceed(outcome: Outcome): void {
  if (!outcome.ok) throw new TailgateError('E_ENGINE', `the guest cannot be ended: ${outcome.reason}`)
}
