import { requestBytes } from './requests.ts'
import { failoverGoal, usualValueBytes, type Point, type ReplayOrder } from './report.ts'

const megabyte = 1e6
/** Free memory per byte of the tail: it is in the log, in messages, and in what the kernel has under way. */
const memoryPerTailByte = 4

/** How long the tail is while the number of connections changes, and the other way round. */
export const usualTailBytes = megabyte
export const usualConnections = 100

/** What of a point a person names. */
export interface Wanted {
  readonly connections: number
  readonly tailBytes: number
  readonly valueBytes?: number
  readonly order?: ReplayOrder
}

const goal: readonly Wanted[] = [failoverGoal, { ...failoverGoal, order: 'arrival' }]

/** The same goal with fewer, larger requests: what each one costs, and what each byte. */
const largeValues: Wanted = { ...failoverGoal, valueBytes: 10 * usualValueBytes }

export const quickPoints: readonly Wanted[] = [
  { connections: 10, tailBytes: 0.1 * megabyte }, { connections: usualConnections, tailBytes: usualTailBytes }
]

export const embeddedPoints: readonly Wanted[] = [
  ...[1, 10, 100, 1000, 10_000].map((connections) => ({ connections, tailBytes: usualTailBytes })),
  ...[10, 100, 1000].map((megabytes) =>
    ({ connections: usualConnections, tailBytes: megabytes * megabyte })),
  ...goal, largeValues
]

export const qemuPoints: readonly Wanted[] = [
  ...[1, 100, 1000].map((connections) => ({ connections, tailBytes: usualTailBytes })),
  ...[10, 100].map((megabytes) => ({ connections: usualConnections, tailBytes: megabytes * megabyte })),
  ...goal, largeValues
]

/**
 * How the tail is sent: as requests of the usual size, and at least one on each connection, for which values
 * may have to be smaller.
 */
export function pointOf(
  { connections, tailBytes, valueBytes: asked = usualValueBytes, order = 'output' }: Wanted
): Point {
  const each = tailBytes / connections
  const overhead = requestBytes(connections - 1, asked) - asked
  const valueBytes = Math.max(1, Math.min(asked, Math.floor(each - overhead)))
  const requests = Math.max(1, Math.round(each / (valueBytes + overhead)))
  return { connections, tailBytes, valueBytes, order, requests }
}

/** A tail that is sent and replayed for minutes is not replayed again and again. */
export function roundsOf({ tailBytes }: Point, rounds: number): number {
  if (tailBytes >= 1000 * megabyte) return 1
  return tailBytes >= 100 * megabyte ? Math.min(rounds, 2) : rounds
}

/** What there is room for, and sentences about what there is not. */
export interface Possible {
  readonly points: readonly Wanted[]
  readonly missing: readonly string[]
}

/**
 * `connectionsMax` by the limit of open files: a point beyond is measured with as many. A tail for which
 * there is no memory is left out.
 */
export function possible(
  wanted: readonly Wanted[], limits: { readonly connectionsMax: number, readonly memoryBytes: number }
): Possible {
  const { connectionsMax, memoryBytes } = limits
  const missing: string[] = []
  const points = wanted.flatMap((point): Wanted[] => {
    if (point.tailBytes * memoryPerTailByte > memoryBytes) {
      missing.push(`a tail of ${point.tailBytes / megabyte} MB: it needs ${memoryPerTailByte} times as much `
        + `memory, and ${Math.round(memoryBytes / megabyte)} MB are free`)
      return []
    }
    if (point.connections <= connectionsMax) return [point]
    missing.push(`${point.connections} connections: the limit of open files allows ${connectionsMax}, which `
      + 'are measured in their place')
    return [{ ...point, connections: connectionsMax }]
  })
  return { points, missing }
}

/** Reads `CONNECTIONSxMEGABYTES`, or that with `xBYTES` for the size of values. Throws a TypeError. */
export function parsePoint(text: string): Wanted {
  const [connections = 0, megabytes = 0, valueBytes = usualValueBytes, ...rest] = text.split('x').map(Number)
  const isRight = Number.isInteger(connections) && connections > 0 && megabytes > 0 && megabytes <= 10_000
    && Number.isInteger(valueBytes) && valueBytes > 0 && rest.length === 0
  if (!isRight) throw new TypeError('point')
  return { connections, tailBytes: megabytes * megabyte, valueBytes }
}
