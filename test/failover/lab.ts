import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { freePorts } from '../../src/demo/ports.ts'
import type { Misbehaviour } from '../../src/engine/embedded.ts'
import { askFailover, askPlan, askStatus } from '../../src/observe/admin-client.ts'
import type { FailoverPlan, FailoverResult, GuestStatus } from '../../src/observe/status.ts'
import { Client } from './client.ts'
import { Forwarder } from './forwarder.ts'
import type { FaultOrder } from './faulty-agent.ts'
import type { LogLine } from './log-lines.ts'
import { Process } from './process.ts'

export type Letter = 'a' | 'b'
/** The gateway that a lab is about, and one that was given the same guest by mistake, or too early. */
export type GatewayName = 'gateway' | 'second'

export interface LabOptions {
  /** Lines of the guest's part of the gateway's configuration, in the place of the defaults. */
  readonly guest?: Readonly<Record<string, string>>
  /** Fence commands as flow sequences, by host. */
  readonly fence?: Partial<Readonly<Record<Letter, string>>>
  readonly release?: 'epoch' | 'checkpoint' | 'immediate'
  /** Hosts whose agent can be told faults, with those from the beginning. */
  readonly faulty?: Partial<Readonly<Record<Letter, Misbehaviour>>>
}

type Links = Readonly<Record<Letter, Forwarder>>

/** Where a gateway listens, and by which ways it reaches the agents. */
interface Place {
  readonly service: number
  readonly metrics: number
  readonly links: Links
}

const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const faultyAgent = fileURLToPath(new URL('faulty-agent.ts', import.meta.url))
/** How often the status is looked at while a test waits for it, and for how long, in milliseconds. */
const lookEveryMs = 30
const patienceMs = 40_000
const failoverMs = 40_000

const guestDefaults = {
  checkpoint_interval: '10m', heartbeat: '{ interval: 100ms, misses: 6 }', lease: '700ms'
} as const

/**
 * A gateway and two agents of dist as processes, on loopback, each of its own configuration; every link
 * passes a {@link Forwarder}. Nothing is left of it when the test is over.
 */
export class Lab {
  readonly directory: string
  readonly #places: Readonly<Record<GatewayName, Place>>
  readonly #faulty: LabOptions['faulty']
  readonly #processes = new Map<string, Process>()
  readonly #all: Process[] = []
  readonly #clients: Client[] = []

  private constructor(
    directory: string, places: Readonly<Record<GatewayName, Place>>, options: LabOptions
  ) {
    this.directory = directory
    this.#places = places
    this.#faulty = options.faulty
  }

