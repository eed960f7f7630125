import { descriptorLimit } from '../src/net/descriptor-room.ts'
import type { ServiceName } from './workloads.ts'

/** What is measured: something that listens and brings clients to the services behind it. */
export interface Contender {
  readonly name: string
  /** Why it cannot be run here; undefined when it can. */
  readonly missing: string | undefined
  /** The one service it is measured with; without, all of them. */
  readonly only?: ServiceName
  /** Starts it in front of `services`; its ports are in their order. */
  start(services: readonly number[]): Promise<Running>
}

/** Whether `contender` is measured with `service`. */
export function runsWith(contender: Pick<Contender, 'only'>, service: ServiceName): boolean {
  return contender.only === undefined || contender.only === service
}

/** What is left for listeners, logs and links. */
const reservedDescriptors = 300

/**
 * How many connections a contender can have open here: two descriptors each, of as many as a process may
 * have.
 */
export function connectionsMax(): number {
  return Math.min(60_000, Math.floor((descriptorLimit() - reservedDescriptors) / 2))
}

export interface Running {
  readonly ports: readonly number[]
  /** The process on the clients' path, whose CPU time is counted; undefined where there is none. */
  readonly pid: number | undefined
  /** Rejects when it has not done what it is measured for: replicated, say. */
  verify(): Promise<void>
  stop(): Promise<void>
}
