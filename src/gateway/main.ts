import { EmbeddedAttach, newIncarnation } from '../attach/embedded.ts'
import { guestMark } from '../attach/tcp-resume.ts'
import { TcpAttach } from '../attach/tcp.ts'
import type { Attach } from '../attach/attach.ts'
import { TailgateError, messageOf } from '../base/errors.ts'
import type { GatewayConfig, GuestConfig } from '../config/types.ts'
import { chooseSockets, type SocketsChoice } from '../net/choose-sockets.ts'
import { checkTcpResume, missingText } from '../net/tcp-resume-support.ts'
import { startAdminServer, type AdminHandlers } from '../observe/admin.ts'
import { startMetricsServer } from '../observe/http.ts'
import { createLogger, failureFields, type Logger } from '../observe/logger.ts'
import { MetricRegistry } from '../observe/metric-registry.ts'
import { gatewayMetrics, type GatewayMetrics } from '../observe/metrics.ts'
import { collectStatus } from '../observe/status-metrics.ts'
import { statusFormat, type FailoverResult, type GatewayStatus } from '../observe/status.ts'
import { version } from '../base/version.ts'
import { failoverPlan } from './failover-plan.ts'
import { GatewayStates } from './gateway-state.ts'
import { GuestObserver } from './guest-observer.ts'
import { GuestRunner, monotonicNow } from './guest-runner.ts'
import { guestStatus, serviceBytes } from './guest-status.ts'
import { HostLinks } from './host-links.ts'
import { Resumption } from './resumption.ts'
import { ServiceListeners } from './service-listeners.ts'

interface Guest {
  readonly runner: GuestRunner
  readonly observer: GuestObserver
  readonly listeners: ServiceListeners
}

/** A gateway that runs. */
export interface RunningGateway {
  /**
   * Ends it: takes no more clients, lets the connections finish for as long as the configuration says, then
   * resets what is left. A second call does not wait.
   */
  stop(): Promise<void>
}

/**
 * Starts a gateway. Rejects with E_LISTEN, E_ADMIN, E_STATE, E_CONFIG if it cannot; nothing is left running
 * then.
 */
export async function runGateway(config: GatewayConfig): Promise<RunningGateway> {
  const gateway = new Gateway(config, await chooseSockets())
  try {
    await gateway.start()
  } catch (error) {
    await gateway.close()
    throw error
  }
  return gateway
}

/** A guest that is checkpointed, with a TCP of its own. */
function wantsResume({ attach, resume, hosts }: GuestConfig): boolean {
  return attach === 'tcp' && resume === 'auto' && hosts.length > 0
}

class Gateway implements RunningGateway {
  readonly #config: GatewayConfig
  readonly #choice: SocketsChoice
  readonly #logger: Logger
  readonly #registry = new MetricRegistry()
  readonly #incarnation = newIncarnation()
  readonly #metrics: GatewayMetrics
  readonly #guests = new Map<string, Guest>()
  readonly #closers: (() => Promise<void> | void)[] = []
  #links: HostLinks | undefined
  /** TCP connections of a restored guest can be joined on this machine. */
  #resumes = false
  #stopping: (() => void) | undefined

  constructor(config: GatewayConfig, choice: SocketsChoice) {
    this.#config = config
    this.#choice = choice
    this.#logger = createLogger({ name: config.name, part: 'gateway', level: config.logLevel })
    this.#metrics = gatewayMetrics(this.#registry)
    this.#metrics.buildInfo.with({ version, node: process.versions.node, part: 'gateway' }).value = 1
  }

  async start(): Promise<void> {
    const config = this.#config
    const about = `${config.name} (${this.#choice.sockets.name} sockets)`
    this.#logger.event('process.started', { version, config: about })
    this.#links = await HostLinks.create(config, {
      up: host => this.#each(host, ({ runner }) => runner.linkUp(host)),
      down: host => this.#each(host, ({ runner }) => runner.linkDown(host)),
      message: (host, envelope, message) => {
        const guest = this.#guests.get(envelope.guest)
        if (guest === undefined) return
        guest.runner.message(host, envelope, message)
        guest.observer.received(message, monotonicNow())
      }
    }, this.#logger)
    this.#closers.push(() => this.#links?.stop())
    const states = new GatewayStates(config.stateDir)
    await states.prepare()
    this.#resumes = await this.#canResume()
    for (const guest of config.guests) this.#guests.set(guest.name, this.#newGuest(guest, states))
    for (const [name, guest] of this.#guests) await this.#startGuest(name, guest, states)
    this.#links.start()
    await this.#openDoors()
  }

