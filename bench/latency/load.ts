import { once } from 'node:events'
import { writeSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import { Histogram, type HistogramPairs } from './histogram.ts'
import { clockSince, reply, request, Schedule } from './schedule.ts'
import type { SenderOrder, SenderReport } from './sender.ts'

/*
 * The load generator of the latency runs, in a process of its own. Its one argument is a LoadOrder as JSON,
 * its one line of output a ClosedReport or an OpenReport.
 */

/**
 * `closed`: every connection has one request under way, for as long; what comes out is the capacity.
 * `open`: requests leave at fixed times, `rate` of them each second over all connections.
 */
export type LoadOrder = {
  /** This machine's own address if it is left out. */
  readonly host?: string
  readonly port: number
  readonly connections: number
  readonly seconds: number
  /** At the beginning, in which nothing is counted. Comes on top of `seconds`. */
  readonly warmupSeconds: number
  /** How long the last reply may take after its request was due; 10 if left out. */
  readonly graceSeconds?: number
} & ({ readonly loop: 'closed' } | {
  readonly loop: 'open'
  readonly rate: number
  /** Whether each request's times are reported, and not only how they are distributed. */
  readonly points: boolean
})

export interface ClosedReport {
  /** Replies per second. */
  readonly rate: number
}

/** Latencies count from the moment when a request was due, whenever it really left. */
export interface OpenReport extends SenderReport {
  readonly requests: number
  /** In tenths of a microsecond. */
  readonly histogram: HistogramPairs
  readonly max: number
  /** What the wall clock said at the start, in milliseconds. */
  readonly startedAt: number
  /** Of each request after the warm-up: due after the start, and its latency, in milliseconds. */
  readonly points: readonly (readonly [dueMs: number, latencyMs: number])[]
}

const graceMsOf = ({ graceSeconds = 10 }: LoadOrder): number => graceSeconds * 1000
const connectMs = 5000
const pointsMax = 100_000

type OnReplies = (connection: number, count: number) => void

/** Connections that count the replies that come, each of which must be the right one. */
class Connections {
  readonly #sockets: Socket[] = []
  readonly #matched: number[] = []
  onReplies: OnReplies = () => undefined
  onFailure: (error: Error) => void = () => undefined

  static async open({ host = '127.0.0.1', port, connections: count }: LoadOrder): Promise<Connections> {
    const connections = new Connections()
    // Nothing is kept of what was read, so one buffer does for all.
    const buffer = Buffer.alloc(64 * 1024)
    for (let index = 0; index < count; index++) {
      connections.#matched.push(0)
      const callback = (bytes: number): boolean => connections.#take(index, buffer, bytes)
      const socket = connect({ host, port, noDelay: true, onread: { buffer, callback } })
      await once(socket, 'connect', { signal: AbortSignal.timeout(connectMs) })
      socket.on('error', (error) => connections.onFailure(error))
      socket.on('close', () => connections.onFailure(new Error('a connection was closed')))
      connections.#sockets.push(socket)
    }
    return connections
  }

  /** Descriptors, to be written to in blocking calls beside the event loop. */
  get descriptors(): readonly number[] {
    return this.#sockets.map((socket) => {
      const { _handle: handle } = socket as unknown as { readonly _handle?: { readonly fd?: number } | null }
      if (handle?.fd === undefined || handle.fd < 0) throw new Error('this Node does not say descriptors')
      return handle.fd
    })
  }

  destroy(): void {
    for (const socket of this.#sockets) {
      socket.removeAllListeners('close')
      socket.destroy()
    }
  }

  #take(connection: number, buffer: Buffer, bytes: number): boolean {
    let matched = this.#matched[connection] ?? 0
    let whole = 0
    for (let at = 0; at < bytes; at++) {
      if (buffer[at] !== reply[matched]) {
        const said = JSON.stringify(buffer.toString('latin1', 0, Math.min(bytes, 80)))
        this.onFailure(new Error(`a reply is not the one asked for: ${said}`))
        return false
      }
      matched++
      if (matched < reply.length) continue
      matched = 0
      whole++
    }
    this.#matched[connection] = matched
    if (whole > 0) this.onReplies(connection, whole)
    return true
  }
}

