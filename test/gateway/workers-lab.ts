import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { freePorts } from '../../src/demo/ports.ts'
import { askStatus } from '../../src/observe/admin-client.ts'
import type { GatewayStatus, WorkerStatus } from '../../src/observe/status.ts'
import { Client } from '../failover/client.ts'
import { Process } from '../failover/process.ts'

const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const lookEveryMs = 30
const patienceMs = 20_000

/** The guests of the lab: the first worker of two has one and three, the second two and four. */
export const guestNames = ['one', 'two', 'three', 'four'] as const
export type GuestName = (typeof guestNames)[number]
export type Host = 'host-a' | 'host-b'

interface Ports {
  readonly 'metrics': number
  readonly 'host-a': number
  readonly 'host-b': number
  readonly 'services': Readonly<Record<GuestName, number>>
}

/**
 * A gateway of two workers with four embedded guests, and the two agents of these, all of dist and as
 * processes on loopback. Nothing is left of it when the test is over.
 */
export class WorkersLab {
  readonly directory: string
  readonly ports: Ports
  readonly #processes = new Map<string, Process>()
  readonly #all: Process[] = []
  readonly #clients: Client[] = []

  private constructor(directory: string, ports: Ports) {
    this.directory = directory
    this.ports = ports
  }

  /** Writes the configurations; nothing runs yet. `more`: lines of the gateway's file. */
  static async create(t: Test, more = ''): Promise<WorkersLab> {
    if (!existsSync(cli)) throw new Error('dist/ is not there: run npx tsc -p tsconfig.json')
    const directory = await mkdtemp(join(tmpdir(), 'tg-workers-'))
    const [metrics = 0, a = 0, b = 0, one = 0, two = 0, three = 0, four = 0] = await freePorts(7)
    const ports = { metrics, 'host-a': a, 'host-b': b, 'services': { one, two, three, four } }
    const lab = new WorkersLab(directory, ports)
    t.teardown(() => lab.#end())
    await writeFile(join(directory, 'gateway.yaml'), gatewayFile(ports, more))
    for (const [name, other] of [['host-a', 'host-b'], ['host-b', 'host-a']] as const) {
      await writeFile(join(directory, `${name}.yaml`), agentFile(name, other, ports[name]))
    }
    return lab
  }

  /** One that runs and protects all guests. */
  static async protected(t: Test, more = ''): Promise<WorkersLab> {
    const lab = await WorkersLab.create(t, more)
    for (const name of ['host-a', 'host-b', 'gateway'] as const) lab.start(name)
    await lab.allProtected()
    return lab
  }

  start(name: Host | 'gateway'): Process {
    const args = [cli, name === 'gateway' ? 'gateway' : 'agent', '-c', join(this.directory, `${name}.yaml`)]
    const child = new Process(name, args, this.directory)
    this.#processes.set(name, child)
    this.#all.push(child)
    return child
  }

  process(name: Host | 'gateway'): Process {
    const found = this.#processes.get(name)
    if (found === undefined) throw new Error(`${name} was not started`)
    return found
  }

  /** What supervisor and workers log. */
  get log(): Process['log'] {
    return this.process('gateway').log
  }

  /** Resolves when the gateway can be asked and says, from the place `from` on, that it protects `guests`. */
  async allProtected(from = 0, guests: readonly GuestName[] = guestNames): Promise<void> {
    await this.log.until('admin.listening')
    for (const name of guests) {
      await this.log.until('guest.protected', { from, matches: ({ guest }) => guest === name })
    }
  }

  get admin(): string {
    return join(this.directory, 'state', 'admin.sock')
  }

  async worker(number: number): Promise<WorkerStatus> {
    const found = (await askStatus(this.admin)).workers.find(({ worker }) => worker === number)
    if (found === undefined) throw new Error(`there is no worker ${number}`)
    return found
  }

  async signalWorker(number: number, signal: NodeJS.Signals): Promise<number> {
    const { pid } = await this.worker(number)
    if (pid === null) throw new Error(`worker ${number} has no process`)
    process.kill(pid, signal)
    return pid
  }

  /** The first status for which `met` is true. */
  async untilStatus(met: (status: GatewayStatus) => boolean): Promise<GatewayStatus> {
    return this.#until(() => askStatus(this.admin), met)
  }

  /** The first answer of the metrics listener for which `met` is true. */
  async untilAnswer(path: string, met: (answer: Answer) => boolean): Promise<Answer> {
    return this.#until(() => this.get(path), met)
  }

  async get(path: string): Promise<Answer> {
    const answer = await fetch(`http://127.0.0.1:${this.ports.metrics}${path}`)
    return { status: answer.status, text: await answer.text() }
  }

  async client(guest: GuestName): Promise<Client> {
    const client = await Client.open(this.ports.services[guest])
    this.#clients.push(client)
    return client
  }

  #until<T>(ask: () => Promise<T>, met: (answer: T) => boolean): Promise<T> {
    return new Promise((resolve, reject) => {
      const began = performance.now()
      const look = (): void => {
        ask().then((answer) => {
          if (met(answer)) resolve(answer)
          else if (performance.now() - began > patienceMs) {
            reject(new Error(`waited too long; the last answer: ${JSON.stringify(answer)}`))
          } else setTimeout(look, lookEveryMs)
        }, reject)
      }
      look()
    })
  }

