import { TailgateError, messageOf } from '../base/errors.ts'
import { version } from '../base/version.ts'
import type { AgentConfig } from '../config/types.ts'
import type { HostName } from '../core/ids.ts'
import type { Engine } from '../engine/engine.ts'
import type { GuestNetwork } from '../engine/guest-network.ts'
import { TapNetwork } from '../engine/tap-network.ts'
import { VifNetwork } from '../engine/vif-network.ts'
import type { LinkSelf } from '../link/greeting.ts'
import type { LinkConnection, LinkEvents, LinkPeer } from '../link/link.ts'
import { LinkListener } from '../link/listener.ts'
import { loadTlsMaterial } from '../link/tls-material.ts'
import { addressText } from '../net/address.ts'
import { startMetricsServer } from '../observe/http.ts'
import { createLogger, failureFields, type Logger } from '../observe/logger.ts'
import { MetricRegistry } from '../observe/metric-registry.ts'
import { agentMetrics, type AgentMetrics } from '../observe/metrics.ts'
import { AgentObserver } from './agent-observer.ts'
import { DataLock } from './data-lock.ts'
import { engineOf, type EngineSurroundings, type NetworkSettings } from './engines.ts'
import { GuestHost, guestDirectory } from './guest-host.ts'
import { Links, type LinkChange } from './links.ts'

/** An agent that runs. */
export interface RunningAgent {
  /** Where it takes links; the kernel's choice for port 0. */
  readonly port: number
  /** Where its metrics are, `host:port`; undefined if the configuration names no place. */
  readonly metricsAddress: string | undefined
  /** Ends it, with the guests that cannot be without it. */
  stop(): Promise<void>
}

/** What a test may put in the place of the real thing. */
export interface AgentOverrides {
  readonly engines?: ReadonlyMap<string, Engine>
  readonly logger?: Logger
  readonly networkOf?: EngineSurroundings['networkOf']
  /** Called instead of ending the process. */
  fatal?(error: unknown): void
}

/**
 * Starts an agent: it takes links and waits for a gateway to give its guests their roles. It starts no guest
 * by itself. Rejects with E_STATE, E_DISK, E_CONFIG, E_LISTEN; nothing is left running then but a guest that
 * ran before, which nobody reaches.
 */
export async function runAgent(config: AgentConfig, overrides: AgentOverrides = {}): Promise<RunningAgent> {
  const agent = new Agent(config, overrides)
  try {
    await agent.start()
  } catch (error) {
    await agent.abandon().catch(() => undefined)
    throw error
  }
  return agent
}

class Agent implements RunningAgent {
  readonly #config: AgentConfig
  readonly #overrides: AgentOverrides
  readonly #logger: Logger
  readonly #registry = new MetricRegistry()
  readonly #metrics: AgentMetrics
  readonly #links = new Links((peer, change) => { this.#linkChanged(peer, change) })
  readonly #guests = new Map<string, GuestHost>()
  readonly #observers: AgentObserver[] = []
  readonly #closers: (() => Promise<void>)[] = []
  #lock: DataLock | undefined
  #listener: LinkListener | undefined
  #metricsAddress: string | undefined

