import type { TerminationCode } from '../observe/connection-log.ts'
import type { MetricCell } from '../observe/metric-registry.ts'
import type { GatewayMetrics } from '../observe/metrics.ts'

/** What is counted of one service's connections: each series is found once, when it is first needed. */
export class ServiceCounters {
  readonly service: string
  /** Totals of the connections that have ended. */
  readonly total = { inputBytes: 0, outputBytes: 0 }
  readonly #guest: string
  readonly #metrics: GatewayMetrics
  #accepted: MetricCell | undefined
  readonly #ended = new Map<TerminationCode, MetricCell>()

  constructor(guest: string, service: string, metrics: GatewayMetrics) {
    this.service = service
    this.#guest = guest
    this.#metrics = metrics
  }

  accepted(): void {
    this.#accepted ??= this.#metrics.connectionsAccepted.with({ guest: this.#guest, service: this.service })
    this.#accepted.value++
  }

  ended(end: TerminationCode): void {
    let cell = this.#ended.get(end)
    if (cell === undefined) {
      cell = this.#metrics.connectionsEnded.with({ guest: this.#guest, service: this.service, end })
      this.#ended.set(end, cell)
    }
    cell.value++
  }
}
