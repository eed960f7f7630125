import t from 'tap'
import { preparedXenCluster } from '../xen-cluster.ts'

// What a checkpoint would not have is refused, in a sentence that says why.

t.setTimeout(600_000)
t.comment('timeout=600000')
const disk = (access: string): string =>
  `disk = ["format=raw,vdev=xvda,access=${access},target=/srv/guest/disk.img"]\n`

void t.test('a domain with a disk that it may write to is refused', async (t) => {
  const { cluster, machines } = await preparedXenCluster(t, {
    hosts: ['host-a'], domain: (text) => text + disk('rw')
  })
  await machines.host('host-a').run('dd if=/dev/zero of=/srv/guest/disk.img bs=1M count=4')
  cluster.start('host-a')
  cluster.start('gateway')
  const failed = await cluster.process('host-a').log.until('guest.failed')
  t.match(failed.reason, /xvda/)
})
