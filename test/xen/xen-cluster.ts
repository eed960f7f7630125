import type { Test } from 'tap'
import { Cluster, servicePort, type GuestKind, type HostName } from '../lab/cluster.ts'
import { XenMachines, type XenMachinesOptions } from './xen-machines.ts'

// Gateway and clients in the laboratory, and a Redis in a domain of Xen hosts.

/** The card's address in deploy/xen. */
export const guestMac = '02:77:00:00:02:65'
/** The guest of deploy/xen, as a gateway serves it. Its agents have files of their own. */
const xenGuest: GuestKind = {
  attach: 'tcp',
  services: [{ name: 'redis', port: servicePort, to: '10.77.2.101:6379' }],
  agentKeys: () => { throw new Error('the agents of Xen hosts have the files of deploy/xen') }
}
/** Emulated twice over, on processors that all else shares: what is only slow is not to be taken for dead. */
export const patient = {
  checkpoint_interval: '2s', heartbeat: '{ interval: 1s, misses: 4 }', lease: '4s',
  replay: '{ timeout: 10s }'
} as const
/** Above all for the first checkpoint, which has all of the domain's memory. In milliseconds. */
const patienceMs = 300_000
const toldLines = 40

export interface XenClusterOptions
  extends Pick<XenMachinesOptions, 'agent' | 'domain' | 'dom0MiB' | 'memoryMiB'> {
  readonly hosts: readonly HostName[]
  /** Lines of the guest's part of the gateway's configuration, in the place of those of {@link patient}. */
  readonly guest?: Readonly<Record<string, string>>
}

export interface XenCluster {
  readonly cluster: Cluster
  readonly machines: XenMachines
}

/** One whose hosts are up, and on which nothing was started yet. */
export async function preparedXenCluster(t: Test, options: XenClusterOptions): Promise<XenCluster> {
  const { hosts, guest, ...machine } = options
  const directory = process.env.TAILGATE_TEST_XEN ?? ''
  const machines = new XenMachines(t, { directory, qemu: 'qemu-system-x86_64', hosts, ...machine })
  const cluster = await Cluster.prepared(t, {
    hosts, kind: xenGuest, machines, patienceMs, guest: { ...patient, ...guest }
  })
  t.teardown(() => { if (!t.passing()) tellOf(t, cluster) })
  return { cluster, machines }
}

/** One whose Redis is protected. */
export async function xenCluster(t: Test, options: XenClusterOptions): Promise<XenCluster> {
  const made = await preparedXenCluster(t, options)
  for (const host of [...options.hosts, 'gateway'] as const) made.cluster.start(host)
  await made.cluster.isProtected()
  return made
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
  const pauses = cluster.process(from).log.all('checkpoint.stored').map(({ pauseMs }) => pauseMs)
  t.comment(`checkpoints, [bytes, ms]: ${JSON.stringify(counted)}; pauses in ms: ${JSON.stringify(pauses)}`)
}
