import type { Test } from 'tap'
import { Cluster, servicePort, type ClusterOptions, type HostName } from '../lab/cluster.ts'
import { addressOf } from '../lab/network-lab.ts'
import type { Figures, Kind } from '../redis-load/figures.ts'
import { RedisLoad, wrongResets } from '../redis-load/redis-load.ts'
import { redisMachine, type RedisMachineOptions } from './lab-guest.ts'

// A Redis in a virtual machine of the laboratory, and a load on it that checks every reply.

/** Emulated, on processors that all else shares: what is only slow is not to be taken for dead. */
export const patient = {
  checkpoint_interval: '2s', heartbeat: '{ interval: 200ms, misses: 8 }', lease: '2s'
} as const
/** The moment of a kill is chosen from so many replies to each worker after a checkpoint that counts. */
const killWithinReplies = 40

export interface RedisClusterOptions
  extends Omit<ClusterOptions, 'kind'>, Pick<RedisMachineOptions, 'family' | 'services'> {}

/** One whose Redis is protected; `guest` is added to settings that suit an emulated machine. */
export function redisCluster(
  t: Test, { family, services, guest, ...options }: RedisClusterOptions
): Promise<Cluster> {
  const image = process.env.TAILGATE_TEST_IMAGE ?? ''
  const machine = { image, memoryMiB: 128, family, services }
  return Cluster.protected(t, { ...options, kind: redisMachine(machine), guest: { ...patient, ...guest } })
}

export type Load = Partial<Record<Kind, number>>

/** Begins it; resolves when every client has been answered, and so the machine has started. */
export async function begin(
  t: Test, prefix: string, workers: Load, family: 4 | 6 = 4
): Promise<RedisLoad> {
  const host = addressOf('gateway', 'service', family)
  const load = RedisLoad.start(t, { host, port: servicePort, prefix, workers })
  await load.heard()
  return load
}

export function allRight(t: Test, figures: Figures): void {
  t.same(figures.wrong, [], 'no reply was wrong, lost or repeated')
  t.equal(wrongResets(figures), 0, 'no connection was reset')
}

/** Kills a host at a random moment between two checkpoints, and looks at every client after the failover. */
export async function killUnderLoad(
  t: Test, cluster: Cluster, host: HostName, load: RedisLoad
): Promise<void> {
  await cluster.log.next('checkpoint.counted')
  await load.answers(Math.floor(Math.random() * killWithinReplies * load.workers))
  const done = await cluster.failOverFrom(host)
  allRight(t, await load.heard())
  t.comment(`${host}: ${JSON.stringify(done)}`)
}
