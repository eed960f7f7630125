import { spawnSync } from 'node:child_process'
import { withSystemPrograms } from '../../src/engine/system-programs.ts'
import { LineCarrier } from './line-carrier.ts'
import type { LineCounts, Shape } from './line.ts'
import { Machine } from './machine.ts'
import type { Undoing } from './undoing.ts'

export type MachineName = 'gateway' | 'host-a' | 'host-b' | 'host-c'
export type NetworkName = 'service' | 'guest' | 'link'

/** The last number of each machine's addresses, in every network; guests on the hosts have 101 and up. */
const numbers = { gateway: 1, 'host-a': 11, 'host-b': 12, 'host-c': 13 } as const
const clientsNumber = 100
/** The third number of the addresses of each network. */
const subnets: Readonly<Record<NetworkName, number>> = { service: 1, guest: 2, link: 3 }
const networksOf = (name: MachineName): readonly NetworkName[] =>
  name === 'gateway' ? ['service', 'guest', 'link'] : ['guest', 'link']

export interface NetworkLabOptions {
  /** In what there is besides the gateway. */
  readonly hosts: readonly Exclude<MachineName, 'gateway'>[]
  /** The networks to which machines are joined by lines that can be given delay and loss. */
  readonly shaped?: readonly NetworkName[]
  /** Only the lines of these machines to those networks; of all if it is left out. */
  readonly shapedOf?: readonly MachineName[]
  /** Decides which frames are lost. */
  readonly seed?: number
}

export function addressOf(name: MachineName | 'clients', network: NetworkName, family: 4 | 6 = 4): string {
  const number = name === 'clients' ? clientsNumber : numbers[name]
  return family === 4 ? `10.77.${subnets[network]}.${number}` : `fd77:${subnets[network]}::${number}`
}

/**
 * Machines as namespaces, joined by three networks, which are bridges in the namespace of the test itself
 * (in-namespace.ts). So the test is the clients.
 *
 * ```
 *      the test = clients .100        10.77.N.x/24 and fd77:N::x/64
 *  ════════╪═══════════╪══════════════════════════════ 1 service
 *                   gateway .1
 *  ════════════════════╪════╪═══════╪════════╪════════ 2 guest      guests of all hosts: .101 and up
 *                      │  host-a  host-b  host-c
 *  ════════════════════╪════╪═══════╪════════╪════════ 3 link
 *                          .11     .12      .13
 * ```
 *
 * Inside a machine its interfaces are called as the networks. On a host the interface `guest` is a port of
 * the bridge `guests`, which has the host's address, and which guests' tap devices can join. Outside they are
 * ports called `NETWORK-MACHINE` of the network's bridge. MAC addresses are the same after a boot.
 */
export class NetworkLab {
  readonly #machines = new Map<MachineName, Machine>()
  readonly #shaped: readonly NetworkName[]
  readonly #shapedOf: readonly MachineName[] | undefined
  readonly #seed: number
  readonly #carrier = new LineCarrier()
  readonly #lines = new Set<string>()

  private constructor({ shaped = [], shapedOf, seed = 1 }: NetworkLabOptions) {
    this.#shaped = shaped
    this.#shapedOf = shapedOf
    this.#seed = seed
  }

