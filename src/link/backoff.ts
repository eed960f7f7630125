import { invariant } from '../base/invariant.ts'

/** How long to wait between attempts to dial, in milliseconds. */
export interface Backoff {
  readonly firstMs: number
  readonly lastMs: number
  readonly factor: number
}

export const defaultBackoff: Backoff = { firstMs: 50, lastMs: 2000, factor: 2 }

/**
 * The wait before attempt number `attempt` (1 for the first after a failure), in milliseconds: it grows by
 * `factor` up to `lastMs`, and of it a share between half and the whole is taken, so that those who lost the
 * same peer do not all come back in the same moment.
 *
 * @param random evenly between 0 and 1, 1 excluded
 */
export function backoffMs(backoff: Backoff, attempt: number, random: number): number {
  invariant(attempt >= 1 && random >= 0 && random < 1, 'a backoff without an attempt', { attempt, random })
  const whole = Math.min(backoff.lastMs, backoff.firstMs * backoff.factor ** (attempt - 1))
  return whole * (0.5 + random / 2)
}
