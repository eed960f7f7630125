import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as after } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { askStatus } from '../src/observe/admin-client.ts'
import type { Contender, Running } from './contender.ts'
import { logRoom, logsOnDisk } from './log-room.ts'
import { freePorts, Program, type Place } from './program.ts'

/**
 * `plain`: no backup. The others replicate the input, and with `epoch` and `epoch disk` output waits until
 * the backup has it in memory, or on its disk.
 */
export type Mode = 'plain' | 'immediate' | 'epoch' | 'epoch disk'

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const linkTimeoutMs = 20_000
/** The first host that the gateway's file names is the first primary. */
const [primary, backup] = ['one', 'two']

/** The gateway in one mode, compiled, with its agents in processes of their own. */
export function tailgate(mode: Mode): Contender {
  const verbs = mode === 'plain' ? ['gateway'] : ['gateway', 'agent']
  const built = verbs.every((verb) =>
    existsSync(fileURLToPath(new URL(`../dist/cli/verbs/${verb}.js`, import.meta.url))))
  return {
    name: `tailgate ${mode}`,
    missing: built ? missingFor(mode) : `dist has no ${verbs.join(' or ')} to run (npm run ready)`,
    start: (services) => startTailgate(mode, services)
  }
}

/** A gateway that runs, and where it can be asked about itself. */
export interface RunningTailgate extends Running {
  readonly pid: number
  /** The socket for {@link askStatus}. */
  readonly admin: string
  /** The port of the gateway's metrics. */
  readonly metrics: number
  /** The port that the link to the backup goes to; undefined where there is no backup. */
  readonly backupLink: number | undefined
}

/** How a gateway is divided. */
export interface Layout {
  /** The services of each guest, by their ports. */
  readonly guests: readonly (readonly number[])[]
  readonly workers: number
  /** Where gateway and agents run. */
  readonly places: { readonly gateway: Place, readonly agents: Place }
  /** Gateways whose logs have to fit beside each other. */
  readonly gateways: number
}

/** Starts what {@link tailgate} is. */
export function startTailgate(mode: Mode, services: readonly number[]): Promise<RunningTailgate> {
  // The backup is another machine in earnest, so it does not share the gateway's processor.
  const places = { gateway: 'contender', agents: 'others' } as const
  return startDivided(mode, { guests: [services], workers: 1, places, gateways: 1 })
}

/** The same with several guests, and several worker processes; ports are in the order of the guests. */
export function startDivided(mode: Mode, layout: Layout): Promise<RunningTailgate> {
  return new Installation(mode, layout).start()
}

function missingFor(mode: Mode): string | undefined {
  if (mode !== 'epoch disk' || logsOnDisk) return undefined
  return 'the directory of temporary files is in memory; name one on a disk in TMPDIR'
}

/**
 * The replicated guest's log. In memory, nothing may spill: it would be the disk that is measured. What is
 * over `memory` all the same goes to disk, where {@link verifyPlace} finds it.
 */
function logOf(
  mode: Mode, logs: number
): { readonly durability: string, readonly log: Readonly<Record<string, string>> } {
  const memoryBytes = Math.floor(logRoom.memoryBytes / logs)
  const { diskBytes } = logRoom
  return mode === 'epoch disk'
    ? { durability: 'disk', log: { total: `${diskBytes}B` } }
    : { durability: 'memory', log: { memory: `${memoryBytes}B`, total: `${memoryBytes + diskBytes}B` } }
}

interface Host {
  readonly name: string
  /** Of its agent's link. */
  readonly port: number
}

/** One gateway, and for a replicated guest two agents, in a directory that goes when they stop. */
class Installation {
  readonly #mode: Mode
  readonly #layout: Layout
  readonly #services: readonly number[]
  readonly #programs: Program[] = []

  constructor(mode: Mode, layout: Layout) {
    this.#mode = mode
    this.#layout = layout
    this.#services = layout.guests.flat()
  }

