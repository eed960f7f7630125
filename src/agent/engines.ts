import { join } from 'node:path'
import { TailgateError } from '../base/errors.ts'
import type { Address, AgentGuestConfig, QemuGuestConfig, XenGuestConfig } from '../config/types.ts'
import { BlackholeEngine, NoEngine } from '../engine/blackhole.ts'
import { EmbeddedEngine } from '../engine/embedded.ts'
import type { Engine } from '../engine/engine.ts'
import type { GuestNetwork } from '../engine/guest-network.ts'
import { QemuEngine } from '../engine/qemu.ts'
import { XenEngine } from '../engine/xen.ts'
import { addressText } from '../net/address.ts'

/** What a guest's network is made from. */
export interface NetworkSettings {
  readonly guest: string
  /** A `tap` is made by us, a `vif` by Xen. */
  readonly kind: 'tap' | 'vif'
  /** The device's name, and the bridge that it is put on. */
  readonly device: string
  readonly bridge: string
  /** The card's address, and the guest's own, without ports, each once. */
  readonly mac: string
  readonly addresses: readonly string[]
}

/** What an engine needs of the agent. */
export interface EngineSurroundings {
  /** A directory of the guest's on this host. */
  readonly directory: string
  /** Makes the network of a virtual machine. */
  networkOf(settings: NetworkSettings): GuestNetwork
  /** Told what the host turned out to allow, and what becomes of checkpoints there. */
  notice(text: string): void
}

/** Makes the engine that a guest's configuration asks for. Throws E_CONFIG. */
export function engineOf(config: AgentGuestConfig, surroundings: EngineSurroundings): Engine {
  switch (config.engine) {
    case 'xen': return xen(config, surroundings)
    case 'qemu': return qemu(config, surroundings)
    case 'embedded': return embedded(config.name, config.listen)
    case 'blackhole': return new BlackholeEngine({
      endpoints: textsOf(config.endpoints), pids: config.pids,
      pidFiles: config.pidFile === undefined ? [] : [config.pidFile]
    })
    case 'none': return new NoEngine({ endpoints: textsOf(config.endpoints) })
  }
}

function qemu(config: QemuGuestConfig, { directory, networkOf, notice }: EngineSurroundings): QemuEngine {
  const { program, attach, disks, endpoints, network: { tap, bridge, mac, card } } = config
  const addresses = hostsOf(endpoints)
  return new QemuEngine({
    program, arguments: config.arguments, ...attach === undefined ? {} : { attach }, disks,
    network: networkOf({ guest: config.name, kind: 'tap', device: tap, bridge, mac, addresses }), mac, card,
    endpoints: textsOf(endpoints), directory: join(directory, 'qemu'), notice
  })
}

function xen(config: XenGuestConfig, { directory, networkOf, notice }: EngineSurroundings): XenEngine {
  const { name, domain, config: file, checkpoints, endpoints, network: { vif, bridge, mac } } = config
  const addresses = hostsOf(endpoints)
  return new XenEngine({
    domain, config: file, checkpoints, directory: join(directory, 'xen'), bridge, mac,
    endpoints: textsOf(endpoints), notice,
    network: networkOf({ guest: name, kind: 'vif', device: vif, bridge, mac, addresses })
  })
}

function embedded(name: string, listen: readonly Address[]): EmbeddedEngine {
  const hosts = new Set(listen.map(({ host }) => host))
  const [host] = hosts
  if (host === undefined || hosts.size > 1) {
    throw new TailgateError('E_CONFIG',
      `guest ${name}: an embedded guest listens on one address, with a port for each service`,
      { context: { guest: name } })
  }
  return new EmbeddedEngine({ host, ports: listen.map(({ port }) => port) })
}

function hostsOf(addresses: readonly Address[]): readonly string[] {
  return [...new Set(addresses.map(({ host }) => host))]
}

function textsOf(addresses: readonly Address[]): string[] {
  return addresses.map(({ host, port }) => addressText(host, port))
}
