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
  readonly links: Links
  readonly #service: number
  readonly #metrics: number
  readonly #faulty: LabOptions['faulty']
  readonly #processes = new Map<string, Process>()
  readonly #all: Process[] = []
  readonly #clients: Client[] = []

  private constructor(
    directory: string, links: Links, ports: readonly number[], options: LabOptions
  ) {
    this.directory = directory
    this.links = links
    const [service = 0, metrics = 0] = ports
    this.#service = service
    this.#metrics = metrics
    this.#faulty = options.faulty
  }

  /** Writes the configurations; nothing runs yet. */
  static async create(t: Test, options: LabOptions = {}): Promise<Lab> {
    if (!existsSync(cli)) throw new Error('dist/ is not there: run npx tsc -p tsconfig.json')
    const directory = await mkdtemp(join(tmpdir(), 'tg-lab-'))
    const [a = 0, b = 0, ...ports] = await freePorts(4)
    const links = { a: await Forwarder.open(a), b: await Forwarder.open(b) }
    const lab = new Lab(directory, links, ports, options)
    t.teardown(() => lab.#end())
    await writeFile(lab.#config('gateway'), gatewayFile(ports, links, options))
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

  start(name: Letter | 'gateway'): Process {
    const faults = name === 'gateway' ? undefined : this.#faulty?.[name]
    const verb = name === 'gateway' ? 'gateway' : 'agent'
    const args = faults === undefined
      ? [cli, verb, '-c', this.#config(name)]
      : [`--import=${import.meta.resolve('tsx')}`, faultyAgent, this.#config(name), JSON.stringify(faults)]
    const child = new Process(name, args, this.directory)
    this.#processes.set(name, child)
    this.#all.push(child)
    return child
  }

  process(name: Letter | 'gateway'): Process {
    const found = this.#processes.get(name)
    if (found === undefined) throw new Error(`${name} was not started`)
    return found
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

  async client(): Promise<Client> {
    const client = await Client.open(this.#service)
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
    return join(this.directory, 'gateway', 'admin.sock')
  }

  /** Where the gateway keeps the guest's generation. */
  get stateFile(): string {
    return join(this.directory, 'gateway', 'guest.json')
  }

  async status(): Promise<GuestStatus> {
    const [guest] = (await askStatus(this.admin)).guests
    if (guest === undefined) throw new Error('the gateway knows no guest')
    return guest
  }

  /** The first status for which `met` is true. */
  untilStatus(what: string, met: (status: GuestStatus) => boolean): Promise<GuestStatus> {
    return new Promise((resolve, reject) => {
      let last: GuestStatus | undefined
      let asking = false
      const began = performance.now()
      const stop = (): void => { clearInterval(timer) }
      const look = async (): Promise<void> => {
        last = await this.status()
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

  failover(acceptLoss = false): Promise<FailoverResult> {
    return askFailover(this.admin, { guest: 'guest', acceptLoss }, failoverMs)
  }

  /** The value of one line of the gateway's metrics, whose name and labels begin with `prefix`. */
  async metric(prefix: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.#metrics}/metrics`)).text()
    const line = text.split('\n').find((one) => one.startsWith(prefix))
    return Number(line?.split(' ').at(-1))
  }

  #config(name: string): string {
    return join(this.directory, `${name}.yaml`)
  }

  async #end(): Promise<void> {
    for (const client of this.#clients) client.destroy()
    await Promise.all(this.#all.map((child) => child.kill()))
    await Promise.all([this.links.a.close(), this.links.b.close()])
    await rm(this.directory, { recursive: true, force: true })
  }
}

function gatewayFile(ports: readonly number[], links: Links, options: LabOptions): string {
  const [service = 0, metrics = 0] = ports
  const guest = Object.entries({ ...guestDefaults, ...options.guest })
  const host = (letter: Letter): string => {
    const fence = options.fence?.[letter]
    const rest = fence === undefined ? '' : `, fence: ${fence}`
    return `      - { name: host-${letter}, link: 127.0.0.1:${links[letter].port}${rest} }`
  }
  return `name: gateway
state_dir: gateway
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
gateways: [gateway]
peers: [host-${letter === 'a' ? 'b' : 'a'}]
guests:
  - { name: guest, engine: embedded, listen: ['127.0.0.1:0'] }
`
}
