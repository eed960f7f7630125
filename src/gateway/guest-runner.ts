import { randomBytes } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { crc32 } from 'node:zlib'
import { gatewayId, historyId, millis, outputHash, type HostName, type Millis } from '../core/ids.ts'
import { GuestGateway } from '../core/gateway/guest-gateway.ts'
import type { GatewayPort, GatewayReport, GatewayState } from '../core/gateway/port.ts'
import type { AgentMessage, Envelope, GatewayMessage } from '../core/message.ts'
import type { GatewayConfig, GuestConfig } from '../config/types.ts'
import type { Attach } from '../attach/attach.ts'
import type { Logger } from '../observe/logger.ts'
import { runFence } from './fence.ts'
import type { GatewayStates } from './gateway-state.ts'
import { GuestPath, type SourceFailure } from './guest-path.ts'
import type { Resumption } from './resumption.ts'
import { addressOf, guestSettings } from './guest-settings.ts'

/**
 * Ticks come so often, and at least four times per heartbeat interval. Milliseconds. A failover waits for
 * many short things, one after the other.
 */
const tickMs = { most: 20, inFailover: 2 } as const

export interface GuestRunnerOptions {
  readonly config: GatewayConfig
  readonly guest: GuestConfig
  readonly logger: Logger
  readonly states: GatewayStates
  readonly newAttach: () => Attach
  /** For a guest whose TCP connections can be joined again. */
  readonly resumption: Resumption | undefined
  readonly send: (host: HostName, envelope: Envelope, message: GatewayMessage) => void
  readonly report: (report: GatewayReport, now: Millis) => void
  readonly tickLate: (lateMs: number) => void
  /** Something failed that leaves no way on: ends the process. */
  readonly fail: (error: unknown) => void
}

export function monotonicNow(): Millis {
  return millis(performance.now())
}

/** Runs the core of one guest: gives it time, a disk, a network, and the messages that are for it. */
export class GuestRunner {
  readonly core: GuestGateway
  readonly config: GuestConfig
  readonly #options: GuestRunnerOptions
  readonly #path: GuestPath
  #timer: NodeJS.Timeout | undefined
  #flushing = false

  constructor(options: GuestRunnerOptions) {
    this.#options = options
    this.config = options.guest
    this.#path = new GuestPath({
      newAttach: options.newAttach,
      resumption: options.resumption,
      fixedEndpoints: options.guest.services.map(({ to }) => to === undefined ? undefined : addressOf(to)),
      sources: options.guest.services.map(({ source }) => source),
      sourceFailed: failure => this.#sourceFailed(failure),
      floor: (connection, floor) => this.core.noteFloor(connection, floor),
      resetTaken: connection => this.core.dataPath.floors.resetTaken(connection)
    })
    const resumes = options.resumption !== undefined
    const settings = guestSettings(options.config, options.guest, resumes)
    this.core = new GuestGateway(settings, this.#port(), monotonicNow())
  }

  start(state: GatewayState | undefined): void {
    if (this.config.hosts.length === 0) this.#path.openAt([])
    this.core.start(state)
    this.#tickLater()
  }

  #tickLater(): void {
    const idleMs = Math.min(tickMs.most, this.config.heartbeat.intervalMs / 4)
    const afterMs = this.core.protection.state === 'failing-over' ? tickMs.inFailover : idleMs
    const before = monotonicNow()
    this.#timer = setTimeout(() => {
      const now = monotonicNow()
      this.#options.tickLate(Math.max(0, now - before - afterMs))
      // First, so that whatever stops this in the tick stops the next one, too.
      this.#tickLater()
      this.core.tick(now)
    }, afterMs)
  }

  /** A failover has begun, or has come to its next phase: the tick that was set before may be a late one. */
  #tickSoon(): void {
    if (this.#timer === undefined) return
    clearTimeout(this.#timer)
    this.#tickLater()
  }

  linkUp(host: HostName): void {
    this.core.linkUp(host, monotonicNow())
  }

  linkDown(host: HostName): void {
    this.core.linkDown(host, monotonicNow())
  }

  message(host: HostName, envelope: Envelope, message: AgentMessage): void {
    this.core.message(host, envelope, message, monotonicNow())
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.core.dataPath.killAll('shutdown')
    this.core.dataPath.killWaiting('shutdown')
    await this.#path.close()
  }

  #port(): GatewayPort {
    const { send } = this.#options
    const path = this.#path
    return {
      hash: (bytes, previous) => outputHash(crc32(bytes, previous)),
      newHistory: () => historyId(randomBytes(8).toString('hex')),
      newGateway: () => gatewayId(randomBytes(8).toString('hex')),
      send,
      flushSoon: () => this.#flushSoon(),
      openPath: endpoints => path.openAt(endpoints),
      open: (connection, service, events, done, dialer) =>
        path.open(connection, service, events, done, dialer),
      attach: (connection, service, known, received, events, done) =>
        path.attach(connection, service, known, received, events, done),
      acknowledge: (connection, received) => path.acknowledge(connection, received),
      // Once for the rest of this turn's poll phase, once for a whole one.
      afterReads: done => setImmediate(() => setImmediate(done)),
      cutPath: done => path.drain(this.core.dataPath.connections, done),
      persist: (state, done) => this.#persist(state, done),
      fence: (host, done) => this.#fence(host, done),
      report: about => this.#report(about)
    }
  }

  #sourceFailed({ connection, service, client, reason }: SourceFailure): void {
    this.#options.logger.event('source.failed', {
      guest: this.config.name, service: this.config.services[service]?.name ?? '', connection, client, reason
    })
  }

  #report(about: GatewayReport): void {
    const over = about.type === 'failover-done'
      || (about.type === 'protection' && about.protection.state === 'lost')
    if (over) this.#path.settled()
    if (about.type === 'protection' && about.protection.state === 'failing-over') this.#tickSoon()
    this.#options.report(about, monotonicNow())
  }

  /**
   * Once per turn of the event loop, after all of its sockets have been read: what they brought leaves
   * together.
   */
  #flushSoon(): void {
    if (this.#flushing) return
    this.#flushing = true
    setImmediate(() => {
      this.#flushing = false
      this.core.flush()
    })
  }

  #persist(state: GatewayState, done: () => void): void {
    this.#options.states.write(this.config.name, state).then(done, this.#options.fail)
  }

  #fence(host: HostName, done: (fenced: boolean) => void): void {
    const { logger, config, guest } = this.#options
    const command = guest.hosts.find(({ name }) => name === host)?.fence ?? []
    const since = monotonicNow()
    runFence(command, { guest: guest.name, host }, config.timeouts.fenceMs).then(({ fenced, reason }) => {
      const about = { guest: guest.name, host }
      const ms = Math.round(monotonicNow() - since)
      if (fenced) logger.event('fence.done', { ...about, how: 'command', ms })
      else logger.event('fence.failed', { ...about, reason })
      done(fenced)
    }, this.#options.fail)
  }
}
