import t from 'tap'
import { addressOf } from '../../lab/network-lab.ts'
import { servicePort } from '../../lab/cluster.ts'
import { Client, type ClientEvents } from '../../redis-load/client.ts'
import { allRight, begin, redisCluster } from '../lab-load.ts'

// Connections of which most have nothing to say when the host dies, and none may notice it.

const idleCount = 1000
/** So many are opened at a time. */
const openedAtOnce = 50

async function openAll(events: ClientEvents): Promise<readonly Client[]> {
  const clients: Client[] = []
  while (clients.length < idleCount) {
    const some = Array.from({ length: openedAtOnce }, () =>
      Client.open(addressOf('gateway', 'service'), servicePort, events))
    clients.push(...await Promise.all(some))
  }
  return clients
}

/** Moves the counter of each by one; the numbers of those that are not `wanted` then, or were lost. */
async function notMovedTo(wanted: number, clients: readonly Client[]): Promise<readonly number[]> {
  const replies = await Promise.allSettled(clients.map((client, n) => client.ask('INCR', `idle:${n}`)))
  return replies.flatMap((reply, n) => reply.status === 'fulfilled' && reply.value === wanted ? [] : [n])
}

void t.test(`${idleCount} idle connections and a few busy ones`, async (t) => {
  const cluster = await redisCluster(t, { hosts: ['host-a', 'host-b'] })
  const { log } = cluster
  const unasked: unknown[] = []
  const clients = await openAll({ answered: () => undefined, unasked: (reply) => { unasked.push(reply) } })
  t.teardown(() => { for (const client of clients) client.close() })
  t.same(await notMovedTo(1, clients), [])
  const { positions } = await cluster.status()
  const load = await begin(t, 'busy', { pipelined: 4, transactions: 2, short: 2 })
  await log.next('checkpoint.counted', ({ mark }) => Number(mark) > positions.loggedLsn)
  const done = await cluster.failOverFrom('host-a')
  t.equal(done.reset, 0)
  t.ok(Number(done.kept) >= idleCount)
  t.same(await notMovedTo(2, clients), [], 'each is where it was')
  t.same(unasked, [])
  allRight(t, await load.heard())
  allRight(t, await load.finish())
  const phases = log.all('failover.phase').map(({ phase, ms }) => `${String(phase)} ${String(ms)}`)
  t.comment(`${String(done.kept)} kept, milliseconds: ${phases.join(', ')}; in all ${String(done.totalMs)}`)
})
