import t from 'tap'
import type { Cluster } from '../../lab/cluster.ts'
import { allRight, begin } from '../../qemu/lab-load.ts'
import { FrameCount } from '../frame-count.ts'
import type { XenHost } from '../host.ts'
import { domainStands, guestMac, standsStill, xenCluster } from '../xen-cluster.ts'

// What may die on the primary's host while the domain lives: the sender of its checkpoints, and the agent.

t.setTimeout(900_000)
t.comment('timeout=900000')
/** How long the next checkpoint, or a failover, may take, in milliseconds. */
const countMsMax = 90_000
/** Says which processes send checkpoints. */
const findSender = 'for pid in $(pidof xl); do '
  + 'tr "\\0" " " </proc/$pid/cmdline | grep -q " remus " && printf "%s " $pid; done; true'
/** A domain stands for some tenths of a second; it may run again before its sender is dead. */
const triesMax = 5

void t.test('the sender dies', async (t) => {
  // A domain that stands when its sender dies is failed over: for the most of this interval it runs.
  const { cluster, machines } = await xenCluster(t, {
    hosts: ['host-a', 'host-b'], guest: { checkpoint_interval: '20s' }
  })
  const host = machines.host('host-a')
  const load = await begin(t, 'sender', { pipelined: 6, transactions: 2, short: 2 })
  const domain = await host.run('xl domid guest')

  await t.test('and the guest goes on, and is protected anew', async (t) => {
    await cluster.log.until('checkpoint.counted', { from: cluster.log.count, patienceMs: countMsMax })
    const from = cluster.log.count
    const sender = await host.run(findSender)
    t.match(sender, /^\d/, 'it is there')
    await host.run(`kill -KILL ${sender}`)
    await cluster.isProtected(from)
    t.same(cluster.log.all('failover.began'), [], 'it was no reason to fail over')
    t.equal(await host.run('xl domid guest'), domain, 'the same domain')
    allRight(t, await load.heard())
  })

  await t.test('an agent dies, and its domain is off the network before another one is on it', async (t) => {
    await cluster.log.until('checkpoint.counted', { from: cluster.log.count, patienceMs: countMsMax })
    const from = cluster.log.count
    await cluster.process('host-a').kill()
    t.match(await cluster.log.until('failover.done', { from, patienceMs: countMsMax }),
      { from: 'host-a', to: 'host-b' })
    const spoken = new FrameCount('host-a', guestMac)
    allRight(t, await load.heard())
    t.equal(await host.run('xl domid guest'), domain, 'the old one still runs')
    t.equal(spoken.count, 0, 'and is heard by nobody')

    const since = cluster.log.count
    cluster.start('host-a')
    await cluster.isProtected(since)
    t.match(await host.run('xl list'), /guest--incoming/, 'the new agent has ended it, and is the backup')
    t.match(await cluster.failOverFrom('host-b'), { from: 'host-b', to: 'host-a' })
    allRight(t, await load.heard())
  })

  await t.test('a sender that dies while the domain stands takes that with it', async (t) => {
    await cluster.bringBack('host-b')
    const from = cluster.log.count
    t.ok(await killWhileItStands(cluster, host), 'nobody lets the domain run again')
    t.match(await cluster.log.until('failover.done', { from, patienceMs: countMsMax }),
      { from: 'host-a', to: 'host-b' })
    allRight(t, await load.heard())
  })
  allRight(t, await load.finish())
})

/** Kills the sender of a host. True once that was while the domain stood, which therefore still does. */
async function killWhileItStands(cluster: Cluster, host: XenHost): Promise<boolean> {
  for (let tries = 0; tries < triesMax; tries++) {
    const since = cluster.log.count
    const sender = await host.run(findSender)
    await standsStill(host, `kill -KILL ${sender}`)
    const stillStands = await host.run(`${domainStands} && echo yes || true`)
    if (stillStands.includes('yes')) return true
    await cluster.isProtected(since)
  }
  return false
}
