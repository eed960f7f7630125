import { fileURLToPath } from 'node:url'
import { freePorts, Program, programPath } from './program.ts'

/** One run's outcome. */
export interface Figure {
  /** Requests per second, or bytes per second. */
  readonly rate: number
  /** Median time of a request in milliseconds; undefined for bulk. */
  readonly p50Ms: number | undefined
}

/** Something that a service is made to do through a contender. */
export interface Workload {
  readonly name: string
  /** Which of the services it uses. */
  readonly service: 'redis' | 'bulk'
  readonly unit: 'requests' | 'bytes'
  /** Enough for a first guess of the rate. */
  readonly amountAtFirst: number
  /** Makes so many requests, or moves so many bytes, through `port`. */
  run(port: number, amount: number): Promise<Figure>
}

export const workloads: readonly Workload[] = [
  redis('get, 50 connections', 20_000, ['-c', '50', '-t', 'get']),
  redis('set, 50 connections', 20_000, ['-c', '50', '-t', 'set']),
  redis('get, 1 connection', 3000, ['-c', '1', '-t', 'get']),
  redis('set, 1 connection', 3000, ['-c', '1', '-t', 'set']),
  redis('set, 50 x pipeline 16', 100_000, ['-c', '50', '-P', '16', '-t', 'set']),
  redis('churn, 50 connections', 3000, ['-c', '50', '-k', '0', '-t', 'get']),
  bulk('bulk up', 'up'),
  bulk('bulk down', 'down')
]

export const benchmarkProgram = programPath('redis-benchmark')

function redis(name: string, amountAtFirst: number, args: readonly string[]): Workload {
  return {
    name, service: 'redis', unit: 'requests', amountAtFirst,
    async run(port, amount) {
      const where = ['-h', '127.0.0.1', '-p', String(port)]
      const all = [...where, '-n', String(amount), '-r', '1000', '--csv', ...args]
      const output = await new Program('redis-benchmark', 'others', benchmarkProgram ?? '', all).output()
      return benchmarkFigure(output)
    }
  }
}

/**
 * Reads `redis-benchmark --csv`: a header line, and a line
 * "test","rps","avg","min","p50","p95","p99","max".
 */
export function benchmarkFigure(csv: string): Figure {
  const [header = '', line = ''] = csv.trim().split('\n').slice(-2).map((text) => text.replaceAll('"', ''))
  const columns = header.split(',')
  const values = line.split(',')
  const column = (name: string): number => Number(values[columns.indexOf(name)])
  const figure = { rate: column('rps'), p50Ms: column('p50_latency_ms') }
  if (!(figure.rate > 0 && figure.p50Ms >= 0)) throw new Error(`redis-benchmark said: ${csv.slice(-500)}`)
  return figure
}

const bulkProgram = fileURLToPath(new URL('bulk.ts', import.meta.url))
const bulkConnections = 2

function bulk(name: string, direction: 'up' | 'down'): Workload {
  return {
    name, service: 'bulk', unit: 'bytes', amountAtFirst: 64 << 20,
    async run(port, amount) {
      const args = ['--import=tsx', bulkProgram, 'load', port, direction, amount, bulkConnections].map(String)
      const seconds = await new Program('bulk load', 'others', process.execPath, args).output()
      return { rate: amount / Number(seconds), p50Ms: undefined }
    }
  }
}

/**
 * The services behind every contender: a real Redis without persistence, and the other end of bulk
 * transfer.
 */
export async function startServices(): Promise<{
  readonly ports: { readonly redis: number, readonly bulk: number }, stop(): Promise<void>
}> {
  const server = programPath('redis-server')
  if (server === undefined || benchmarkProgram === undefined) {
    throw new Error('redis-server and redis-benchmark are needed (Debian packages redis-server, redis-tools)')
  }
  const [port = 0] = await freePorts(1)
  const quiet = ['--save', '', '--appendonly', 'no', '--loglevel', 'warning', '--daemonize', 'no']
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--maxclients', '10000', ...quiet]
  const redisServer = new Program('redis-server', 'others', server, args)
  await redisServer.listening(port)
  const serve = ['--import=tsx', bulkProgram, 'serve']
  const bulkServer = new Program('bulk service', 'others', process.execPath, serve)
  const bulkPort = Number(await bulkServer.firstLine())
  return {
    ports: { redis: port, bulk: bulkPort },
    stop: async () => {
      await bulkServer.stop()
      await redisServer.stop()
    }
  }
}
