import { rmSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TailgateError } from '../base/errors.ts'
import { Child } from './child.ts'
import type { LogLine } from './log-line.ts'
import { freePorts } from './ports.ts'
import type { HostLetter, Stage } from './stage.ts'

/** Whoever wants to know what its processes do, each by its name. */
export interface ClusterEvents {
  line(from: string, line: LogLine): void
  /** One has ended that was not told to. */
  ended(error: TailgateError): void
}

interface Ports {
  readonly service: number
  readonly metrics: number
  readonly links: Readonly<Record<HostLetter, number>>
}

/**
 * A gateway and two agents on loopback, each a process of its own; the agent that is primary starts the
 * guest, which is one more. Everything it writes is in one temporary directory.
 */
export class Cluster {
  readonly ports: Ports
  readonly directory: string
  readonly #events: ClusterEvents
  readonly #children = new Map<string, Child>()

  private constructor(directory: string, ports: Ports, events: ClusterEvents) {
    this.directory = directory
    this.ports = ports
    this.#events = events
  }

  static async create(stage: Stage, events: ClusterEvents): Promise<Cluster> {
    const directory = await mkdtemp(join(tmpdir(), 'tailgate-demo-'))
    const [service = 0, metrics = 0, a = 0, b = 0] = await freePorts(4)
    const cluster = new Cluster(directory, { service, metrics, links: { a, b } }, events)
    await writeFile(cluster.configOf('gateway'), gatewayFile(stage, cluster.ports))
    for (const letter of ['a', 'b'] as const) {
      await writeFile(cluster.configOf(`host-${letter}`), agentFile(stage, letter, cluster.ports))
    }
    return cluster
  }

  configOf(name: string): string {
    return join(this.directory, `${name}.yaml`)
  }

  startGateway(): void {
    this.#start('gateway', 'gateway')
  }

  startAgent(letter: HostLetter): void {
    this.#start(`host-${letter}`, 'agent')
  }

  #start(name: string, verb: string): void {
    this.#children.set(name, new Child(name, [verb, '-c', this.configOf(name)], {
      line: line => this.#events.line(name, line),
      ended: error => this.#events.ended(error)
    }))
  }

  child(name: string): Child | undefined {
    return this.#children.get(name)
  }

  /** Kills an agent and its guest as a power cut would. */
  killHost(letter: HostLetter): void {
    this.child(`host-${letter}`)?.killGroup()
  }

  /** Throws if one of `names` has ended by itself. */
  check(names: readonly string[]): void {
    for (const name of names) this.child(name)?.check()
  }

  /** Ends every process, and removes what they wrote. */
  async close(): Promise<void> {
    await this.#children.get('gateway')?.stop()
    await Promise.all([...this.#children.values()].map(child => child.stop()))
    await rm(this.directory, { recursive: true, force: true })
  }

  /** Kills every process and removes what they wrote, at once, for a demo that is itself ending. */
  killAll(): void {
    for (const child of this.#children.values()) child.killGroup()
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** Keys of the guest `demo`, under its name. */
function keys(lines: readonly string[]): string {
  return lines.map((line) => `    ${line}\n`).join('')
}

function gatewayFile({ gatewayKeys, serviceAddress }: Stage, { service, metrics, links }: Ports): string {
  const to = serviceAddress === '' ? '' : `to: '${serviceAddress}', `
  return `name: gateway
state_dir: gateway
metrics: 127.0.0.1:${metrics}
guests:
  - name: demo
    hosts:
      - { name: host-a, link: 127.0.0.1:${links.a} }
      - { name: host-b, link: 127.0.0.1:${links.b} }
${keys(gatewayKeys)}    services:
      - { name: redis, listen: 127.0.0.1:${service}, ${to}release: epoch }
`
}

function agentFile({ agentKeys }: Stage, letter: HostLetter, { links }: Ports): string {
  const peer = letter === 'a' ? 'b' : 'a'
  return `name: host-${letter}
link: 127.0.0.1:${links[letter]}
data_dir: host-${letter}
gateways: [gateway]
peers: [host-${peer}]
guests:
  - name: demo
${keys(agentKeys(letter))}`
}
