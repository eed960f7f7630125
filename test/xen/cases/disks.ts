import t from 'tap'
import { preparedXenCluster } from '../xen-cluster.ts'

// What a checkpoint would not have is refused, in a sentence that says why.

t.setTimeout(600_000)
t.comment('timeout=600000')
const patienceMs = 60_000
const disk = 'disk = ["format=raw,vdev=xvda,access=rw,target=/srv/guest/disk.img"]\n'

void t.test('a domain with a disk that it may write to is refused before it is created', async (t) => {
  const { cluster, machines } = await preparedXenCluster(t, {
    hosts: ['host-a'], domain: (text) => text + disk
  })
  const host = machines.host('host-a')
  await host.run('dd if=/dev/zero of=/srv/guest/disk.img bs=1M count=4')
  cluster.start('host-a')
  cluster.start('gateway')
  const { reason } = await cluster.process('host-a').log.until('guest.failed', { patienceMs })
  t.match(reason, /it can write to its disk xvda.*make it read-only/)
  t.notMatch(await host.run('ls /var/log/xen'), /xl-guest/, 'Xen never had it')
})
