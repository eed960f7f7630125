import t from 'tap'
import type { HostName } from '../../lab/cluster.ts'
import { allRight, begin, killUnderLoad, redisCluster } from '../lab-load.ts'

// A real Redis in a real virtual machine, whose hosts die under load. Every reply is checked.

const hosts: readonly HostName[] = ['host-a', 'host-b', 'host-c']
/** How often a host is killed under the whole load; more in the long version. */
const rounds = Number(process.env.TAILGATE_TEST_ROUNDS ?? '1')

void t.test('every reply is right through three failovers in a row', async (t) => {
  const cluster = await redisCluster(t, { hosts })
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
  const cluster = await redisCluster(t, { hosts })
  const load = await begin(t, 'many', {
    pipelined: 60, transactions: 40, blocking: 15, published: 15, shared: 30, short: 10
  })
  for (let round = 0; round < rounds; round++) {
    const host = hosts[round % hosts.length] ?? 'host-a'
    const before = cluster.log.count
    await killUnderLoad(t, cluster, host, load)
    await cluster.log.until('guest.protected', { from: before })
    await cluster.boot(host)
  }
  const figures = await load.finish()
  allRight(t, figures)
  t.comment(`reset because who was first on a shared key is in no log: ${figures.resets.shared}`)
  t.comment(JSON.stringify(figures))
})

void t.test('a host that was frozen says nothing to anybody when it wakes after the promotion', async (t) => {
  const cluster = await redisCluster(t, { hosts })
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
