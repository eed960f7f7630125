import { version } from '../base/version.ts'
import type { GatewayConfig } from '../config/types.ts'
import { chooseSockets } from '../net/choose-sockets.ts'
import type { Sockets } from '../net/sockets.ts'
import { createLogger, type Logger } from '../observe/logger.ts'
import { MetricRegistry } from '../observe/metric-registry.ts'
import { gatewayMetrics } from '../observe/metrics.ts'
import { statusFormat, type GatewayStatus } from '../observe/status.ts'
import { OperatorDoors } from './operator-doors.ts'
import { ServedGuests } from './served-guests.ts'
import { Supervisor } from './supervisor.ts'

/** A gateway that runs. */
export interface RunningGateway {
  /**
   * Ends it: takes no more clients, lets the connections finish for as long as the configuration says, then
   * resets what is left. A second call does not wait.
   */
  stop(): Promise<void>
}

/**
 * Starts a gateway: in this process, or with `workers` above 1 in so many of its own, which this one
 * supervises. Rejects with E_LISTEN, E_ADMIN, E_STATE, E_CONFIG, E_WORKER, E_TIMEOUT if it cannot; nothing is
 * left running then.
 */
export async function runGateway(config: GatewayConfig): Promise<RunningGateway> {
  const gateway = config.workers > 1
    ? new Supervisor(config)
    : new Gateway(config, (await chooseSockets()).sockets)
  try {
    await gateway.start()
  } catch (error) {
    await gateway.close()
    throw error
  }
  return gateway
}

/** The whole gateway in one process. */
class Gateway implements RunningGateway {
  readonly #config: GatewayConfig
  readonly #sockets: Sockets
  readonly #logger: Logger
  readonly #registry = new MetricRegistry()
  readonly #guests: ServedGuests
  readonly #doors = new OperatorDoors()
  #stopping = false

  constructor(config: GatewayConfig, sockets: Sockets) {
    this.#config = config
    this.#sockets = sockets
    this.#logger = createLogger({ name: config.name, part: 'gateway', level: config.logLevel })
    const metrics = gatewayMetrics(this.#registry)
    metrics.buildInfo.with({ version, node: process.versions.node, part: 'gateway' }).value = 1
    this.#guests = new ServedGuests({
      config, sockets, logger: this.#logger, registry: this.#registry, metrics
    })
  }

  async start(): Promise<void> {
    const about = `${this.#config.name} (${this.#sockets.name} sockets)`
    this.#logger.event('process.started', { version, config: about, worker: null })
    await this.#guests.open()
    this.#guests.serve()
    await this.#doors.open(this.#config, this.#logger, {
      scrapers: {
        registry: this.#registry, live: () => ({ ok: true, text: 'live' }),
        ready: () => this.#guests.ready()
      },
      operators: {
        status: () => this.#status(),
        plan: guest => this.#guests.plan(guest),
        failover: request => this.#guests.failover(request)
      }
    })
  }

  #status(): GatewayStatus {
    return {
      format: statusFormat, gateway: this.#config.name, version, pid: process.pid,
      uptimeMs: Math.round(process.uptime() * 1000), sockets: this.#sockets.name,
      workers: [], guests: this.#guests.status()
    }
  }

  async stop(): Promise<void> {
    if (this.#stopping) return this.#guests.drain()
    this.#stopping = true
    await this.#guests.drain()
    await this.close()
  }

  /** Ends everything at once. */
  async close(): Promise<void> {
    await this.#doors.close()
    await this.#guests.close()
    this.#logger.flush()
  }
}
