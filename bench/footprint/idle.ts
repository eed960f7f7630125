import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as after } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Contender } from '../contender.ts'
import { median } from '../figures.ts'
import { Program } from '../program.ts'
import type { Figure } from '../tool-figures.ts'
import type { Workload } from '../workloads.ts'
import type { IdleFigure } from './report.ts'

const idleProgram = fileURLToPath(new URL('idle-connections.ts', import.meta.url))
const connectedTimeoutMs = 30_000
const runLimitMs = 30_000
/** Memory has settled when it has changed by no more than this over as many looks. */
const settled = { bytes: 128 * 1024, looks: 4, everyMs: 250, looksMax: 40 } as const

export interface IdleOptions {
  /** How many connections are idle, ascending. */
  readonly counts: readonly number[]
  /** Runs of the active connection in each state, and about how long each takes. */
  readonly rounds: number
  readonly seconds: number
  /** What the active connection does. */
  readonly active: Workload
}

/**
 * Memory of `contender` in front of the Redis at `redis` while connections are idle, and what an active one
 * feels of them. Nobody else may use that Redis. Rejects when a connection breaks or does not come through.
 */
export async function measureIdle(
  contender: Contender, redis: number, options: IdleOptions
): Promise<readonly IdleFigure[]> {
  const running = await contender.start([redis])
  const idle: Program[] = []
  const closeIdle = async (): Promise<void> => {
    for (const program of idle.splice(0)) await program.stop()
  }
  try {
    const [port = 0] = running.ports
    if (running.pid === undefined) throw new Error(`${contender.name} has no process of its own`)
    const active = new Active(options, port)
    await active.warmUp()
    const alone = await active.run()
    await connected(redis, nobody)
    const rssBeforeBytes = await settledRss(running.pid)
    const found: (readonly [connections: number, rssBytes: number, figures: readonly Figure[]])[] = []
    let open = 0
    for (const count of options.counts) {
      const args = ['--import=tsx', idleProgram, String(port), String(count - open)]
      const program = new Program('idle connections', 'others', process.execPath, args)
      idle.push(program)
      await program.firstLine()
      open = count
      await connected(redis, (clients) => clients >= count)
      const rssBytes = await settledRss(running.pid)
      found.push([count, rssBytes, await active.run()])
      if (await connectedClients(redis) < count) throw new Error('an idle connection was closed')
    }
    await closeIdle()
    await connected(redis, nobody)
    alone.push(...await active.run())
    await running.verify()
    return found.map(([connections, rssBytes, figures]) => ({
      contender: contender.name, connections, rssBytes, rssBeforeBytes,
      p50Ms: middle(figures, 'p50Ms'), p99Ms: middle(figures, 'p99Ms'),
      p50AloneMs: middle(alone, 'p50Ms'), p99AloneMs: middle(alone, 'p99Ms')
    }))
  } finally {
    await closeIdle()
    await running.stop()
  }
}

function middle(figures: readonly Figure[], name: 'p50Ms' | 'p99Ms'): number {
  return median(figures.map((figure) => figure[name]).filter((value) => value !== undefined))
}

/** The one connection that asks. */
class Active {
  readonly #options: IdleOptions
  readonly #port: number
  #amount: number

  constructor(options: IdleOptions, port: number) {
    this.#options = options
    this.#port = port
    this.#amount = options.active.amountAtFirst
  }

  async warmUp(): Promise<void> {
    const { rate } = await this.#once()
    this.#amount = Math.max(this.#amount, Math.round(rate * this.#options.seconds))
  }

  async run(): Promise<Figure[]> {
    const figures: Figure[] = []
    for (let round = 0; round < this.#options.rounds; round++) figures.push(await this.#once())
    return figures
  }

  #once(): Promise<Figure> {
    const { active, seconds } = this.#options
    return active.run(this.#port, { amount: this.#amount, seconds, limitMs: runLimitMs })
  }
}

/** Resident memory of a process, in bytes, once it changes no more; as it is after ten seconds of change. */
async function settledRss(pid: number): Promise<number> {
  const seen: number[] = []
  for (let look = 0; look < settled.looksMax; look++) {
    seen.push(residentBytes(readFileSync(`/proc/${pid}/status`, 'latin1')))
    const last = seen.slice(-settled.looks)
    if (last.length === settled.looks && Math.max(...last) - Math.min(...last) <= settled.bytes) break
    await after(settled.everyMs)
  }
  return seen.at(-1) ?? 0
}

/** Reads `VmRSS` of /proc/PID/status. */
export function residentBytes(status: string): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]
  if (kib === undefined) throw new Error('the kernel does not say how much memory a process has')
  return Number(kib) * 1024
}

/** What a probe or the active connection has closed counts for as long as it is on its way. */
function nobody(clients: number): boolean {
  return clients === 0
}

/** Resolves when so many clients as `enough` asks for are connected to the Redis at `port`. */
async function connected(port: number, enough: (clients: number) => boolean): Promise<void> {
  const end = performance.now() + connectedTimeoutMs
  let clients = 0
  while (performance.now() < end) {
    clients = await connectedClients(port)
    if (enough(clients)) return
    await after(100)
  }
  throw new Error(`${clients} clients are connected to the service after ${connectedTimeoutMs / 1000} s`)
}

/** How many clients the Redis at `port` has, beside the one that asks. */
async function connectedClients(port: number): Promise<number> {
  const socket = connect(port, '127.0.0.1')
  try {
    let text = ''
    socket.setEncoding('utf8').write('INFO clients\r\n')
    while (!text.includes('maxclients:')) {
      const [piece] = await once(socket, 'data', { signal: AbortSignal.timeout(5000) }) as [string]
      text += piece
    }
    const clients = /connected_clients:(\d+)/.exec(text)?.[1]
    if (clients === undefined) throw new Error(`Redis said: ${text.slice(0, 200)}`)
    return Number(clients) - 1
  } finally {
    socket.destroy()
  }
}
