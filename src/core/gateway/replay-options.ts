import type { Millis } from '../ids.ts'
import type { DataPath } from './data-path.ts'
import type { HeldOutput } from './held-output.ts'
import type { GatewayPort } from './port.ts'
import type { GuestSettings } from './settings.ts'

export interface ReplayCounts {
  records: number
  inputBytes: number
  kept: number
  reset: number
  diverged: number
  /** How often a connection was set aside: input was sent before the output that it had come after. */
  reordered: number
  unverifiedBytes: number
}

export interface ReplayOptions {
  readonly settings: GuestSettings
  readonly port: GatewayPort
  readonly dataPath: DataPath
  readonly held: HeldOutput
  readonly now: Millis
  /** Records were passed, or may be wanted. */
  readonly progress: () => void
  /** The old history is of no use any more: what is read from now on belongs to none. */
  readonly goingLive: () => void
  /** Everything is replayed and every connection resolved. */
  readonly done: () => void
  /** A connection diverged or was ambiguous. */
  readonly diverged: (reason: string) => void
}
