import type { LogLine } from '../../src/demo/log-line.ts'

/** A checkpoint that counts, on the wall clock. */
export interface CountedCheckpoint {
  /** When the guest stood still for it, as the gateway saw it. */
  readonly markAt: number
  readonly bytes: number
}

/** What the gateway's line `checkpoint.counted` says; undefined where it does not say how long that took. */
export function countedCheckpoint({ time, durationMs, bytes }: LogLine): CountedCheckpoint | undefined {
  if (typeof durationMs !== 'number') return undefined
  return { markAt: Date.parse(String(time)) - durationMs, bytes: Number(bytes) }
}
