import { execFile } from 'node:child_process'
import { setTimeout as after } from 'node:timers/promises'
import { promisify } from 'node:util'
import { askStatus } from '../../src/observe/admin-client.ts'
import { logRoom } from '../log-room.ts'
import { programPath } from '../program.ts'
import { startTailgate, type Mode, type RunningTailgate } from '../tailgate.ts'
import { echo, serviceNames, workloads, type ServiceName, type Workload } from '../workloads.ts'
import type { LinkFigure } from './report.ts'

const ssProgram = programPath('ss')
/** Why bytes on the link cannot be counted here; undefined when they can. */
export const linkMissing = ssProgram === undefined
  ? 'ss is not installed (Debian package iproute2)'
  : undefined

const runLimitMs = 60_000
const quietTimeoutMs = 20_000

/** A workload and how much of it is done, requests or bytes. */
export interface LinkLoad {
  readonly workload: Workload
  readonly amount: number
}

const mebibyte = 1 << 20

/** Loads that differ in how large inputs are and in how many come at a time. Quick: a part of each. */
export function linkLoads(quick: boolean): readonly LinkLoad[] {
  const part = quick ? 0.2 : 1
  const amounts: readonly (readonly [Workload, number])[] = [
    ...workloads.flatMap((workload): (readonly [Workload, number])[] => {
      switch (workload.name) {
        case 'get, 50 connections': return [[workload, 100_000]]
        case 'get, 50 x pipeline 16': return [[workload, 400_000]]
        case 'bulk up': return [[workload, Math.min(256 * mebibyte, logRoom.memoryBytes / 4)]]
        default: return []
      }
    }),
    [echo(1), 20_000], [echo(50), 200_000]
  ]
  return amounts.map(([workload, amount]) => ({ workload, amount: Math.floor(amount * part) }))
}

/** Counts what each load puts on the link of `mode` to its backup. */
export async function measureLink(
  mode: Mode, services: Readonly<Partial<Record<ServiceName, number>>>, loads: readonly LinkLoad[]
): Promise<readonly LinkFigure[]> {
  const there = serviceNames.filter((name) => services[name] !== undefined)
  const running = await startTailgate(mode, there.map((name) => services[name] ?? 0))
  try {
    const figures: LinkFigure[] = []
    for (const { workload, amount } of loads) {
      const port = running.ports[there.indexOf(workload.service)] ?? 0
      const before = await quietCounts(running)
      await workload.run(port, { amount, seconds: 1, limitMs: runLimitMs })
      const now = await quietCounts(running)
      figures.push({ contender: `tailgate ${mode}`, load: workload.name, ...difference(now, before) })
    }
    await running.verify()
    return figures
  } finally {
    await running.stop()
  }
}

type Counts = Omit<LinkFigure, 'contender' | 'load'>

function difference(now: Counts, before: Counts): Counts {
  return {
    inputBytes: now.inputBytes - before.inputBytes, events: now.events - before.events,
    epochs: now.epochs - before.epochs, recordBytes: now.recordBytes - before.recordBytes,
    linkBytes: now.linkBytes - before.linkBytes
  }
}

/** The counts once no connection is open and all that happened is committed. */
async function quietCounts(running: RunningTailgate): Promise<Counts> {
  const end = performance.now() + quietTimeoutMs
  while (performance.now() < end) {
    const [guest] = (await askStatus(running.admin)).guests
    if (guest === undefined) throw new Error('the gateway has no guest')
    const { receivedBytes, loggedLsn, committedLsn } = guest.positions
    const open = Object.values(guest.connections).reduce((sum, count) => sum + count, 0)
    if (open === 0 && loggedLsn === committedLsn) {
      const epochs = await epochCounts(running.metrics)
      const linkBytes = await sentBytes(running.pid, running.backupLink ?? 0)
      return { inputBytes: receivedBytes, events: loggedLsn, linkBytes, ...epochs }
    }
    await after(50)
  }
  throw new Error(`the gateway was not quiet after ${quietTimeoutMs / 1000} s`)
}

async function epochCounts(port: number): Promise<Pick<Counts, 'epochs' | 'recordBytes'>> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`, { signal: AbortSignal.timeout(5000) })
  const text = await answer.text()
  return {
    epochs: metricIn(text, 'tailgate_epoch_bytes_count'),
    recordBytes: metricIn(text, 'tailgate_epoch_bytes_sum')
  }
}

/** The value of a metric of the one guest there is. */
export function metricIn(text: string, name: string): number {
  const line = text.split('\n').find((one) => one.startsWith(`${name}{`))
  if (line === undefined) throw new Error(`the gateway's metrics have no ${name}`)
  return Number(line.slice(line.lastIndexOf(' ')))
}

/** What the process has sent over its connection to `port`, as the kernel counts it. */
async function sentBytes(pid: number, port: number): Promise<number> {
  const args = ['-tinpOH', 'state', 'established', 'dst', `127.0.0.1:${port}`]
  const { stdout } = await promisify(execFile)(ssProgram ?? 'ss', args, { timeout: 5000 })
  return acknowledgedBytes(stdout, pid)
}

/** Reads `ss -tinpOH`: the bytes of the one connection of `pid` that the other end has acknowledged. */
export function acknowledgedBytes(text: string, pid: number): number {
  const mine = text.split('\n').filter((line) => line.includes(`pid=${pid},`))
  const [line] = mine
  if (line === undefined || mine.length > 1) {
    throw new Error(`ss shows ${mine.length} links of process ${pid}`)
  }
  const bytes = /\bbytes_acked:(\d+)/.exec(line)?.[1]
  if (bytes === undefined) throw new Error(`ss does not say what was sent: ${line}`)
  return Number(bytes)
}
