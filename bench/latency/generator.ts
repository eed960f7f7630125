import { fileURLToPath } from 'node:url'
import { Program } from '../program.ts'
import type { ClosedReport, LoadOrder, OpenReport } from './load.ts'

const file = fileURLToPath(new URL('load.ts', import.meta.url))

type Order<L extends LoadOrder['loop']> = Omit<LoadOrder & { readonly loop: L }, 'loop'>

/** What a closed loop reaches through `port`. Rejects when a reply is wrong or does not come. */
export async function runClosed(order: Order<'closed'>): Promise<ClosedReport> {
  return JSON.parse(await run({ loop: 'closed', ...order })) as ClosedReport
}

/** An open loop's latencies. Rejects when a reply is wrong, or does not come within 10 s. */
export async function runOpen(order: Order<'open'>): Promise<OpenReport> {
  return JSON.parse(await run({ loop: 'open', ...order })) as OpenReport
}

function run(order: LoadOrder): Promise<string> {
  const args = ['--import=tsx', file, JSON.stringify(order)]
  return new Program(`the ${order.loop} loop`, 'others', process.execPath, args).output()
}
