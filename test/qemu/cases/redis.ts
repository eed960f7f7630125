import t, { type Test } from 'tap'
import { Cluster, servicePort, type HostName } from '../../lab/cluster.ts'
import { addressOf } from '../../lab/network-lab.ts'
import { RedisLoad, wrongResets } from '../../redis-load/redis-load.ts'
import type { Figures, Kind } from '../../redis-load/figures.ts'
import { redisMachine } from '../lab-guest.ts'

// A real Redis in a real virtual machine, whose hosts die under load. Every reply is checked.

const kind = redisMachine({ image: process.env.TAILGATE_TEST_IMAGE ?? '', memoryMiB: 128 })
/** Emulated, on processors that all else shares: what is only slow is not to be taken for dead. */
const guest = {
  checkpoint_interval: '2s', heartbeat: '{ interval: 200ms, misses: 8 }', lease: '2s'
} as const
/** How often a host is killed under the whole load; more in the long version. */
const rounds = Number(process.env.TAILGATE_TEST_ROUNDS ?? '1')
/** The moment of a kill is chosen from so many milliseconds after a checkpoint that counts. */
const killWithinMs = 1500

type Load = Partial<Record<Kind, number>>

async function newCluster(t: Test): Promise<Cluster> {
  return Cluster.protected(t, { hosts: ['host-a', 'host-b', 'host-c'], kind, guest })
}

/** Begins it; resolves when every client has been answered, and so the machine has started. */
async function begin(t: Test, prefix: string, workers: Load): Promise<RedisLoad> {
  const host = addressOf('gateway', 'service')
  const load = RedisLoad.start(t, { host, port: servicePort, prefix, workers })
  await load.heard()
  return load
}

function allRight(t: Test, figures: Figures): void {
  t.same(figures.wrong, [], 'no reply was wrong, lost or repeated')
  t.equal(wrongResets(figures), 0, 'no connection was reset')
}

/** Kills a host at a random moment between two checkpoints, and looks at every client after the failover. */
async function killUnderLoad(t: Test, cluster: Cluster, host: HostName, load: RedisLoad): Promise<void> {
  await cluster.log.next('checkpoint.counted')
  await new Promise<void>((resolve) => {
    setTimeout(() => { resolve() }, Math.random() * killWithinMs)
  })
  const done = await cluster.failOverFrom(host)
  allRight(t, await load.heard())
  t.comment(`${host}: ${JSON.stringify(done)}`)
}

void t.test('every reply is right through three failovers in a row', async (t) => {
  const cluster = await newCluster(t)
  const load = await begin(t, 'three', {
    pipelined: 20, transactions: 10, blocking: 10, published: 10, short: 10
  })
  await killUnderLoad(t, cluster, 'host-a', load)
  await killUnderLoad(t, cluster, 'host-b', load)
  await cluster.bringBack('host-a')
  await killUnderLoad(t, cluster, 'host-c', load)
  allRight(t, await load.finish())
})

void t.test(`200 connections, with keys that they share, ${rounds} times`, async (t) => {
  const cluster = await newCluster(t)
  const load = await begin(t, 'many', {
    pipelined: 60, transactions: 40, blocking: 15, published: 15, shared: 30, short: 10
  })
  const way: HostName[] = ['host-a', 'host-b', 'host-c']
  for (let round = 0; round < rounds; round++) {
    const host = way[round % way.length] ?? 'host-a'
    await killUnderLoad(t, cluster, host, load)
    await cluster.bringBack(host)
  }
  const figures = await load.finish()
  allRight(t, figures)
  t.comment(`reset because who was first on a shared key is in no log: ${figures.resets.shared}`)
  t.comment(JSON.stringify(figures))
})

void t.test('a host that was frozen says nothing to anybody when it wakes after the promotion', async (t) => {
  const cluster = await newCluster(t)
  const load = await begin(t, 'frozen', { pipelined: 10, transactions: 5, short: 5 })
  await cluster.log.next('checkpoint.counted')
  const done = cluster.log.next('failover.done')
  cluster.lab.machine('host-a').freeze()
  t.match(await done, { to: 'host-b' })
  const stopped = cluster.process('host-a').log.next('guest.stopped')
  cluster.lab.machine('host-a').thaw()
  await stopped
  allRight(t, await load.heard())
  allRight(t, await load.finish())
})
