import t from 'tap'
import { allRight, begin, killUnderLoad, redisCluster } from '../lab-load.ts'

// A gateway that dies and is started again with its state: as with any proxy its clients lose their
// connections, and the guest runs on. It is in danger until a checkpoint of the new history counts.

void t.test('a gateway that is killed and started again', async (t) => {
  const cluster = await redisCluster(t, { hosts: ['host-a', 'host-b'] })
  const before = await cluster.status()
  const clients = [await cluster.client(t), await cluster.client(t), await cluster.client(t)]
  for (const [n, client] of clients.entries()) t.equal(await client.ask(`INCR old:${n}`, ':1\r\n'), ':1\r\n')
  const broken = await begin(t, 'broken', { pipelined: 4, transactions: 2, blocking: 2, short: 2 })

  await cluster.process('gateway').kill()
  for (const client of clients) {
    await client.over()
    t.equal(client.unread, '')
  }
  cluster.start('gateway')
  t.same((await broken.figures()).wrong, [], 'nobody was told anything wrong')
  const { log } = cluster
  await log.until('service.listening')
  const load = await begin(t, 'after', { pipelined: 6, transactions: 4, blocking: 3, published: 3, short: 4 })
  t.match(await log.until('guest.protected'), { from: 'syncing' }, 'a new history has no checkpoint at first')
  const after = await cluster.status()
  t.match(after, { generation: 1, activeHost: 'host-a', divergence: { diverged: false } })
  t.not(after.history, before.history)
  t.same(cluster.process('host-a').log.all('guest.stopped'), [], 'the guest has run on')
  t.equal(cluster.process('host-a').log.all('guest.started').length, 1)
  const fresh = await cluster.client(t)
  for (const [n] of clients.entries()) t.equal(await fresh.ask(`INCR old:${n}`, ':2\r\n'), ':2\r\n')

  await killUnderLoad(t, cluster, 'host-a', load)
  t.match(log.all('failover.done'), [{ generation: 2, from: 'host-a', to: 'host-b', reset: 0 }])
  t.equal(await fresh.ask('INCR old:0', ':3\r\n'), ':3\r\n')
  allRight(t, await load.finish())
})
