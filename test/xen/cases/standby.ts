import t from 'tap'
import { allRight, begin } from '../../qemu/lab-load.ts'
import { FrameCount } from '../frame-count.ts'
import { guestMac, xenCluster } from '../xen-cluster.ts'

// The backup's agent dies. Xen's receiver reads the end of its stream, and brings the domain up: a second
// one of that MAC and address, which must not reach anybody.

t.setTimeout(600_000)
t.comment('timeout=600000')
/** How long the domain may take to come up by itself, in milliseconds. */
const upMsMax = 60_000

void t.test('a standby that comes up by itself says nothing to anybody', async (t) => {
  const { cluster, machines } = await xenCluster(t, { hosts: ['host-a', 'host-b'] })
  const load = await begin(t, 'standby', { pipelined: 6, transactions: 2, short: 2 })
  const host = machines.host('host-b')
  const spoken = new FrameCount('host-b', guestMac)

  const from = cluster.log.count
  await cluster.process('host-b').kill()
  // The first frame is the kernel's own word that the card is at this place now.
  const spokenInside = 'cat /sys/class/net/guest0/statistics/rx_packets 2>/dev/null || echo 0'
  await host.run(`until [ "$(${spokenInside})" -gt 0 ]; do usleep 20000; done`, upMsMax)
  t.match(await host.run('xl list'), /^guest +\d+ +128 +1 +[-r][-b]----/m, 'it runs')
  allRight(t, await load.heard())
  t.equal(spoken.count, 0, 'what it says does not leave its host')

  cluster.start('host-b')
  await cluster.isProtected(from)
  t.match(await host.run('xl list'), /guest--incoming/, 'the new agent has a new standby')
  t.notMatch(await host.run('xl list'), /^guest /m, 'and has ended the one that had come up')
  t.equal(spoken.count, 0)
  t.same(cluster.log.all('failover.began'), [])

  t.match(await cluster.failOverFrom('host-a'), { to: 'host-b' })
  allRight(t, await load.heard())
  allRight(t, await load.finish())
})
