import { messageOf } from '../../src/base/errors.ts'
import type { LogLines } from '../../test/failover/log-lines.ts'
import type { ServiceAddress } from './clients.ts'

/** A gateway and two hosts, of which one has the guest, and the other is to be its backup. */
export interface FailoverSite {
  readonly service: ServiceAddress
  /** The socket at which the gateway can be asked. */
  readonly admin: string
  /** What the gateway logs. */
  readonly log: LogLines
  /** Starts the host that is down, which becomes the backup of the guest as it is by then. */
  startBackup(): Promise<void>
  /**
   * Kills the guest's host as a power cut would; what can be heard of it is over when this returns, before it
   * resolves. The other one is the primary from then on.
   */
  killPrimary(): Promise<void>
  stop(): Promise<void>
}

/** What of a gateway's configuration matters to the figures. */
export interface SiteTimes {
  readonly heartbeatMs: number
  readonly misses: number
  readonly leaseMs: number
}

/** Long enough for a machine that is busy with the load; how long detection takes is told, not judged. */
export const embeddedTimes: SiteTimes = { heartbeatMs: 100, misses: 10, leaseMs: 1000 }
export const qemuTimes: SiteTimes = { heartbeatMs: 200, misses: 8, leaseMs: 1600 }

/** No checkpoint is made but the first one after a backup has come. */
export const rarely = '24h'

/** The log of the longest tail stays in memory. */
export function logLimits(tailBytes: number): { readonly memory: string, readonly total: string } {
  const mebibytes = Math.max(256, Math.ceil(tailBytes / (1 << 20) * 1.5))
  return { memory: `${mebibytes}MiB`, total: `${mebibytes + 4096}MiB` }
}

/** Rejects when `work` takes longer, and says in which step it failed if it does. */
export async function within<T>(work: Promise<T>, limitMs: number, what: string): Promise<T> {
  let impatient: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    impatient = setTimeout(() => reject(new Error(`${what} took longer than ${limitMs / 1000} s`)), limitMs)
  })
  const told = work.catch((cause: unknown) => {
    throw new Error(`${what}: ${messageOf(cause)}`, { cause })
  })
  return Promise.race([told, late]).finally(() => clearTimeout(impatient))
}
