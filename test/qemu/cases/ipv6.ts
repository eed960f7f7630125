import t from 'tap'
import { allRight, begin, killUnderLoad, redisCluster } from '../lab-load.ts'

// Clients, gateway and guest have IPv6 addresses, and the guest has no other.

void t.test('a failover over IPv6', async (t) => {
  const cluster = await redisCluster(t, { hosts: ['host-a', 'host-b'], family: 6 })
  const load = await begin(t, 'six', {
    pipelined: 15, transactions: 8, blocking: 6, published: 6, short: 8
  }, 6)
  await killUnderLoad(t, cluster, 'host-a', load)
  allRight(t, await load.finish())
})
