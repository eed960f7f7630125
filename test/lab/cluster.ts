import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { certs } from '../../src/cli/certs.ts'
import type { ReleaseMode } from '../../src/config/types.ts'
import { addressText } from '../../src/net/address.ts'
import { askStatus } from '../../src/observe/admin-client.ts'
import type { GuestStatus } from '../../src/observe/status.ts'
import { Client } from '../failover/client.ts'
import type { LogLine } from '../failover/log-lines.ts'
import { Process } from '../failover/process.ts'
import { addressOf, NetworkLab, type MachineName, type NetworkLabOptions } from './network-lab.ts'
import type { Undoing } from './undoing.ts'

export type HostName = Exclude<MachineName, 'gateway'>

/** A service of a guest, as the gateway's file describes it. */
export interface ServiceKind {
  readonly name: string
  /** Of the gateway. */
  readonly port: number
  /** Its own address, where only the file says it. */
  readonly to?: string
  /** Of the address on which the gateway listens; IPv4 if it is left out. */
  readonly family?: 4 | 6
  readonly release?: ReleaseMode
}

/** A guest as both kinds of configuration files describe it. */
export interface GuestKind {
  /** How the gateway joins its connections. */
  readonly attach: 'embedded' | 'tcp'
  readonly services: readonly ServiceKind[]
  /** The guest's part of an agent file, its name left out: a line each. */
  agentKeys(host: HostName): readonly string[]
}

/** What an agent is to a test, on whatever machine it runs. */
export type Agent = Pick<Process, 'name' | 'log' | 'exited' | 'kill'>

/** Machines on the networks of the lab, where agents run. */
export interface HostMachines {
  /** Starts a machine, also one that was killed. */
  boot(host: HostName): Promise<void>
  /** As a power cut. */
  kill(host: HostName): Promise<void>
  /** Starts the agent of a machine that is up, with its certificates in `directory`/certs. */
  startAgent(host: HostName, directory: string): Agent
}

export interface ClusterOptions extends Omit<NetworkLabOptions, 'hosts'> {
  /** The embedded guest if it is left out. */
  readonly kind?: GuestKind
  /** The first one is the primary. */
  readonly hosts: readonly HostName[]
  /** Lines of the guest's part of the gateway's configuration, in the place of the defaults. */
  readonly guest?: Readonly<Record<string, string>>
  /** Where each agent has its metrics, on its own host. */
  readonly agentMetrics?: string
  /** What the hosts are; machines of the lab, with agent files of the guest's kind, if it is left out. */
  readonly machines?: HostMachines
  /** How long a checkpoint or a failover may take; if left out, as any event. In milliseconds. */
  readonly patienceMs?: number
}

const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const linkPort = 7400
export const servicePort = 6379
const guestPort = 7401

const embedded: GuestKind = {
  attach: 'embedded',
  services: [{ name: 'redis', port: servicePort }],
  agentKeys: (host) => ['engine: embedded', `listen: ['${addressOf(host, 'guest')}:${guestPort}']`]
}

const guestDefaults = {
  checkpoint_interval: '10m', heartbeat: '{ interval: 100ms, misses: 6 }', lease: '700ms'
} as const

/**
 * The gateway and an agent on each host of a {@link NetworkLab}, as real processes of dist with certificates
 * of their own, and a guest: the embedded one listens on its host's address.
 */
export class Cluster {
  readonly lab: NetworkLab
  readonly #directory: string
  readonly #hosts: readonly HostName[]
  readonly #options: ClusterOptions
  readonly #agents = new Map<HostName, Agent>()
  #gateway: Process | undefined

  private constructor(lab: NetworkLab, directory: string, options: ClusterOptions) {
    this.lab = lab
    this.#directory = directory
    this.#hosts = options.hosts
    this.#options = options
  }

  /** One whose guest is protected. */
  static async protected(t: Undoing, options: ClusterOptions): Promise<Cluster> {
    const cluster = await Cluster.prepared(t, options)
    for (const host of options.hosts) cluster.start(host)
    cluster.start('gateway')
    await cluster.isProtected()
    return cluster
  }

  /** One whose machines are up, and on which nothing was started yet. */
  static async prepared(t: Undoing, options: ClusterOptions): Promise<Cluster> {
    const directory = await mkdtemp(join(tmpdir(), 'tg-cluster-'))
    t.teardown(() => rm(directory, { recursive: true, force: true }))
    const { hosts, machines } = options
    const lab = await NetworkLab.create(t, { ...options, hosts: machines === undefined ? hosts : [] })
    const cluster = new Cluster(lab, directory, options)
    await certs({ out: join(directory, 'certs'), names: ['gateway', ...hosts], print: () => undefined })
    await cluster.#write('gateway', gatewayFile(options))
    if (machines !== undefined) await Promise.all(hosts.map((host) => machines.boot(host)))
    else for (const host of hosts) await cluster.writeAgentFile(host)
    return cluster
  }

