import t from 'tap'
import { allRight, begin } from '../../qemu/lab-load.ts'
import { FrameCount } from '../frame-count.ts'
import { figuresOf, guestMac, xenCluster } from '../xen-cluster.ts'

// `checkpoints: save`: a domain is saved whole under load and restored when its host dies. No reply is wrong.

const msMax = 30 * 60_000
t.setTimeout(msMax)
t.comment(`timeout=${msMax}`)
/** The moment of the kill is chosen from so many replies after a checkpoint that counts. */
const killWithinReplies = 400
/** The one processor of dom0 is xl's for seconds. */
const guest = {
  checkpoint_interval: '20s', heartbeat: '{ interval: 1s, misses: 8 }', lease: '8s'
} as const

for (const type of ['pvh', 'pv'] as const) {
  void t.test(`a domain of type ${type} is restored elsewhere when its host dies`, async (t) => {
    // Both hosts keep whole images, and their files are in memory.
    const { cluster, machines } = await xenCluster(t, {
      hosts: ['host-a', 'host-b'], guest, dom0MiB: 1536, memoryMiB: 2304,
      domain: (text) => text.replace(/^type = .*$/m, `type = "${type}"`),
      agent: [[['guests', 0, 'checkpoints'], 'save']]
    })
    t.notMatch(await machines.host('host-b').run('xl list'), /guest/, 'no domain waits, only an image')
    const spoken = new FrameCount('host-b', guestMac)
    const load = await begin(t, type, { pipelined: 6, transactions: 4, blocking: 4, published: 2, short: 2 })
    await cluster.nextCheckpoint()
    allRight(t, await load.heard())
    await load.answers(Math.floor(Math.random() * killWithinReplies))
    t.equal(spoken.count, 0)

    const done = await cluster.failOverFrom('host-a')
    t.match(done, { from: 'host-a', to: 'host-b', generation: 2 })
    allRight(t, await load.heard())
    t.match(await machines.host('host-b').run('xl list guest'), /guest +\d+ +128 +1/, 'it was made here')
    t.ok(spoken.count > 0, 'and speaks from where it is now')
    figuresOf(t, cluster, 'host-a')
    const figures = await load.finish()
    allRight(t, figures)
    t.comment(JSON.stringify(figures))
  })
}