  /** Writes the configurations; nothing runs yet. */
  static async create(t: Test, options: LabOptions = {}): Promise<Lab> {
    if (!existsSync(cli)) throw new Error('dist/ is not there: run npx tsc -p tsconfig.json')
    const directory = await mkdtemp(join(tmpdir(), 'tg-lab-'))
    const [a = 0, b = 0, ...ports] = await freePorts(6)
    const place = async (service = 0, metrics = 0): Promise<Place> => {
      return { service, metrics, links: { a: await Forwarder.open(a), b: await Forwarder.open(b) } }
    }
    const places = { gateway: await place(...ports.slice(0, 2)), second: await place(...ports.slice(2)) }
    const lab = new Lab(directory, places, options)
    t.teardown(() => lab.#end())
    for (const name of ['gateway', 'second'] as const) {
      await writeFile(lab.#config(name), gatewayFile(name, places[name], options))
    }
    await writeFile(lab.#config('a'), agentFile('a', a))
    await writeFile(lab.#config('b'), agentFile('b', b))
    return lab
  }

  /** One that runs, with host-a as the primary of a guest that host-b protects. */
  static async protected(t: Test, options: LabOptions = {}): Promise<Lab> {
    const lab = await Lab.create(t, options)
    await lab.protect()
    return lab
  }

  /** One that runs without its backup yet, as after a first start at which both agents had been there. */
  static async alone(t: Test, options: LabOptions = {}): Promise<Lab> {
    const lab = await Lab.create(t, options)
    await mkdir(join(lab.directory, 'gateway'))
    await writeFile(lab.stateFile, '{"format":1,"generation":1,"active":"host-a","started":false}\n')
    for (const name of ['a', 'gateway'] as const) lab.start(name)
    await lab.log.until('guest.unprotected', { matches: ({ reason }) => reason === 'no backup is linked' })
    return lab
  }

  // ---- processes

  /** Starts all of it for the first time; resolves when host-b protects the guest. */
  async protect(): Promise<void> {
    for (const name of ['a', 'b', 'gateway'] as const) this.start(name)
    await this.log.until('guest.protected')
  }

  start(name: Letter | GatewayName): Process {
    const isAgent = name === 'a' || name === 'b'
    const faults = isAgent ? this.#faulty?.[name] : undefined
    const verb = isAgent ? 'agent' : 'gateway'
    const args = faults === undefined
      ? [cli, verb, '-c', this.#config(name)]
      : [`--import=${import.meta.resolve('tsx')}`, faultyAgent, this.#config(name), JSON.stringify(faults)]
    const child = new Process(name, args, this.directory)
    this.#processes.set(name, child)
    this.#all.push(child)
    return child
  }

  process(name: Letter | GatewayName): Process {
    const found = this.#processes.get(name)
    if (found === undefined) throw new Error(`${name} was not started`)
    return found
  }

  get links(): Links {
    return this.#places.gateway.links
  }

  /** The ways of the second gateway. */
  get secondLinks(): Links {
    return this.#places.second.links
  }

  /** What the gateway logs. */
  get log(): Process['log'] {
    return this.process('gateway').log
  }

  /** Kills an agent and its guest as a power cut would; resolves when they are gone. */
  killHost(letter: Letter): Promise<void> {
    return this.process(letter).kill()
  }

  /** Kills the host, and resolves with the gateway's word that the failover is done. */
  async failOverFrom(letter: Letter): Promise<LogLine> {
    const done = this.log.next('failover.done')
    await this.killHost(letter)
    return await done
  }

  /** Starts an agent again, and resolves when the guest is protected by it. */
  async bringBack(letter: Letter): Promise<void> {
    const isProtected = this.log.next('guest.protected')
    this.start(letter)
    await isProtected
  }

  /** To an agent that was named in `faulty`. */
  order(letter: Letter, order: FaultOrder): void {
    this.process(letter).tell(order)
  }

  // ---- clients and operators

  async client(gateway: GatewayName = 'gateway'): Promise<Client> {
    const client = await Client.open(this.#places[gateway].service)
    this.#clients.push(client)
    return client
  }

  /** Sends commands on a connection of their own and closes it; resolves with all that came. */
  async once(lines: readonly string[], like: string): Promise<string> {
    const client = await this.client()
    client.send(...lines)
    const text = await client.take(like.length)
    client.end()
    await client.over()
    return text + client.unread
  }

  get admin(): string {
    return this.#adminOf('gateway')
  }

  /** Where the gateway keeps the guest's generation. */
  get stateFile(): string {
    return join(this.directory, 'gateway', 'guest.json')
  }

  async status(gateway: GatewayName = 'gateway'): Promise<GuestStatus> {
    const [guest] = (await askStatus(this.#adminOf(gateway))).guests
    if (guest === undefined) throw new Error('the gateway knows no guest')
    return guest
  }

  /** The first status for which `met` is true. */
  untilStatus(
    what: string, met: (status: GuestStatus) => boolean, gateway: GatewayName = 'gateway'
  ): Promise<GuestStatus> {
    return new Promise((resolve, reject) => {
      let last: GuestStatus | undefined
      let asking = false
      const began = performance.now()
      const stop = (): void => { clearInterval(timer) }
      const look = async (): Promise<void> => {
        last = await this.status(gateway)
        if (met(last)) {
          stop()
          resolve(last)
        } else if (performance.now() - began > patienceMs) throw new Error('too late')
      }
      const timer = setInterval(() => {
        if (asking) return
        asking = true
        look().then(() => { asking = false }, (error: unknown) => {
          stop()
          const waited = `waited for one ${what}; the last: ${JSON.stringify(last)}`
          reject(new Error(waited, { cause: error }))
        })
      }, lookEveryMs)
    })
  }

  /** Resolves when the gateway has lived on for so many milliseconds by its own clock. */
  async letGatewayLive(ms: number): Promise<void> {
    // It has its links before it can be asked.
    await this.log.until('admin.listening')
    const { uptimeMs } = await askStatus(this.admin)
    await new Promise<void>((resolve, reject) => {
      const timer = setInterval(() => {
        askStatus(this.admin).then((status) => {
          if (status.uptimeMs < uptimeMs + ms) return
          clearInterval(timer)
          resolve()
        }, (error: unknown) => {
          clearInterval(timer)
          reject(new Error('the gateway was asked how long it has lived', { cause: error }))
        })
      }, lookEveryMs * 3)
    })
  }

  plan(): Promise<FailoverPlan> {
    return askPlan(this.admin, 'guest')
  }

  failover(acceptLoss = false, gateway: GatewayName = 'gateway'): Promise<FailoverResult> {
    return askFailover(this.#adminOf(gateway), { guest: 'guest', acceptLoss }, failoverMs)
  }

  /** The value of one line of the gateway's metrics, whose name and labels begin with `prefix`. */
  async metric(prefix: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.#places.gateway.metrics}/metrics`)).text()
    const line = text.split('\n').find((one) => one.startsWith(prefix))
    return Number(line?.split(' ').at(-1))
  }

  #adminOf(gateway: GatewayName): string {
    return join(this.directory, gateway, 'admin.sock')
  }

  #config(name: string): string {
    return join(this.directory, `${name}.yaml`)
  }

  async #end(): Promise<void> {
    for (const client of this.#clients) client.destroy()
    await Promise.all(this.#all.map((child) => child.kill()))
    const forwarders = Object.values(this.#places).flatMap(({ links }) => [links.a, links.b])
    await Promise.all(forwarders.map((forwarder) => forwarder.close()))
    await rm(this.directory, { recursive: true, force: true })
  }
}

function gatewayFile(name: GatewayName, { service, metrics, links }: Place, options: LabOptions): string {
  const guest = Object.entries({ ...guestDefaults, ...options.guest })
  const host = (letter: Letter): string => {
    const fence = options.fence?.[letter]
    const rest = fence === undefined ? '' : `, fence: ${fence}`
    return `      - { name: host-${letter}, link: 127.0.0.1:${links[letter].port}${rest} }`
  }
  return `name: ${name}
state_dir: ${name}
metrics: 127.0.0.1:${metrics}
guests:
  - name: guest
    attach: embedded
    hosts:
${host('a')}
${host('b')}
${guest.map(([key, value]) => `    ${key}: ${value}`).join('\n')}
    services:
      - { name: redis, listen: 127.0.0.1:${service}, release: ${options.release ?? 'epoch'} }
`
}

function agentFile(letter: Letter, port: number): string {
  return `name: host-${letter}
link: 127.0.0.1:${port}
data_dir: host-${letter}
gateways: [gateway, second]
peers: [host-${letter === 'a' ? 'b' : 'a'}]
guests:
  - { name: guest, engine: embedded, listen: ['127.0.0.1:0'] }
`
}
