import type { GatewayConfig } from '../config/types.ts'

/**
 * What each worker process is configured with, in their order: guests are dealt round robin, in the order of
 * the file; `limits.connections` is shared out evenly, the first ones taking what is left over. The doors for
 * operators are the supervisor's.
 *
 *     guests a b c d e, two workers:   1: a c e   2: b d
 */
export function workerShares(config: GatewayConfig): readonly GatewayConfig[] {
  const { workers, guests, limits } = config
  return Array.from({ length: workers }, (_, index) => {
    const connections = Math.floor((limits.connections + workers - 1 - index) / workers)
    return {
      ...config, metrics: undefined, limits: { ...limits, connections },
      guests: guests.filter((_guest, place) => place % workers === index)
    }
  })
}