  /** Tries what joining TCP connections needs, if a guest may want it, and says what is missing. */
  async #canResume(): Promise<boolean> {
    if (!this.#config.guests.some(wantsResume)) return false
    const support = await checkTcpResume({ mark: guestMark, shieldName: this.#config.name })
    const missing = missingText(support)
    if (support.resumes) this.#logger.event('resume.possible', { missing })
    else this.#logger.event('resume.impossible', { missing })
    return support.resumes
  }

  #newResumption(config: GuestConfig): Resumption | undefined {
    if (!this.#resumes || !wantsResume(config)) return undefined
    const resumption = new Resumption({
      guest: config.name, sockets: this.#choice.sockets, connectMs: this.#config.timeouts.connectMs,
      trouble: reason => this.#logger.event('shield.failed', { guest: config.name, reason })
    })
    // What a gateway that died during a failover has left.
    void resumption.settled()
    return resumption
  }

  #newGuest(config: GuestConfig, states: GatewayStates): Guest {
    const observer = new GuestObserver(config, this.#logger, this.#metrics)
    const resumption = this.#newResumption(config)
    const runner = new GuestRunner({
      config: this.#config, guest: config, logger: this.#logger, states,
      resumption,
      newAttach: () => resumption?.newAttach() ?? this.#newAttach(config),
      send: (host, envelope, message) => {
        observer.sending(message, monotonicNow())
        this.#links?.send(host, envelope, message)
      },
      report: (report, now) => observer.report(report, now),
      tickLate: lateMs => this.#metrics.eventLoopDelay.with({}).observe(lateMs / 1000),
      fail: error => this.#fail(error)
    })
    observer.attach(runner)
    const listeners = new ServiceListeners({
      sockets: this.#choice.sockets, logger: this.#logger, metrics: this.#metrics, runner,
      hasRoom: () => this.#connections() < this.#config.limits.connections
    })
    return { runner, observer, listeners }
  }

  #newAttach(config: GuestConfig): Attach {
    const { sockets } = this.#choice
    const { connectMs } = this.#config.timeouts
    return config.attach === 'embedded'
      ? new EmbeddedAttach({ sockets, connectMs, incarnation: this.#incarnation })
      : new TcpAttach({ sockets, connectMs })
  }

  async #startGuest(name: string, { runner, listeners }: Guest, states: GatewayStates): Promise<void> {
    const read = await states.read(name)
    if (!read.found && read.damaged !== undefined) {
      this.#logger.event('state.lost', { path: states.pathOf(name), error: read.damaged })
    }
    this.#closers.push(() => runner.stop(), () => listeners.close())
    runner.start(read.found ? read.state : undefined)
    await listeners.open()
  }

  /** The ways in for operators and scrapers. */
  async #openDoors(): Promise<void> {
    const { metrics, admin } = this.#config
    collectStatus(this.#registry, this.#metrics, () => this.#status())
    this.#registry.onCollect(() => this.#collect())
    if (metrics !== undefined) {
      const server = await startMetricsServer(metrics, {
        registry: this.#registry,
        live: () => ({ ok: true, text: 'live' }),
        ready: () => this.#ready()
      })
      this.#closers.push(() => server.close())
      this.#logger.event('metrics.listening', { address: server.address })
    }
    const server = await startAdminServer(admin, this.#handlers())
    this.#closers.push(() => server.close())
    this.#logger.event('admin.listening', { path: admin })
  }

  #ready(): { ok: boolean, text: string } {
    const down = [...this.#guests].find(([, { runner }]) => runner.core.protection.state === 'lost')
    if (down === undefined) return { ok: true, text: 'ready' }
    return { ok: false, text: `the guest ${down[0]} is lost` }
  }

  #handlers(): AdminHandlers {
    return {
      status: () => this.#status(),
      plan: guest => {
        const { runner, observer } = this.#guest(guest)
        return failoverPlan(runner, observer)
      },
      failover: ({ guest, acceptLoss }) => this.#failover(guest, acceptLoss)
    }
  }

  async #failover(name: string, acceptLoss: boolean): Promise<FailoverResult> {
    const { runner, observer } = this.#guest(name)
    this.#logger.event('admin.failover', { guest: name, acceptLoss })
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
    if (guest === undefined) {
      const known = [...this.#guests.keys()].join(', ')
      throw new TailgateError('E_ADMIN', `there is no guest '${name}' here; there is: ${known}`)
    }
    return guest
  }

  #status(): GatewayStatus {
    return {
      format: statusFormat, gateway: this.#config.name, version, pid: process.pid,
      uptimeMs: Math.round(process.uptime() * 1000), sockets: this.#choice.sockets.name,
      guests: [...this.#guests.values()].map(({ runner, observer, listeners }) =>
        guestStatus(runner, observer, listeners.addresses))
    }
  }

  /** What no status tells: counters that are kept where the bytes move. */
  #collect(): void {
    this.#metrics.logLinesDropped.with({}).value = this.#logger.droppedLines
    for (const [peer, ups] of this.#links?.ups ?? []) {
      this.#metrics.linkReconnects.with({ peer }).value = Math.max(0, ups - 1)
    }
    for (const [guest, { runner, observer }] of this.#guests) {
      for (const [index, total] of serviceBytes(runner.core, observer).entries()) {
        const service = runner.config.services[index]?.name ?? ''
        this.#metrics.bytes.with({ guest, service, direction: 'input' }).value = total.inputBytes
        this.#metrics.bytes.with({ guest, service, direction: 'output' }).value = total.outputBytes
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

  #fail(error: unknown): never {
    this.#logger.event('process.failed', failureFields(error))
    this.#logger.flush()
    process.exit(1)
  }

  async stop(): Promise<void> {
    if (this.#stopping !== undefined) {
      this.#stopping()
      return
    }
    await Promise.all([...this.#guests.values()].map(({ listeners }) => listeners.close()))
    await this.#drained()
    await this.close()
  }

  /** Resolves when no connection is left, at the drain limit, or at a second {@link stop}. */
  #drained(): Promise<void> {
    return new Promise(resolve => {
      const poll = setInterval(() => { if (this.#connections() === 0) end() }, 20)
      const limit = setTimeout(() => end(), this.#config.timeouts.drainMs)
      const end = (): void => {
        clearInterval(poll)
        clearTimeout(limit)
        resolve()
      }
      this.#stopping = end
      if (this.#connections() === 0) end()
    })
  }

  /** Ends everything at once. */
  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close()
    this.#logger.flush()
  }
}