  async #end(): Promise<void> {
    for (const client of this.#clients) client.destroy()
    await Promise.all(this.#all.map((child) => child.kill()))
    await rm(this.directory, { recursive: true, force: true })
  }
}

/** A client that counts and looks at every answer; the first wrong byte, or the connection's end, ends it. */
export class Counting {
  readonly #client: Client
  readonly #running: Promise<void>
  readonly #wrong: string[] = []
  #count = 0
  #stopping = false
  #wake: (() => void) | undefined

  constructor(client: Client) {
    this.#client = client
    this.#running = this.#run().catch((error: unknown) => {
      this.#wrong.push(String(error))
      this.#wake?.()
    })
  }

  /** Resolves when so many more answers have come, or a wrong one. */
  async answers(more: number): Promise<void> {
    const wanted = this.#count + more
    while (this.#count < wanted && this.#wrong.length === 0) {
      await new Promise<void>((resolve) => { this.#wake = resolve })
    }
  }

  /** Resolves with what was wrong. */
  async stop(): Promise<readonly string[]> {
    this.#stopping = true
    await this.#running
    return this.#wrong
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      const expected = `:${this.#count + 1}\r\n`
      const answer = await this.#client.ask('INCR counted', expected)
      if (answer !== expected || this.#client.unread !== '') {
        throw new Error(`${expected} was expected, and ${answer}${this.#client.unread} came`)
      }
      this.#count++
      this.#wake?.()
    }
  }
}

/** What the metrics listener answers. */
export interface Answer {
  readonly status: number
  readonly text: string
}

function gatewayFile(ports: Ports, more: string): string {
  const guests = guestNames.map((name) => `  - name: ${name}
    attach: embedded
    hosts:
      - { name: host-a, link: 127.0.0.1:${ports['host-a']} }
      - { name: host-b, link: 127.0.0.1:${ports['host-b']} }
    checkpoint_interval: 10m
    heartbeat: { interval: 100ms, misses: 6 }
    lease: 700ms
    services:
      - { name: redis, listen: 127.0.0.1:${ports.services[name]} }
`)
  return `name: gateway
state_dir: state
metrics: 127.0.0.1:${ports.metrics}
workers: 2
${more}
guests:
${guests.join('')}`
}

function agentFile(name: Host, other: Host, port: number): string {
  const guests = guestNames.map((guest) =>
    `  - { name: ${guest}, engine: embedded, listen: ['127.0.0.1:0'] }\n`)
  return `name: ${name}
link: 127.0.0.1:${port}
data_dir: ${name}
gateways: [gateway]
peers: [${other}]
guests:
${guests.join('')}`
}
