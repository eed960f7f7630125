import { EmbeddedAttach, newIncarnation } from '../attach/embedded.ts'
import { TcpAttach } from '../attach/tcp.ts'
import type { Attach } from '../attach/attach.ts'
import { TailgateError, messageOf } from '../base/errors.ts'
import type { GatewayConfig, GuestConfig } from '../config/types.ts'
import type { Sockets } from '../net/sockets.ts'
import type { FailoverRequest } from '../observe/admin.ts'
import type { Health } from '../observe/http.ts'
import { failureFields, type Logger } from '../observe/logger.ts'
import type { MetricRegistry } from '../observe/metric-registry.ts'
import type { GatewayMetrics } from '../observe/metrics.ts'
import { collectStatus } from '../observe/status-metrics.ts'
import { statusFormat, type FailoverPlan, type FailoverResult, type GuestStatus } from '../observe/status.ts'
import { failoverPlan } from './failover-plan.ts'
import { GatewayStates } from './gateway-state.ts'
import { GuestObserver } from './guest-observer.ts'
import { GuestRunner, monotonicNow } from './guest-runner.ts'
import { guestStatus, serviceBytes } from './guest-status.ts'
import { HostLinks } from './host-links.ts'
import { joinableGuests } from './joinable-guests.ts'
import { Resumption } from './resumption.ts'
import { ServiceListeners } from './service-listeners.ts'

interface Guest {
  readonly runner: GuestRunner
  readonly observer: GuestObserver
  readonly listeners: ServiceListeners
}

export interface ServedGuestsOptions {
  /** Its guests are those that this process serves, its limits those of this process. */
  readonly config: GatewayConfig
  readonly sockets: Sockets
  readonly logger: Logger
  readonly registry: MetricRegistry
  readonly metrics: GatewayMetrics
}

/**
 * The guests that one process serves: their state, their links to the agents, their clients. Operators ask
 * it over the doors of its own process (main.ts), or over those of its supervisor (worker.ts).
 */
export class ServedGuests {
  readonly #options: ServedGuestsOptions
  readonly #incarnation = newIncarnation()
  readonly #guests = new Map<string, Guest>()
  readonly #closers: (() => Promise<void> | void)[] = []
  #links: HostLinks | undefined
  /** Whose TCP connections can be joined on this machine after a failover. */
  #joinable: ReadonlySet<string> = new Set()
  #draining: (() => void) | undefined

  constructor(options: ServedGuestsOptions) {
    this.#options = options
    collectStatus(options.registry, options.metrics, () => ({ guests: this.status() }))
    options.registry.onCollect(() => this.#collect())
  }

  /**
   * Reads the guests' state and listens for their clients; no agent hears of it yet. Rejects with E_LISTEN,
   * E_STATE, E_CONFIG; what was opened until then must be closed by the caller.
   */
  async open(): Promise<void> {
    const { config, logger } = this.#options
    this.#links = await HostLinks.create(config, {
      up: host => this.#each(host, ({ runner }) => runner.linkUp(host)),
      down: host => this.#each(host, ({ runner }) => runner.linkDown(host)),
      message: (host, envelope, message) => {
        const guest = this.#guests.get(envelope.guest)
        if (guest === undefined) return
        guest.runner.message(host, envelope, message)
        guest.observer.received(message, monotonicNow())
      }
    }, logger)
    this.#closers.push(() => this.#links?.stop())
    const states = new GatewayStates(config.stateDir)
    await states.prepare()
    this.#joinable = await joinableGuests(config, logger)
    for (const guest of config.guests) this.#guests.set(guest.name, this.#newGuest(guest, states))
    for (const [name, guest] of this.#guests) await this.#openGuest(name, guest, states)
  }

  /** Dials the agents. */
  serve(): void {
    this.#links?.start()
  }

  #newResumption(guest: GuestConfig): Resumption | undefined {
    const { config, sockets, logger } = this.#options
    if (!this.#joinable.has(guest.name)) return undefined
    const resumption = new Resumption({
      guest: guest.name, sockets, connectMs: config.timeouts.connectMs,
      trouble: reason => logger.event('shield.failed', { guest: guest.name, reason })
    })
    // What a gateway that died during a failover has left.
    void resumption.settled()
    return resumption
  }

