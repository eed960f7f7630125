/**
 * When the requests of an open loop are due. It depends on nothing that happens while it runs: request `i` is
 * due `i` intervals after the start, on connection `i` modulo their number. So the sender and the reader, in
 * threads of their own, need not tell each other anything: the k-th reply of a connection is known to belong
 * to its k-th request.
 */
export class Schedule {
  readonly total: number
  readonly connections: number
  readonly #intervalMs: number

  constructor(ratePerSecond: number, connections: number, seconds: number) {
    this.#intervalMs = 1000 / ratePerSecond
    this.connections = connections
    this.total = Math.max(1, Math.round(ratePerSecond * seconds))
  }

  /** In milliseconds since the start. */
  dueMs(request: number): number {
    return request * this.#intervalMs
  }

  requestOf(connection: number, reply: number): number {
    return reply * this.connections + connection
  }
}

/** The request that all loads make, of the Redis protocol, and its only right reply. */
export const request = Buffer.from('*3\r\n$3\r\nSET\r\n$7\r\nlatency\r\n$16\r\n0123456789abcdef\r\n')
export const reply = Buffer.from('+OK\r\n')

/**
 * A clock in milliseconds that all threads of a process share: since `startNs` of process.hrtime.bigint(),
 * but without the object that one makes at every reading. Of some readings of both clocks that pair counts
 * which lay closest together, so that it does not matter if the thread is interrupted in between.
 */
export function clockSince(startNs: bigint): () => number {
  let offset = 0
  let closest = Number.POSITIVE_INFINITY
  for (let reading = 0; reading < 100; reading++) {
    const before = performance.now()
    const sinceStart = Number(process.hrtime.bigint() - startNs) / 1e6
    const after = performance.now()
    if (after - before >= closest) continue
    closest = after - before
    offset = sinceStart - (before + after) / 2
  }
  return () => performance.now() + offset
}