function closedLoop(connections: Connections, order: LoadOrder): Promise<ClosedReport> {
  const { descriptors } = connections
  const start = performance.now()
  const from = start + order.warmupSeconds * 1000
  const until = from + order.seconds * 1000
  let counted = 0
  return new Promise((resolve, reject) => {
    const impatient = setTimeout(() => reject(new Error('no reply came')), until - start + graceMsOf(order))
    connections.onFailure = reject
    connections.onReplies = (connection, count) => {
      const now = performance.now()
      if (now >= until) {
        clearTimeout(impatient)
        resolve({ rate: counted / (now - from) * 1000 })
        return
      }
      if (now >= from) counted += count
      writeSync(descriptors[connection] ?? -1, request)
    }
    for (const descriptor of descriptors) writeSync(descriptor, request)
  })
}

type OpenOrder = LoadOrder & { readonly loop: 'open' }

/** The half of the open loop that reads. */
class OpenLoop {
  readonly #order: OpenOrder
  readonly #connections: Connections
  readonly #schedule: Schedule
  readonly #histogram = new Histogram()
  readonly #points: (readonly [number, number])[] = []
  readonly #replies: number[]
  #answered = 0

  constructor(connections: Connections, order: OpenOrder) {
    this.#order = order
    this.#connections = connections
    this.#schedule = new Schedule(order.rate, order.connections, order.seconds + order.warmupSeconds)
    if (order.points && this.#schedule.total > pointsMax) {
      throw new RangeError(`times are kept of ${pointsMax} requests at most, not ${this.#schedule.total}`)
    }
    this.#replies = Array.from({ length: order.connections }, () => 0)
  }

  async run(): Promise<OpenReport> {
    const { rate, seconds, warmupSeconds } = this.#order
    // The sender's thread needs some time to start before the first request is due.
    const startNs = process.hrtime.bigint() + 500_000_000n
    const now = clockSince(startNs)
    const startedAt = Date.now() - now()
    const answered = this.#allAnswered(now)
    const workerData: SenderOrder = {
      descriptors: this.#connections.descriptors, rate, seconds: seconds + warmupSeconds, startNs
    }
    const sender = new Worker(senderCode(), { eval: true, workerData })
    const sent = once(sender, 'message') as Promise<[SenderReport]>
    const [[report]] = await Promise.all([sent, answered])
    const { count: requests, max } = this.#histogram
    return {
      requests, histogram: this.#histogram.pairs(), max, startedAt, points: this.#points, ...report
    }
  }

  #allAnswered(now: () => number): Promise<void> {
    const { total } = this.#schedule
    const graceMs = graceMsOf(this.#order)
    return new Promise((resolve, reject) => {
      const lastDueMs = this.#schedule.dueMs(total - 1)
      const impatient = setTimeout(() => {
        reject(new Error(`${total - this.#answered} of ${total} requests are unanswered `
          + `${graceMs / 1000} s after the last one was due`))
      }, lastDueMs - now() + graceMs)
      this.#connections.onFailure = reject
      this.#connections.onReplies = (connection, count) => {
        this.#take(connection, count, now())
        if (this.#answered < total) return
        clearTimeout(impatient)
        resolve()
      }
    })
  }

  #take(connection: number, count: number, now: number): void {
    const warmupMs = this.#order.warmupSeconds * 1000
    let next = this.#replies[connection] ?? 0
    for (const last = next + count; next < last; next++) {
      const due = this.#schedule.dueMs(this.#schedule.requestOf(connection, next))
      if (due < warmupMs) continue
      this.#histogram.record((now - due) * 1e4)
      if (this.#order.points) this.#points.push([due, now - due])
    }
    this.#replies[connection] = next
    this.#answered += count
  }
}

/** Node 20 runs no TypeScript as the first module of a thread, so the first is a line that loads it. */
function senderCode(): string {
  const modules = ['tsx/esm/api', './sender.ts']
  const [tsx, sender] = modules.map((module) => JSON.stringify(import.meta.resolve(module)))
  return `import(${tsx}).then(({ register }) => { register(); return import(${sender}) })`
}

async function run(order: LoadOrder): Promise<ClosedReport | OpenReport> {
  const connections = await Connections.open(order)
  try {
    return order.loop === 'closed'
      ? await closedLoop(connections, order)
      : await new OpenLoop(connections, order).run()
  } finally {
    connections.destroy()
  }
}

const [text = ''] = process.argv.slice(2)
const report = await run(JSON.parse(text) as LoadOrder)
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0))