  static async create(t: Undoing, options: NetworkLabOptions): Promise<NetworkLab> {
    const lab = new NetworkLab(options)
    t.teardown(() => lab.#end())
    const subnet = (network: NetworkName): readonly string[] =>
      [`link add name ${network} type bridge`, `link set dev ${network} addrgenmode none up`]
    ip([
      'link set dev lo up', ...subnet('service'), ...subnet('guest'), ...subnet('link'),
      ...addresses('clients', 'service', 'service')
    ])
    for (const name of ['gateway', ...options.hosts] as const) await lab.boot(name)
    return lab
  }

  /** A machine that is up. */
  machine(name: MachineName): Machine {
    const machine = this.#machines.get(name)
    if (machine === undefined) throw new Error(`${name} is not up`)
    return machine
  }

  /** Starts a machine, also one that was killed, with its cables plugged in. */
  async boot(name: MachineName): Promise<Machine> {
    const machine = await Machine.boot(name)
    this.#machines.set(name, machine)
    for (const network of networksOf(name)) {
      await this.#cable(machine, name, network)
      const bridged = network === 'guest' && name !== 'gateway'
      const mac = `address 02:77:00:00:0${subnets[network]}:${String(numbers[name]).padStart(2, '0')}`
      const inside = bridged ? [
        `link add name guests ${mac} type bridge`, 'link set dev guest master guests addrgenmode none up',
        'link set dev guests addrgenmode none up', ...addresses(name, network, 'guests')
      ] : [`link set dev ${network} ${mac} addrgenmode none up`, ...addresses(name, network, network)]
      machine.run(['ip', '-batch', '-'], batch(inside))
    }
    return machine
  }

  /** Unplugs a machine from one network, or from all: nothing passes from then on. */
  cut(name: MachineName, network?: NetworkName): void {
    ip(this.#ports(name, network).map((port) => `link set dev ${port} down`))
  }

  heal(name: MachineName, network?: NetworkName): void {
    ip(this.#ports(name, network).map((port) => `link set dev ${port} up`))
  }

  /** Delay, jitter and loss of the line from a machine to a network that was named as shaped. */
  async shape(name: MachineName, network: NetworkName, shape: Shape): Promise<void> {
    await this.#carrier.shape(portOf(name, network), shape)
  }

  /** What has become of the frames of such a line. */
  count(name: MachineName, network: NetworkName): Promise<LineCounts> {
    return this.#carrier.count(portOf(name, network))
  }

  /** As a power cut: its cables are dead before its processes, so that no kernel says goodbye for them. */
  async kill(name: MachineName): Promise<void> {
    this.cut(name)
    await this.machine(name).kill()
    this.#machines.delete(name)
    await this.#unplug(name)
  }

  /** The kernel takes away the cables of a machine that is gone when it finds the time, which is too late. */
  async #unplug(name: MachineName): Promise<void> {
    for (const network of networksOf(name)) {
      const port = portOf(name, network)
      if (this.#lines.delete(port)) await this.#carrier.close(port)
      else ip([`link delete dev ${port}`], ['-force'])
    }
  }

  #ports(name: MachineName, network?: NetworkName): readonly string[] {
    return (network === undefined ? networksOf(name) : [network]).map((one) => portOf(name, one))
  }

  async #cable(machine: Machine, name: MachineName, network: NetworkName): Promise<void> {
    const port = portOf(name, network)
    if (this.#shaped.includes(network) && this.#shapedOf?.includes(name) !== false) {
      const far = `far${machine.pid}-${subnets[network]}`
      await this.#carrier.open(port, far, this.#seed * 100 + numbers[name])
      this.#lines.add(port)
      ip([`link set dev ${far} name ${network} netns ${machine.pid}`])
    } else ip([`link add name ${port} type veth peer name ${network} netns ${machine.pid}`])
    ip([`link set dev ${port} master ${network} addrgenmode none up`])
  }

  async #end(): Promise<void> {
    for (const [name, machine] of this.#machines) {
      await machine.kill()
      await this.#unplug(name)
    }
    this.#carrier.end()
    ip(['service', 'guest', 'link'].map((network) => `link delete dev ${network}`))
  }
}

function portOf(name: MachineName, network: NetworkName): string {
  return `${network}-${name}`
}

function addresses(name: MachineName | 'clients', network: NetworkName, device: string): readonly string[] {
  return [
    `address add ${addressOf(name, network)}/24 dev ${device}`,
    `address add ${addressOf(name, network, 6)}/64 dev ${device} nodad`
  ]
}

function batch(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('')
}

/** Runs commands of ip(8) in the namespace of the test. Throws if one fails, unless that is given. */
function ip(lines: readonly string[], force: readonly '-force'[] = []): void {
  const options = { input: batch(lines), env: withSystemPrograms(process.env) }
  const { status, stderr } = spawnSync('ip', [...force, '-batch', '-'], { ...options, encoding: 'utf8' })
  if (status !== 0 && force.length === 0) throw new Error(`ip could not ${lines.join('; ')}: ${stderr}`)
}
