import t, { type Test } from 'tap'
import { allRight, begin } from '../../qemu/lab-load.ts'
import { FrameCount } from '../frame-count.ts'
import type { XenHost } from '../host.ts'
import { guestMac, xenCluster } from '../xen-cluster.ts'

// The backup's agent dies, and with it the stream of Xen's receiver, at whose end the domain comes up: a
// second one of that MAC and address, which must not reach anybody.

t.setTimeout(600_000)
t.comment('timeout=600000')
/** How long the domain may take to come up by itself, in milliseconds. */
const upMsMax = 60_000
/** How long one may take to be made there, in milliseconds: one that waits for a standby waits for ever. */
const createMsMax = 60_000
/** It is made, and never runs. */
const otherDomain = 'name = "other"\ntype = "pvh"\nkernel = "/srv/guest/vmlinuz"\nmemory = 64\nvcpus = 1\n'
/** In the place of setpriv(1): what it is to run is not killed with the agent. */
const doesNothing = '#!/bin/sh\nuntil [ "$1" = -- ]; do shift; done\nshift\nexec "$@"\n'
const instead = '/usr/local/bin/setpriv'

void t.test("a backup's agent is killed", async (t) => {
  const { cluster, machines } = await xenCluster(t, { hosts: ['host-a', 'host-b'] })
  const load = await begin(t, 'standby', { pipelined: 6, transactions: 2, short: 2 })
  const host = machines.host('host-b')
  const spoken = new FrameCount('host-b', guestMac)

  /** Kills it, awaits what becomes of the domain, and starts a new one. */
  const without = async (t: Test, happens: () => Promise<void>): Promise<void> => {
    const from = cluster.log.count
    await cluster.process('host-b').kill()
    await happens()
    allRight(t, await load.heard())
    t.equal(spoken.count, 0, 'nothing of it leaves the host')
    cluster.start('host-b')
    await cluster.isProtected(from)
    const domains = await host.run('xl list')
    t.match(domains, /^guest--incoming /m, 'the new agent has a new standby')
    t.notMatch(domains, /^guest /m, 'and none of the old one is left')
    t.equal(spoken.count, 0)
  }

  await t.test('a standby keeps nobody from making another domain on its host', async (t) => {
    await host.write('/root/other.cfg', otherDomain)
    await host.run('xl create -q -p /root/other.cfg', createMsMax)
    const domains = await host.run('xl list')
    t.match(domains, /^other +\d+ +64 /m)
    t.match(domains, /^guest--incoming /m)
    await host.run('xl destroy other')
  })
  await t.test('and the receiver with it, so that the domain stays as it is', (t) => without(t, async () => {
    await host.run('while pgrep -f migrate-receive; do usleep 20000; done')
    t.match(await host.run('xl list'), /^guest--incoming +\d+ +128 +\d +--p---/m)
    await host.run(`cat >${instead} <<'END'\n${doesNothing}END\nchmod 755 ${instead}`)
  }))
  await t.test('and the domain comes up by itself, and is heard by nobody', (t) => without(t, async () => {
    await speaks(host)
    t.match(await host.run('xl list'), /^guest +\d+ +128 +1 +[-r][-b]----/m, 'it runs')
    await host.run(`rm ${instead}`)
  }))

  t.same(cluster.log.all('failover.began'), [])
  t.match(await cluster.failOverFrom('host-a'), { to: 'host-b' })
  allRight(t, await load.heard())
  allRight(t, await load.finish())
})

/** Resolves when a frame has come out of the domain: at first its kernel says that the card is here now. */
async function speaks(host: XenHost): Promise<void> {
  const frames = 'cat /sys/class/net/guest0/statistics/rx_packets 2>/dev/null || echo 0'
  await host.run(`until [ "$(${frames})" -gt 0 ]; do usleep 20000; done`, upMsMax)
}
