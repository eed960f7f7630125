import type { GatewayConfig } from '../config/types.ts'
import { startAdminServer, type AdminHandlers } from '../observe/admin.ts'
import { startMetricsServer, type MetricsServerOptions } from '../observe/http.ts'
import type { Logger } from '../observe/logger.ts'

/** The ways in for operators and scrapers: the metrics listener, where there is one, and the admin socket. */
export class OperatorDoors {
  readonly #closers: (() => Promise<void>)[] = []

  /** Rejects with E_LISTEN and E_ADMIN; what was opened until then must be closed by the caller. */
  async open(
    { metrics, admin }: Pick<GatewayConfig, 'metrics' | 'admin'>, logger: Logger,
    answers: { readonly scrapers: MetricsServerOptions, readonly operators: AdminHandlers }
  ): Promise<void> {
    if (metrics !== undefined) {
      const server = await startMetricsServer(metrics, answers.scrapers)
      this.#closers.push(() => server.close())
      logger.event('metrics.listening', { address: server.address })
    }
    const server = await startAdminServer(admin, answers.operators)
    this.#closers.push(() => server.close())
    logger.event('admin.listening', { path: admin })
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close()
  }
}