  constructor(config: AgentConfig, overrides: AgentOverrides) {
    this.#config = config
    this.#overrides = overrides
    this.#logger = overrides.logger
      ?? createLogger({ name: config.name, part: 'agent', level: config.logLevel })
    this.#metrics = agentMetrics(this.#registry)
    this.#metrics.buildInfo.with({ version, node: process.versions.node, part: 'agent' }).value = 1
    this.#registry.onCollect(() => {
      this.#metrics.logLinesDropped.with({}).value = this.#logger.droppedLines
      for (const observer of this.#observers) observer.collect()
    })
  }

  get port(): number {
    return this.#listener?.port ?? 0
  }

  get metricsAddress(): string | undefined {
    return this.#metricsAddress
  }

  /** What this host may refuse comes before any guest is touched. */
  async start(): Promise<void> {
    const { name, tls, link, guests, dataDir } = this.#config
    this.#logger.event('process.started', { version, config: name, worker: null })
    const self: LinkSelf = {
      name, role: 'agent', tls: tls === undefined ? undefined : await loadTlsMaterial(tls)
    }
    this.#lock = await DataLock.take(dataDir)
    await this.#openMetrics()
    const listener = this.#listener = await LinkListener.listen({
      self, host: link.host, port: link.port, shut: true,
      admit: peer => this.#notAdmitted(peer),
      up: connection => this.#linkUp(connection),
      refused: (error, remote) => {
        this.#logger.event('link.refused', { peer: remote, code: error.code, reason: error.message })
      }
    })
    for (const guest of guests) await this.#openGuest(guest.name, self)
    listener.open()
    this.#logger.event('link.listening', { address: addressText(link.host, this.port) })
  }

  stop(): Promise<void> {
    return this.#end(guest => guest.stop())
  }

  /** Ends an agent that could not start: nobody has given it command of a guest that it found. */
  abandon(): Promise<void> {
    return this.#end(guest => guest.release())
  }

  async #end(endGuest: (guest: GuestHost) => Promise<void>): Promise<void> {
    try {
      await this.#listener?.close()
      for (const close of this.#closers) await close()
      await Promise.all([...this.#guests.values()].map(endGuest))
    } finally {
      for (const observer of this.#observers) observer.stop()
      this.#lock?.release()
      this.#logger.flush()
    }
  }

  async #openGuest(guest: string, self: LinkSelf): Promise<void> {
    const config = this.#config
    const engine = this.#overrides.engines?.get(guest) ?? this.#makeEngine(guest)
    const observer = new AgentObserver(guest, this.#logger, this.#metrics)
    const host = await GuestHost.open({
      guest, config, engine, self, links: this.#links, logger: this.#logger, observer,
      fatal: error => { this.#fatal(error) }
    })
    observer.attach(host)
    this.#observers.push(observer)
    this.#guests.set(guest, host)
  }

  #makeEngine(name: string): Engine {
    const config = this.#config.guests.find(guest => guest.name === name)
    if (config === undefined) throw new TailgateError('E_CONFIG', `there is no guest ${name}`)
    return engineOf(config, {
      directory: guestDirectory(this.#config, name),
      networkOf: this.#overrides.networkOf ?? guestNetwork,
      notice: notice => { this.#logger.event('engine.notice', { guest: name, notice }) }
    })
  }

  async #openMetrics(): Promise<void> {
    const { metrics } = this.#config
    if (metrics === undefined) return
    const server = await startMetricsServer(metrics, {
      registry: this.#registry,
      live: () => ({ ok: true, text: 'live' }),
      ready: () => {
        const gateways = this.#links.count('gateway')
        return { ok: gateways > 0, text: `links of gateways: ${gateways}` }
      }
    })
    this.#metricsAddress = server.address
    this.#closers.push(() => server.close())
    this.#logger.event('metrics.listening', { address: server.address })
  }

  #notAdmitted(peer: LinkPeer): string | undefined {
    const { gateways, peers } = this.#config
    if (peer.role === 'gateway') {
      return gateways.includes(peer.name) ? undefined : 'it is not among gateways: in the configuration'
    }
    return peers.includes(peer.name) ? undefined : 'it is not among peers: in the configuration'
  }

  #linkUp(connection: LinkConnection): LinkEvents {
    const link = this.#links.add(connection)
    const { name, role } = connection.peer
    const isGateway = role === 'gateway'
    this.#logger.event('link.up', { peer: name, address: '' })
    if (isGateway) for (const guest of this.#guests.values()) guest.gatewayUp(link)
    return {
      message: (envelope, message) => {
        const guest = this.#guests.get(envelope.guest)
        if (guest === undefined) {
          const reason = `a message for guest ${envelope.guest}, which is not in the configuration`
          this.#logger.event('link.refused', { peer: name, code: 'E_CONFIG', reason })
        } else if (isGateway) guest.gatewayMessage(link, envelope, message)
        else guest.peerMessage(link, envelope, message)
      },
      closed: reason => {
        this.#links.remove(link)
        this.#logger.event('link.down', { peer: name, reason: messageOf(reason) })
        for (const guest of this.#guests.values()) {
          if (isGateway) guest.gatewayDown(link)
          else guest.peerDown(link)
        }
      }
    }
  }

  #linkChanged(peer: HostName, change: LinkChange): void {
    this.#metrics.linkUp.with({ peer }).value = Number(change !== 'down')
    if (change === 'again') this.#metrics.linkReconnects.with({ peer }).value++
  }

  /** Fail-stop: an agent whose state is not on disk must not go on commanding a guest. */
  #fatal(error: unknown): void {
    this.#logger.event('process.failed', failureFields(error))
    this.#logger.flush()
    if (this.#overrides.fatal !== undefined) this.#overrides.fatal(error)
    else process.exit(1)
  }
}

function guestNetwork({ kind, ...settings }: NetworkSettings): GuestNetwork {
  return kind === 'tap' ? new TapNetwork(settings) : new VifNetwork(settings)
}
