import t from 'tap'
import { allRight, begin, killUnderLoad, redisCluster } from '../lab-load.ts'

// The gateway is far away from everybody: all its lines take their time, and lose one frame in fifty. The
// hosts are beside each other: over such a line one checkpoint of such a machine takes TCP minutes.

const shape = { delayMs: 20, jitterMs: 2, loss: 0.02 }
const networks = ['service', 'guest', 'link'] as const

void t.test('a failover over lines that take 20 ms and lose one frame in fifty', async (t) => {
  const cluster = await redisCluster(t, {
    hosts: ['host-a', 'host-b'], shaped: networks, shapedOf: ['gateway'],
    // A frame that is lost is repeated after a round trip and 200 ms, or twice that, or four times.
    guest: {
      heartbeat: '{ interval: 300ms, misses: 8 }', lease: '2500ms', replay: '{ timeout: 8s }',
      // The replay of what overlapped takes a round trip for each request.
      checkpoint_interval: '1s'
    }
  })
  for (const network of networks) await cluster.lab.shape('gateway', network, shape)
  const load = await begin(t, 'lossy', { pipelined: 3, transactions: 2, blocking: 1, published: 1, short: 2 })
  await killUnderLoad(t, cluster, 'host-a', load)
  t.equal(cluster.log.all('failover.began').length, 1, 'a lost frame is no death')
  allRight(t, await load.finish())
  for (const network of networks) {
    t.ok((await cluster.lab.count('gateway', network)).lost > 0, `frames were lost in the network ${network}`)
  }
})
