import t from 'tap'
import { allRight, begin } from '../../qemu/lab-load.ts'
import { figuresOf, preparedXenCluster } from '../xen-cluster.ts'

// A domain that its owner has made, and that runs before its host has an agent: it becomes the guest.

t.setTimeout(600_000)
t.comment('timeout=600000')
/** How long a domain may take to be made, in milliseconds. */
const createMsMax = 120_000

void t.test('a domain that runs already is protected as it is', async (t) => {
  const { cluster, machines } = await preparedXenCluster(t, {
    hosts: ['host-a', 'host-b'], agent: [[['guests', 0, 'config'], undefined]]
  })
  const host = machines.host('host-a')
  await host.run('xl create /etc/xen/guest.cfg', createMsMax)
  const domain = await host.run('xl domid guest')

  for (const name of ['host-a', 'host-b'] as const) cluster.start(name)
  await cluster.process('host-a').log.until('link.listening')
  t.equal(await host.run('xl domid guest'), domain, 'an agent that knows nothing of it leaves it as it is')

  cluster.start('gateway')
  await cluster.isProtected()
  t.equal(await host.run('xl domid guest'), domain, 'and it is what is protected')
  const load = await begin(t, 'found', { pipelined: 6, transactions: 2, blocking: 2, short: 2 })
  t.match(await cluster.failOverFrom('host-a'), { from: 'host-a', to: 'host-b' })
  allRight(t, await load.heard())
  figuresOf(t, cluster, 'host-a')
  allRight(t, await load.finish())
})
