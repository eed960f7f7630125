import { fileURLToPath } from 'node:url'
import { Program } from '../program.ts'
import type { ClosedReport, LoadOrder, OpenReport } from './load.ts'

const file = fileURLToPath(new URL('load.ts', import.meta.url))

/** For its start, and for what is said at the end. */
const spareMs = 60_000

type Order<L extends LoadOrder['loop']> = Omit<LoadOrder & { readonly loop: L }, 'loop'>

/** What a closed loop reaches through `port`. Rejects when a reply is wrong or does not come. */
export async function runClosed(order: Order<'closed'>): Promise<ClosedReport> {
  return JSON.parse(await run({ loop: 'closed', ...order })) as ClosedReport
}

/** An open loop's latencies. Rejects when a reply is wrong, or comes too late. */
export async function runOpen(order: Order<'open'>): Promise<OpenReport> {
  return JSON.parse(await run({ loop: 'open', ...order })) as OpenReport
}

function run(order: LoadOrder): Promise<string> {
  const { loop, warmupSeconds, seconds, graceSeconds = 0 } = order
  const args = ['--import=tsx', file, JSON.stringify(order)]
  const limitMs = spareMs + (warmupSeconds + seconds + graceSeconds) * 1000
  return new Program(`the ${loop} loop`, 'others', process.execPath, args).output(limitMs)
}