  /** Writes it anew, where the guest's kind has learnt something since. */
  async writeAgentFile(host: HostName): Promise<void> {
    await this.#write(host, agentFile(host, this.#options))
  }

  /** Starts the gateway, or the agent of a host. */
  start(name: MachineName): void {
    if (name === 'gateway') this.#gateway = this.#startInLab('gateway', name)
    else this.#agents.set(name, this.#options.machines?.startAgent(name, this.#directory)
      ?? this.#startInLab('agent', name))
  }

  process(name: MachineName): Agent {
    const found = name === 'gateway' ? this.#gateway : this.#agents.get(name)
    if (found === undefined) throw new Error(`${name} was not started`)
    return found
  }

  /** The socket at which the gateway can be asked. */
  get admin(): string {
    return join(this.#directory, 'gateway', 'admin.sock')
  }

  /** What the gateway logs. */
  get log(): Process['log'] {
    return this.process('gateway').log
  }

  async client(t: Test, port = servicePort): Promise<Client> {
    const client = await Client.open(port, addressOf('gateway', 'service'))
    t.teardown(() => client.destroy())
    return client
  }

  /** What `tailgate status` tells of the guest. */
  async status(): Promise<GuestStatus> {
    const { guests } = await askStatus(join(this.#directory, 'gateway', 'admin.sock'))
    const [guest] = guests
    if (guest === undefined) throw new Error('the gateway serves no guest')
    return guest
  }

  /** Kills a host whole, and resolves with the gateway's word that the failover is done. */
  async failOverFrom(host: HostName): Promise<LogLine> {
    const done = this.#patiently('failover.done', this.log.count)
    await (this.#options.machines ?? this.lab).kill(host)
    return await done
  }

  /** Boots a host that was killed, and resolves when the guest is protected by it. */
  async bringBack(host: HostName): Promise<void> {
    const from = this.log.count
    await this.boot(host)
    await this.isProtected(from)
  }

  /** Resolves when the gateway has said so, from that place of its log on. */
  async isProtected(from = 0): Promise<void> {
    await this.#patiently('guest.protected', from)
  }

  /** Resolves when one more checkpoint counts. */
  async nextCheckpoint(): Promise<void> {
    await this.#patiently('checkpoint.counted', this.log.count)
  }

  async boot(host: HostName): Promise<void> {
    await (this.#options.machines ?? this.lab).boot(host)
    this.start(host)
  }

  /** What has been started, also where it has ended since. */
  get started(): readonly MachineName[] {
    return [...this.#gateway === undefined ? [] : ['gateway' as const], ...this.#agents.keys()]
  }

  get hosts(): readonly HostName[] {
    return this.#hosts
  }

  #patiently(event: string, from: number): Promise<LogLine> {
    const { patienceMs } = this.#options
    return this.log.until(event, { from, ...patienceMs === undefined ? {} : { patienceMs } })
  }

  #startInLab(verb: 'gateway' | 'agent', name: MachineName): Process {
    const args = [cli, verb, '-c', join(this.#directory, `${name}.yaml`)]
    return new Process(name, args, this.#directory, this.lab.machine(name).enter)
  }

  async #write(name: MachineName, text: string): Promise<void> {
    await writeFile(join(this.#directory, `${name}.yaml`), text)
  }
}

function tlsOf(name: MachineName): string {
  return `{ ca: certs/ca.crt, cert: certs/${name}.crt, key: certs/${name}.key }`
}

function gatewayFile({ hosts, guest, kind = embedded }: ClusterOptions): string {
  const settings = Object.entries({ ...guestDefaults, ...guest })
  const host = (name: HostName): string =>
    `      - { name: ${name}, link: ${addressOf(name, 'link')}:${linkPort} }`
  const service = ({ name, port, to, family, release }: ServiceKind): string => {
    const listen = addressText(addressOf('gateway', 'service', family), port)
    const address = to === undefined ? '' : `, to: '${to}'`
    const mode = release === undefined ? '' : `, release: ${release}`
    return `      - { name: ${name}, listen: '${listen}'${address}${mode} }`
  }
  return `name: gateway
state_dir: gateway
tls: ${tlsOf('gateway')}
guests:
  - name: guest
    attach: ${kind.attach}
    hosts:
${hosts.map(host).join('\n')}
${settings.map(([key, value]) => `    ${key}: ${value}`).join('\n')}
    services:
${kind.services.map(service).join('\n')}
`
}

function agentFile(name: HostName, { hosts, agentMetrics, kind = embedded }: ClusterOptions): string {
  return `name: ${name}
link: ${addressOf(name, 'link')}:${linkPort}
data_dir: ${name}
tls: ${tlsOf(name)}
${agentMetrics === undefined ? '' : `metrics: '${agentMetrics}'\n`}gateways: [gateway]
peers: [${hosts.filter((other) => other !== name).join(', ')}]
guests:
  - name: guest
${kind.agentKeys(name).map((line) => `    ${line}`).join('\n')}
`
}
