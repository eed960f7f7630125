import type { GuestConfig } from '../config/types.ts'
import type { Logger } from '../observe/logger.ts'
import type { GatewayMetrics } from '../observe/metrics.ts'
import type { Listener, SocketSide, Sockets } from '../net/sockets.ts'
import { messageOf } from '../base/errors.ts'
import type { GuestRunner } from './guest-runner.ts'

export interface ServiceListenersOptions {
  readonly sockets: Sockets
  readonly logger: Logger
  readonly metrics: GatewayMetrics
  readonly runner: GuestRunner
  /** Whether one more connection fits the gateway's limit over all guests. */
  readonly hasRoom: () => boolean
}

/** Listens for the clients of one guest's services. */
export class ServiceListeners {
  readonly #options: ServiceListenersOptions
  readonly #listeners: Listener[] = []
  /**
   * A client's address is asked for at once where a log may want it, or the guest is to see it: when the
   * connection is over, the kernel knows it no more.
   */
  readonly #addressKept: boolean
  #full = false

  constructor(options: ServiceListenersOptions) {
    this.#options = options
    const { hosts, services } = options.runner.config
    this.#addressKept = hosts.length > 0 || services.some(({ source }) => source === 'client')
      || options.logger.enabled('connection.end')
  }

  /** Where each service listens, as `address:port`. */
  get addresses(): readonly string[] {
    return this.#listeners.map(({ address }) => address)
  }

  /** Rejects with E_LISTEN; what was opened until then must be closed by the caller. */
  async open(): Promise<void> {
    const { sockets, logger, runner } = this.#options
    const guest: GuestConfig = runner.config
    for (const [index, service] of guest.services.entries()) {
      const listener = await sockets.listen({
        host: service.listen.host, port: service.listen.port, backlog: 4096,
        transparent: service.source === 'client',
        accepted: side => this.#accept(index, side),
        trouble: error => logger.event('limit.reached', {
          guest: guest.name, limit: `accept: ${messageOf(error)}`, max: guest.services.length
        })
      })
      this.#listeners.push(listener)
      logger.event('service.listening', {
        guest: guest.name, service: service.name, address: listener.address, release: service.release
      })
    }
  }

  #accept(service: number, side: SocketSide): void {
    const { runner, hasRoom } = this.#options
    if (!hasRoom()) {
      this.#refuse(side)
      return
    }
    this.#full = false
    const events = runner.core.accept(service, side, this.#addressKept ? side.remote : side)
    if (events === undefined) side.reset()
    else side.attach(events)
  }

  #refuse(side: SocketSide): void {
    const { logger, metrics, runner } = this.#options
    side.reset()
    metrics.limitReached.with({ limit: 'connections' }).value++
    if (this.#full) return
    this.#full = true
    logger.event('limit.reached', {
      guest: runner.config.name, limit: 'connections', max: runner.core.settings.connections
    })
  }

  async close(): Promise<void> {
    await Promise.all(this.#listeners.splice(0).map(listener => listener.close()))
  }
}