  async start(): Promise<RunningTailgate> {
    const directory = await mkdtemp(join(tmpdir(), 'tailgate-bench-'))
    const [metrics = 0, first = 0, second = 0, ...ports] = await freePorts(3 + this.#services.length)
    const hosts = [{ name: primary, port: first }, { name: backup, port: second }]
    const links = this.#mode === 'plain' ? [] : hosts
    try {
      for (const link of links) await this.#startAgent(directory, link)
      const gateway = await this.#startGateway(directory, metrics, links, ports)
      const before = links.length === 0 ? undefined : await replicating(directory)
      return {
        ports, pid: gateway.pid, admin: join(directory, 'state', 'admin.sock'), metrics,
        backupLink: links.length === 0 ? undefined : second,
        verify: async () => {
          if (before === undefined) return
          await verifyReplication(directory, before)
          await verifyPlace(join(directory, backup), this.#mode)
        },
        stop: () => this.#stop(directory)
      }
    } catch (error) {
      await this.#stop(directory)
      throw error
    }
  }

  async #startAgent(directory: string, link: Host): Promise<void> {
    const dataDir = join(directory, link.name)
    await mkdir(dataDir)
    const file = join(directory, `${link.name}.yaml`)
    const guests = this.#layout.guests.map((services, index) => ({
      name: guestName(index), engine: 'none', endpoints: services.map((port) => `127.0.0.1:${port}`)
    }))
    await writeFile(file, stringify({
      name: link.name, link: `127.0.0.1:${link.port}`, data_dir: dataDir, gateways: ['gateway'],
      peers: [link.name === primary ? backup : primary], log_level: 'warn', guests
    }))
    const args = [main, 'agent', '-c', file]
    const agent = new Program(`agent ${link.name}`, this.#layout.places.agents, process.execPath, args)
    this.#programs.push(agent)
    await agent.listening(link.port)
  }

  async #startGateway(
    directory: string, metrics: number, links: readonly Host[], ports: readonly number[]
  ): Promise<Program> {
    const file = join(directory, 'gateway.yaml')
    const { guests: divided, workers, places, gateways } = this.#layout
    const left = ports.map((port, index) => ({
      name: `service${index}`, listen: `127.0.0.1:${port}`, to: `127.0.0.1:${this.#services[index]}`,
      release: this.#mode.startsWith('epoch') ? 'epoch' : 'immediate'
    }))
    const hosts = links.map(({ name, port }) => ({ name, link: `127.0.0.1:${port}` }))
    const replicated = hosts.length === 0 ? {}
      : { hosts, ...logOf(this.#mode, gateways * divided.length) }
    const guests = divided.map(({ length }, index) =>
      ({ name: guestName(index), services: left.splice(0, length), ...replicated }))
    await writeFile(file, stringify({
      name: 'gateway', state_dir: join(directory, 'state'), log_level: 'warn',
      metrics: `127.0.0.1:${metrics}`, workers, guests
    }))
    const gateway = new Program('gateway', places.gateway, process.execPath, [main, 'gateway', '-c', file])
    this.#programs.push(gateway)
    for (const port of [metrics, ...ports]) await gateway.listening(port)
    return gateway
  }

  async #stop(directory: string): Promise<void> {
    for (const program of this.#programs.toReversed()) await program.stop()
    await rm(directory, { recursive: true })
  }
}

/** What a guest is called; the first is alone in most runs. */
function guestName(index: number): string {
  return index === 0 ? 'bench' : `bench${index}`
}

/** Of one guest: the history that runs, and the newest committed event. */
interface Replicated {
  readonly history: string
  readonly committed: number
}

/** One for each guest; undefined while a log flows to no backup. */
async function replicated(directory: string): Promise<readonly Replicated[] | undefined> {
  const { guests } = await askStatus(join(directory, 'state', 'admin.sock'))
  const known = guests.flatMap(({ history, positions }) =>
    history === null ? [] : [{ history, committed: positions.committedLsn }])
  return known.length > 0 && known.length === guests.length ? known : undefined
}

/** Resolves when every log flows to the backup. */
async function replicating(directory: string): Promise<readonly Replicated[]> {
  const end = performance.now() + linkTimeoutMs
  let trouble: unknown
  while (performance.now() < end) {
    try {
      const now = await replicated(directory)
      if (now !== undefined) return now
    } catch (error) {
      // The gateway listens for clients a moment before it listens for this question.
      trouble = error
    }
    await after(50)
  }
  throw new Error('the backup did not come within 20 s', { cause: trouble })
}

/** What is measured must have been replicated: the same logs still flow, and they flowed. */
async function verifyReplication(directory: string, before: readonly Replicated[]): Promise<void> {
  const now = await replicated(directory)
  for (const [index, { history, committed }] of before.entries()) {
    if (now?.[index]?.history !== history) {
      throw new Error('the log did not flow all the time: figures would be those of plain')
    }
    if (now[index].committed <= committed) throw new Error(`nothing was committed since event ${committed}`)
  }
}

/** The backup's log was where it was to be: in memory and nowhere else, or on disk. */
async function verifyPlace(dataDir: string, mode: Mode): Promise<void> {
  const files = await readdir(dataDir, { recursive: true })
  if (mode === 'epoch disk') {
    if (files.some((file) => file.includes('log-disk'))) return
    throw new Error('there is no log on disk: figures would be those of memory')
  }
  if (!files.some((file) => file.endsWith('.spill'))) return
  throw new Error('the log did not fit in memory: figures would be those of the disk')
}
