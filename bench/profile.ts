import { realpath, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { renderTable } from '../src/observe/table.ts'
import { contenders } from './contenders.ts'
import { cpuTimeNs } from './figures.ts'
import { attribute, withReads, type Attribution, type Part } from './profile/attribution.ts'
import { parseProfile, Probe } from './profile/probe.ts'
import { endProgramsAtExit } from './program.ts'
import { startServices } from './services.ts'
import { workloads, type Work } from './workloads.ts'

const usage = `usage: npm run bench:profile -- [OPTIONS]
  --contender NAME  one that is a Node process (tailgate epoch)
  --load NAME       a workload (set, 50 connections)
  --seconds S       about how long it runs (5)
  --top N           functions that are named (20)
  --save FILE       keeps the profile, for a browser's developer tools (.cpuprofile)`

interface Options {
  readonly contender: string
  readonly load: string
  readonly seconds: number
  readonly top: number
  readonly save: string | undefined
}

/** Undefined for a command line that is wrong. */
function options(): Options | undefined {
  try {
    const { values } = parseArgs({
      options: {
        contender: { type: 'string', default: 'tailgate epoch' },
        load: { type: 'string', default: 'set, 50 connections' },
        seconds: { type: 'string', default: '5' },
        top: { type: 'string', default: '20' },
        save: { type: 'string' }
      }
    })
    const [seconds, top] = [Number(values.seconds), Number(values.top)]
    if (!(seconds > 0 && Number.isInteger(top) && top > 0)) return undefined
    return { contender: values.contender, load: values.load, seconds, top, save: values.save }
  } catch {
    return undefined
  }
}

interface Measured {
  readonly profile: string
  readonly amount: number
  readonly unit: 'requests' | 'bytes'
  /** CPU time that the kernel counted, in nanoseconds. */
  readonly cpuNs: number | undefined
}

/** One of `all` by its name. */
function named<T extends { readonly name: string, readonly missing: string | undefined }>(
  all: readonly T[], name: string
): T {
  const found = all.find((one) => one.name === name)
  const names = all.map((one) => one.name).join('; ')
  if (found === undefined) throw new Error(`there is no '${name}', but ${names}`)
  if (found.missing !== undefined) throw new Error(`${name} cannot run: ${found.missing}`)
  return found
}

async function isNode(pid: number): Promise<boolean> {
  return await realpath(`/proc/${pid}/exe`) === await realpath(process.execPath)
}

/** Runs the load twice: to warm up and find the rate, and under the profiler. */
async function measure({ contender: name, load, seconds }: Options): Promise<Measured> {
  const [contender, workload] = [named(contenders(), name), named(workloads, load)]
  const probe = await Probe.prepare()
  const services = await startServices()
  try {
    const running = await contender.start([services.ports[workload.service] ?? 0])
    try {
      const { pid, ports: [port = 0] } = running
      if (pid === undefined || !await isNode(pid)) throw new Error(`${name} is not a Node process`)
      const work = (amount: number): Work => ({ amount, seconds, limitMs: 60_000 + seconds * 20_000 })
      const { rate } = await workload.run(port, work(workload.amountAtFirst))
      await probe.begin(pid)
      const before = cpuTimeNs(pid)
      const { amount } = await workload.run(port, work(Math.max(1, Math.round(rate * seconds))))
      const after = cpuTimeNs(pid)
      const profile = await probe.end(pid)
      await running.verify()
      const cpuNs = before === undefined || after === undefined ? undefined : after - before
      return { profile, amount, unit: workload.unit, cpuNs }
    } finally {
      await running.stop()
    }
  } finally {
    await services.stop()
    await probe.remove()
  }
}

/** The tables: groups, then functions, in microseconds per request, or per 64 KiB of bulk. */
function tables(profiled: Attribution, { amount, unit, cpuNs }: Measured, top: number): string[] {
  const { busyUs, idleUs, groups, functions } = withReads(profiled, (cpuNs ?? 0) / 1000)
  const [per, count] = unit === 'requests' ? ['request', amount] : ['64 KiB', amount / 65_536]
  const row = ({ name, us }: Part): string[] =>
    [name, (us / count).toFixed(3), `${(us / busyUs * 100).toFixed(1)} %`]
  const all = { name: 'all', us: busyUs }
  const head = ['', `µs per ${per}`, 'share']
  const align = ['left', 'right', 'right'] as const
  const idle = (idleUs / (busyUs + idleUs) * 100).toFixed(1)
  return [
    `${Math.round(count)} times ${per}, ${idle} % of the time idle`, '',
    ...renderTable([head, ...groups.map(row), row(all)], { align }), '',
    ...renderTable([head, ...functions.slice(0, top).map(row)], { align }), '',
    'system calls: those that JavaScript makes, writes above all',
    'reads and waits: what libuv does between them (read, epoll_wait): the CPU time that the kernel counted'
      + ` (${(((cpuNs ?? 0) / 1000) / count).toFixed(3)} µs) less what the profiler saw`
  ]
}

/** 0, or 1 with the reason on standard error. */
async function run(chosen: Options): Promise<number> {
  try {
    const measured = await measure(chosen)
    if (chosen.save !== undefined) await writeFile(chosen.save, measured.profile)
    const found = attribute(parseProfile(measured.profile))
    process.stdout.write(`${chosen.contender}, ${chosen.load}\n`)
    process.stdout.write(`${tables(found, measured, chosen.top).join('\n')}\n`)
    return 0
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  }
}

endProgramsAtExit()
const chosen = options()
if (chosen === undefined) process.stderr.write(`${usage}\n`)
process.exitCode = chosen === undefined ? 2 : await run(chosen)
