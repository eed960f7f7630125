import type { Test } from 'tap'
import { Cluster, servicePort, type GuestKind, type HostName, type ServiceKind } from '../lab/cluster.ts'
import type { XenHost } from './host.ts'
import { XenMachines, type XenMachinesOptions } from './xen-machines.ts'

// Gateway and clients in the laboratory, and a guest in a domain of Xen hosts.

/** The card's address in deploy/xen. */
export const guestMac = '02:77:00:00:02:65'
/** Its own, in the network of guests. */
export const guestAddress = '10.77.2.101'
/** That of the guest of deploy/xen. */
export const redis = { name: 'redis', port: servicePort, to: `${guestAddress}:6379` } as const
/** A guest as a gateway serves it. Its agents have files of their own. */
export function xenGuest(services: readonly ServiceKind[]): GuestKind {
  return {
    attach: 'tcp', services,
    agentKeys: () => { throw new Error('the agents of Xen hosts have the files of deploy/xen') }
  }
}
/** Emulated twice over, on processors that all else shares: what is only slow is not to be taken for dead. */
export const patient = {
  checkpoint_interval: '2s', heartbeat: '{ interval: 1s, misses: 6 }', lease: '6s',
  replay: '{ timeout: 10s }'
} as const
/** Above all for the first checkpoint, which has all of the domain's memory. In milliseconds. */
const patienceMs = 300_000
const toldLines = 40
/** Whether a host's domain stands still, for a checkpoint or because it is lost, as its shell answers it. */
export const domainStands = 'xl list guest | grep -q -- " ---ss*-"'
/** How long it may take until a domain stands still once more, in milliseconds. */
const stillMsMax = 90_000

export interface XenClusterOptions
  extends Pick<XenMachinesOptions, 'agent' | 'guestFiles' | 'domain' | 'dom0MiB' | 'memoryMiB'> {
  readonly hosts: readonly HostName[]
  /** What the guest serves, in the place of Redis. */
  readonly services?: readonly (ServiceKind & { readonly to: string })[]
  /** Lines of the guest's part of the gateway's configuration, in the place of those of {@link patient}. */
  readonly guest?: Readonly<Record<string, string>>
}

export interface XenCluster {
  readonly cluster: Cluster
  readonly machines: XenMachines
}

/** One whose hosts are up, and on which nothing was started yet. */
export async function preparedXenCluster(t: Test, options: XenClusterOptions): Promise<XenCluster> {
  const { hosts, services = [redis], guest, agent = [], ...machine } = options
  const directory = process.env.TAILGATE_TEST_XEN ?? ''
  const endpoints = services.map(({ to }) => to)
  const machines = new XenMachines(t, {
    directory, qemu: 'qemu-system-x86_64', hosts, ...machine,
    agent: [[['guests', 0, 'endpoints'], endpoints], ...agent]
  })
  const cluster = await Cluster.prepared(t, {
    hosts, kind: xenGuest(services), machines, patienceMs, guest: { ...patient, ...guest }
  })
  t.teardown(() => { if (!t.passing()) tellOf(t, cluster) })
  return { cluster, machines }
}

/** One whose guest is protected. */
export async function xenCluster(t: Test, options: XenClusterOptions): Promise<XenCluster> {
  const made = await preparedXenCluster(t, options)
  for (const host of [...options.hosts, 'gateway'] as const) made.cluster.start(host)
  await made.cluster.isProtected()
  return made
}

/** Resolves when a host's domain has been seen standing still, and its shell has done this then. */
export async function standsStill(host: XenHost, then = 'true'): Promise<void> {
  await host.run(`until ${domainStands}; do :; done; ${then}`, stillMsMax)
}

/** The end of every log, where something went wrong. */
function tellOf(t: Test, cluster: Cluster): void {
  for (const name of cluster.started) {
    const { words } = cluster.process(name).log
    const said = words.split('\n').filter((line) => !line.includes('connection.end'))
    t.comment(`${name}:\n${said.slice(-toldLines).join('\n')}`)
  }
}

/** What the gateway and the agent of the host that died have logged of the last failover, for people. */
export function figuresOf(t: Test, cluster: Cluster, from: HostName): void {
  const phases = cluster.log.all('failover.phase').map(({ phase, ms }) => `${String(phase)} ${String(ms)}`)
  t.comment(`failover: ${JSON.stringify(cluster.log.all('failover.done').at(-1))}; ms: ${phases.join(', ')}`)
  const counted = cluster.log.all('checkpoint.counted').map(({ bytes, durationMs }) => [bytes, durationMs])
  t.comment(`checkpoints, [bytes, ms]: ${JSON.stringify(counted)}`)
  const pauses = cluster.process(from).log.all('checkpoint.stored')
    .map(({ pauseMs, dirtyPages }) => [pauseMs, dirtyPages])
  t.comment(`pauses, [ms, pages]: ${JSON.stringify(pauses)}`)
}
