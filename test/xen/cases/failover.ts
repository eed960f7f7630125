import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { addressOf } from '../../lab/network-lab.ts'
import { run } from '../../namespace.ts'
import { allRight, begin } from '../../qemu/lab-load.ts'
import { FrameCount } from '../frame-count.ts'
import { shellPort } from '../host.ts'
import { figuresOf, guestMac, xenCluster } from '../xen-cluster.ts'

// A real Redis in a real domain, whose Xen host dies under load. Every reply is checked.

t.setTimeout(600_000)
t.comment('timeout=600000')
/** A new host takes the place of the dead one, and the other one dies, too: emulated, that takes minutes. */
const isLong = process.env.TAILGATE_TEST_ROUNDS !== undefined
/** The moment of the kill is chosen from so many replies after a checkpoint that counts. */
const killWithinReplies = 400

void t.test('a domain goes on elsewhere when its host dies whole', async (t) => {
  const { cluster, machines } = await xenCluster(t, { hosts: ['host-a', 'host-b'] })
  const [hostA, hostB] = [machines.host('host-a'), machines.host('host-b')]

  await t.rejects(hostA.run('echo so; exit 3'), { message: /so\n\n3$/ }, 'a host does what it is told')
  t.match(await hostA.run('xl info'), /xen_version +: 4\.17/)
  t.match(await hostA.run('/usr/sbin/ip -o link show master guests'), /guest0/,
    "the domain's interface has the name that was asked for")
  t.match(await hostA.run('xl list guest'), /guest +\d+ +128 +1/, 'the agent has started it')
  t.match(await hostB.run('xl list'), /guest--incoming +\d+ +128 +\d +--p/, 'and it waits here, paused')
  const spoken = new FrameCount('host-b', guestMac)
  const load = await begin(t, 'xen', {
    pipelined: 15, transactions: 10, blocking: 10, published: 5, shared: 5, short: 5
  })
  await cluster.nextCheckpoint()
  const stored = cluster.process('host-a').log.all('checkpoint.stored').at(-1)
  t.ok(Number(stored?.pauseMs) > 0 && Number(stored?.dirtyPages) > 0, 'what a checkpoint takes is told')
  await load.answers(Math.floor(Math.random() * killWithinReplies))
  t.equal(spoken.count, 0, 'the standby has said nothing')

  const silence = await listen()
  const done = await cluster.failOverFrom('host-a')
  t.match(done, { from: 'host-a', to: 'host-b', generation: 2 })
  allRight(t, await load.heard())
  t.equal(silence.said, 'nothing', 'the host died without a word')
  t.ok(spoken.count > 0, 'the guest speaks from where it is now')
  figuresOf(t, cluster, 'host-a')

  if (isLong) {
    await cluster.bringBack('host-a')
    allRight(t, await load.heard())
    t.match(await cluster.failOverFrom('host-b'), { from: 'host-b', to: 'host-a', generation: 3 })
    allRight(t, await load.heard())
  }
  const figures = await load.finish()
  allRight(t, figures)
  t.comment(JSON.stringify(figures))
})

/** A connection to host-a itself, and what its kernel says of its end. */
async function listen(): Promise<{ said: string }> {
  run('ip', 'address', 'add', `${addressOf('clients', 'link')}/24`, 'dev', 'link')
  const socket = connect(shellPort, addressOf('host-a', 'link'))
  const silence = { said: 'nothing' }
  for (const word of ['end', 'error'] as const) socket.once(word, () => { silence.said = word })
  socket.write('echo here\n')
  await once(socket, 'data')
  t.teardown(() => socket.destroy())
  return silence
}
