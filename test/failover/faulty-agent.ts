import { open } from 'node:fs/promises'
import type * as Agent from '../../src/agent/main.ts'
import type * as Load from '../../src/config/load.ts'
import type * as Embedded from '../../src/engine/embedded.ts'

// An agent of dist whose guest and disk can be told to misbehave: the first argument is its configuration,
// the second the faults of its guest from the beginning, and further orders come as messages.

export interface FaultOrder {
  readonly guest?: Embedded.Misbehaviour
  /** Whether the disk answers no flush until it is told otherwise. */
  readonly diskHangs?: boolean
}

const dist = (path: string): string => new URL(`../../dist/${path}`, import.meta.url).href
const { runAgent } = await import(dist('agent/main.js')) as typeof Agent
const { loadAgentConfig } = await import(dist('config/load.js')) as typeof Load
const { EmbeddedEngine } = await import(dist('engine/embedded.js')) as typeof Embedded

const [file = '', faults = '{}'] = process.argv.slice(2)
const engine = new EmbeddedEngine({
  host: '127.0.0.1', ports: [0], silenceMs: 2000, misbehave: JSON.parse(faults) as Embedded.Misbehaviour
})

const flushes = ['datasync', 'sync', 'writev'] as const
/** Flushes that wait while the disk hangs. */
let hanging: (() => void)[] | undefined

type Flush = (...args: unknown[]) => Promise<unknown>

/** A log's block is written and flushed by one `writev`. */
async function breakFlushes(): Promise<void> {
  const handle = await open(file)
  const prototype = Object.getPrototypeOf(handle) as Record<typeof flushes[number], Flush>
  await handle.close()
  for (const name of flushes) {
    const original = prototype[name]
    prototype[name] = async function (this: unknown, ...args: unknown[]): Promise<unknown> {
      if (hanging !== undefined) await new Promise<void>((resolve) => hanging?.push(resolve))
      return original.apply(this, args)
    }
  }
}

process.on('message', (order: FaultOrder) => {
  if (order.guest !== undefined) engine.misbehave(order.guest)
  if (order.diskHangs === true) hanging ??= []
  if (order.diskHangs !== false) return
  const waiting = hanging ?? []
  hanging = undefined
  for (const go of waiting) go()
})

await breakFlushes()
await runAgent(loadAgentConfig(file), { engines: new Map([['guest', engine]]) })
