import t from 'tap'
import type { Cluster, HostName } from '../../lab/cluster.ts'
import { allRight, begin } from '../../qemu/lab-load.ts'
import type { RedisLoad } from '../../redis-load/redis-load.ts'
import { figuresOf, standsStill, xenCluster } from '../xen-cluster.ts'

// Failovers in a row at different intervals of checkpoints: half of them at any moment between two, the other
// half while the domain stands still for one, after a random number of them.

const rounds = Number(process.env.TAILGATE_TEST_ROUNDS ?? '4')
const intervals = ['500ms', '2s', '5s', '30s'] as const
const msMax = 90 * 60_000
t.setTimeout(msMax)
t.comment(`timeout=${msMax}`)
/** So many checkpoints, or fewer, count before the one during which the host dies. */
const checkpointsMax = 2

for (const [n, interval] of intervals.entries()) {
  const share = Math.floor(rounds / intervals.length) + (n < rounds % intervals.length ? 1 : 0)
  void t.test(`${share} failovers with checkpoints every ${interval}`, async (t) => {
    if (share === 0) return
    const guest = { checkpoint_interval: interval }
    const { cluster, machines } = await xenCluster(t, { hosts: ['host-a', 'host-b'], guest })
    const load = await begin(t, `every-${interval}`, {
      pipelined: 15, transactions: 10, blocking: 10, published: 5, shared: 5, short: 5
    })
    for (let round = 0; round < share; round++) {
      const host = round % 2 === 0 ? 'host-a' : 'host-b'
      if (round % 2 === 0) await someMoment(cluster, load)
      else {
        for (let left = atRandom(checkpointsMax); left > 0; left--) await cluster.nextCheckpoint()
        await standsStill(machines.host(host))
      }
      const before = stored(cluster, host)
      t.match(await cluster.failOverFrom(host), { from: host }, `round ${round + 1}`)
      allRight(t, await load.heard())
      if (stored(cluster, host) === before) t.comment('no checkpoint was stored between order and death')
      figuresOf(t, cluster, host)
      if (round + 1 < share) await cluster.bringBack(host)
    }
    const figures = await load.finish()
    allRight(t, figures)
    t.comment(`reset because who was first on a shared key is in no log: ${figures.resets.shared}`)
    t.comment(JSON.stringify(figures))
  })
}

/** A whole number from 0 to `max`. */
function atRandom(max: number): number {
  return Math.floor(Math.random() * (max + 1))
}

/** Resolves at a random moment of the time between two checkpoints, as long as that is. */
async function someMoment(cluster: Cluster, load: RedisLoad): Promise<void> {
  await cluster.nextCheckpoint()
  const { answered } = await load.figures()
  await cluster.nextCheckpoint()
  const between = (await load.figures()).answered - answered
  await load.answers(atRandom(between))
}

/** How many checkpoints the backup has stored of a host's guest. */
function stored(cluster: Cluster, host: HostName): number {
  return cluster.process(host).log.all('checkpoint.stored').length
}

