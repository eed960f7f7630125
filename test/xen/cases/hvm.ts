import t from 'tap'
import { allRight, begin } from '../../qemu/lab-load.ts'
import { figuresOf, xenCluster } from '../xen-cluster.ts'

// A real Redis in an HVM domain, which its own firmware starts from a disk. Its host dies under load.

t.setTimeout(900_000)
t.comment('timeout=900000')
/** The moment of the kill is chosen from so many replies after a checkpoint that counts. */
const killWithinReplies = 400

/** The example of an operator, as a machine that is emulated whole. */
function asHvm(text: string): string {
  return `${text.replace(/^type = .*$/m, 'type = "hvm"').replace(/^(kernel|ramdisk|cmdline) = .*\n/gm, '')
    .replace('vif = ["', 'vif = ["type=vif,')}
vga = "none"
vnc = 0
disk = ["format=raw,vdev=sda,access=ro,target=/srv/guest/disk.img"]
`
}

void t.test('an HVM domain goes on elsewhere when its host dies whole', async (t) => {
  const { cluster, machines } = await xenCluster(t, {
    hosts: ['host-a', 'host-b'], domain: asHvm, dom0MiB: 1280, memoryMiB: 2048,
    guestFiles: { from: process.env.TAILGATE_TEST_IMAGE ?? '', names: ['disk.img.gz'] }
  })
  t.match(await machines.host('host-a').run('xl list -l guest'), /"type": "hvm"/)
  const load = await begin(t, 'hvm', { pipelined: 8, transactions: 4, blocking: 4, published: 2, short: 2 })
  await cluster.nextCheckpoint()
  await load.answers(Math.floor(Math.random() * killWithinReplies))
  t.match(await cluster.failOverFrom('host-a'), { from: 'host-a', to: 'host-b', generation: 2 })
  allRight(t, await load.heard())
  figuresOf(t, cluster, 'host-a')
  const figures = await load.finish()
  allRight(t, figures)
  t.comment(JSON.stringify(figures))
})