  #newGuest(guest: GuestConfig, states: GatewayStates): Guest {
    const { config, sockets, logger, metrics } = this.#options
    const observer = new GuestObserver(guest, logger, metrics)
    const resumption = this.#newResumption(guest)
    const runner = new GuestRunner({
      config, guest, logger, states, resumption,
      newAttach: () => resumption?.newAttach() ?? this.#newAttach(guest),
      send: (host, envelope, message) => {
        observer.sending(message, monotonicNow())
        this.#links?.send(host, envelope, message)
      },
      report: (report, now) => observer.report(report, now),
      tickLate: lateMs => metrics.eventLoopDelay.with({}).observe(lateMs / 1000),
      fail: error => this.#fail(error)
    })
    observer.attach(runner)
    const listeners = new ServiceListeners({
      sockets, logger, metrics, runner,
      hasRoom: () => this.#connections() < config.limits.connections
    })
    return { runner, observer, listeners }
  }

  #newAttach(guest: GuestConfig): Attach {
    const { sockets, config } = this.#options
    const { connectMs } = config.timeouts
    return guest.attach === 'embedded'
      ? new EmbeddedAttach({ sockets, connectMs, incarnation: this.#incarnation })
      : new TcpAttach({ sockets, connectMs })
  }

  async #openGuest(name: string, { runner, listeners }: Guest, states: GatewayStates): Promise<void> {
    const read = await states.read(name)
    if (!read.found && read.damaged !== undefined) {
      this.#options.logger.event('state.lost', { path: states.pathOf(name), error: read.damaged })
    }
    this.#closers.push(() => runner.stop(), () => listeners.close())
    runner.start(read.found ? read.state : undefined)
    await listeners.open()
  }

  // ---- for operators

  /** Every guest at this moment, in the order of the configuration. */
  status(): readonly GuestStatus[] {
    return [...this.#guests.values()].map(({ runner, observer, listeners }) =>
      guestStatus(runner, observer, listeners.addresses))
  }

  /** Whether clients should be sent here. */
  ready(): Health {
    const down = [...this.#guests].find(([, { runner }]) => runner.core.protection.state === 'lost')
    if (down === undefined) return { ok: true, text: 'ready' }
    return { ok: false, text: `the guest ${down[0]} is lost` }
  }

  /** What a failover at this moment would do. Throws E_ADMIN for a guest that is not here. */
  plan(name: string): FailoverPlan {
    const { runner, observer } = this.#guest(name)
    return failoverPlan(runner, observer)
  }

  /** Resolves when the guest serves again. Rejects with E_ADMIN if it is not here, or cannot be moved. */
  async failover({ guest: name, acceptLoss }: FailoverRequest): Promise<FailoverResult> {
    const { runner, observer } = this.#guest(name)
    this.#options.logger.event('admin.failover', { guest: name, acceptLoss })
    const over = observer.nextFailover()
    const asked = runner.core.requestFailover(acceptLoss, monotonicNow())
    if (!asked.accepted) {
      over.catch(() => undefined)
      throw new TailgateError('E_ADMIN', `${name} is not failed over: ${asked.reason}`)
    }
    try {
      const failover = await over
      return { format: statusFormat, guest: name, generation: failover.generation, failover }
    } catch (error) {
      const what = `the failover of ${name} did not succeed: ${messageOf(error)}`
      throw new TailgateError('E_ADMIN', what, { cause: error })
    }
  }

  #guest(name: string): Guest {
    const guest = this.#guests.get(name)
    if (guest === undefined) throw noSuchGuest(name, [...this.#guests.keys()])
    return guest
  }

  /** What no status tells: counters that are kept where the bytes move. */
  #collect(): void {
    const { metrics, logger } = this.#options
    metrics.logLinesDropped.with({}).value = logger.droppedLines
    for (const [peer, ups] of this.#links?.ups ?? []) {
      metrics.linkReconnects.with({ peer }).value = Math.max(0, ups - 1)
    }
    for (const [guest, { runner, observer }] of this.#guests) {
      for (const [index, total] of serviceBytes(runner.core, observer).entries()) {
        const service = runner.config.services[index]?.name ?? ''
        metrics.bytes.with({ guest, service, direction: 'input' }).value = total.inputBytes
        metrics.bytes.with({ guest, service, direction: 'output' }).value = total.outputBytes
      }
    }
  }

  #each(host: string, call: (guest: Guest) => void): void {
    for (const guest of this.#guests.values()) {
      if (guest.runner.config.hosts.some(({ name }) => name === host)) call(guest)
    }
  }

  #connections(): number {
    let count = 0
    for (const { runner } of this.#guests.values()) count += runner.core.dataPath.connections.size
    return count
  }

  /** Fail-stop: a process that cannot keep its guests' state must not go on commanding them. */
  #fail(error: unknown): never {
    this.#options.logger.event('process.failed', failureFields(error))
    this.#options.logger.flush()
    process.exit(1)
  }

  // ---- the end

  /**
   * Takes no more clients; resolves when no connection is left, at the drain limit, or at a second call.
   */
  async drain(): Promise<void> {
    if (this.#draining !== undefined) {
      this.#draining()
      return
    }
    await Promise.all([...this.#guests.values()].map(({ listeners }) => listeners.close()))
    await this.#drained()
  }

  #drained(): Promise<void> {
    return new Promise(resolve => {
      const poll = setInterval(() => { if (this.#connections() === 0) end() }, 20)
      const limit = setTimeout(() => end(), this.#options.config.timeouts.drainMs)
      const end = (): void => {
        clearInterval(poll)
        clearTimeout(limit)
        resolve()
      }
      this.#draining = end
      if (this.#connections() === 0) end()
    })
  }

  /** Ends everything at once. */
  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close()
  }
}

/** E_ADMIN for a name that an operator got wrong. */
export function noSuchGuest(name: string, guests: readonly string[]): TailgateError {
  return new TailgateError('E_ADMIN', `there is no guest '${name}' here; there is: ${guests.join(', ')}`)
}
