import { fileURLToPath } from 'node:url'
import { Program, programPath, type Place } from './program.ts'
import { benchmarkFigure, wrkFigure, type Figure } from './tool-figures.ts'

/** The services behind every contender. */
export const serviceNames = ['redis', 'bulk', 'slow', 'http'] as const
export type ServiceName = typeof serviceNames[number]
/** What an answer of the slow service takes, in microseconds. */
export const slowServiceUs = 300

/** How much one run does. */
export interface Work {
  /** Requests, or bytes: for load generators that are told how much to do. */
  readonly amount: number
  /** For those that are told how long. */
  readonly seconds: number
  /** After so many milliseconds a run has failed. */
  readonly limitMs: number
}

/** Something that a service is made to do through a contender. */
export interface Workload {
  readonly name: string
  readonly service: ServiceName
  readonly unit: 'requests' | 'bytes'
  /** Enough for a first guess of the rate. */
  readonly amountAtFirst: number
  /** So much of it is input that the room for logs bounds it. */
  readonly fillsLog: boolean
  /** Why it cannot be run here; undefined when it can. */
  readonly missing: string | undefined
  /** Does it through `port`. Rejects when it was not done well, or not within its limit. */
  run(port: number, work: Work): Promise<Figure>
}

const benchmarkProgram = programPath('redis-benchmark')
const wrkProgram = programPath('wrk')

/** All workloads, in the order of the table. */
export const workloads: readonly Workload[] = [
  redis('get, 50 connections', 10_000, ['-c', '50', '-t', 'get']),
  redis('set, 50 connections', 10_000, ['-c', '50', '-t', 'set']),
  redis('get, 1 connection', 1000, ['-c', '1', '-t', 'get']),
  redis('set, 1 connection', 1000, ['-c', '1', '-t', 'set']),
  redis(`get, 1 connection, service ${slowServiceUs} us`, 500, ['-c', '1', '-t', 'get'], 'slow'),
  redis('get, 50 x pipeline 16', 100_000, ['-c', '50', '-P', '16', '-t', 'get']),
  redis('set, 50 x pipeline 16', 100_000, ['-c', '50', '-P', '16', '-t', 'set']),
  http('http keep-alive, 64 connections', 64),
  redis('churn, 50 connections', 2000, ['-c', '50', '-k', '0', '-t', 'get']),
  bulk('bulk up', 'up', 2),
  bulk('bulk down', 'down', 2)
]

/**
 * On whatever processors, for a gateway that may use several: loads of which the gateway has a large share,
 * because nothing in them is done for many requests at a time.
 */
export const workloadsAnywhere: readonly Workload[] = [
  redis('get, 50 connections', 2000, ['-c', '50', '-t', 'get'], 'redis', 'anywhere'),
  redis('churn, 50 connections', 500, ['-c', '50', '-k', '0', '-t', 'get'], 'redis', 'anywhere')
]

function redis(
  name: string, amountAtFirst: number, args: readonly string[], service: ServiceName = 'redis',
  place: Place = 'others'
): Workload {
  return {
    name, service, unit: 'requests', amountAtFirst, fillsLog: false,
    missing: benchmarkProgram === undefined
      ? 'redis-benchmark is not installed (Debian package redis-tools)'
      : undefined,
    async run(port, { amount, limitMs }) {
      const where = ['-h', '127.0.0.1', '-p', String(port)]
      const all = [...where, '-n', String(amount), '-r', '1000', '--csv', ...args]
      const program = new Program('redis-benchmark', place, benchmarkProgram ?? 'redis-benchmark', all)
      return benchmarkFigure(await program.output(limitMs), amount)
    }
  }
}

/** wrk counts in whole seconds, so that a run takes one at least. */
function http(name: string, connections: number): Workload {
  return {
    name, service: 'http', unit: 'requests', amountAtFirst: 1, fillsLog: false,
    missing: wrkProgram === undefined ? 'wrk is not installed (Debian package wrk)' : undefined,
    async run(port, { seconds, limitMs }) {
      const duration = Math.max(1, Math.round(seconds))
      const load = ['-t', '1', '-c', String(connections), '-d', `${duration}s`, '--latency']
      const args = [...load, `http://127.0.0.1:${port}/`]
      return wrkFigure(await new Program('wrk', 'others', wrkProgram ?? 'wrk', args).output(limitMs))
    }
  }
}

const bulkProgram = fileURLToPath(new URL('bulk.ts', import.meta.url))

/** A byte at a time on each connection, sent back by the service: an input of its own each. */
export function echo(connections: number): Workload {
  const name = `one byte at a time, ${connections} connection${connections === 1 ? '' : 's'}`
  return { ...bulk(name, 'echo', connections), amountAtFirst: 1000 }
}

function bulk(name: string, direction: 'up' | 'down' | 'echo', connections: number): Workload {
  return {
    name, service: 'bulk', unit: 'bytes', amountAtFirst: 64 << 20, fillsLog: direction === 'up',
    missing: undefined,
    async run(port, { amount, limitMs }) {
      const args = ['--import=tsx', bulkProgram, 'load', port, direction, amount, connections].map(String)
      const program = new Program('bulk load', 'others', process.execPath, args)
      const seconds = Number(await program.output(limitMs))
      return { rate: amount / seconds, amount, p50Ms: undefined, p99Ms: undefined }
    }
  }
}
