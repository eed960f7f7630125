import t from 'tap'
import { Cluster, servicePort, type GuestKind } from '../../lab/cluster.ts'
import { guestAddress } from '../lab-guest.ts'
import { patient } from '../lab-load.ts'
import { furnishForLibvirt, LibvirtHost } from '../libvirt-host.ts'

// The agent of host-a attaches to a machine that libvirt started there; host-b has its words, and no libvirt.

const image = process.env.TAILGATE_TEST_IMAGE ?? ''
const to = `${guestAddress}:6379`
/** Of deploy/libvirt-domain.xml. */
const mac = '52:54:00:77:00:09'
const qmp = '/run/tailgate/redis.qmp'

/** What deploy/libvirt-arguments.sh has printed, for host-b. */
let printed = "arguments: ['-version']\n# network: { ..., card: [] }\n"

const domain: GuestKind = {
  attach: 'tcp',
  services: [{ name: 'redis', port: servicePort, to, family: 4 }],
  agentKeys: (host) => {
    const card = /card: (\[.*\])/.exec(printed)?.[1] ?? ''
    return [
      'engine: qemu', `endpoints: ['${to}']`,
      `network: { tap: guest0, bridge: guests, mac: '${mac}', card: ${card} }`,
      ...host === 'host-a' ? [`qmp: ${qmp}`] : printed.trim().split('\n')
    ]
  }
}

void t.test('a domain of libvirt goes on elsewhere, with its connections', async (t) => {
  const cluster = await Cluster.prepared(t, { hosts: ['host-a', 'host-b'], kind: domain, guest: patient })
  const [hostA, hostB] = [cluster.lab.machine('host-a'), cluster.lab.machine('host-b')]
  for (const machine of [hostA, hostB]) furnishForLibvirt(machine, image)
  const libvirt = LibvirtHost.start(hostA)
  libvirt.startExample()
  printed = libvirt.argumentsOf('redis')
  await cluster.writeAgentFile('host-b')
  for (const name of ['host-a', 'host-b', 'gateway'] as const) cluster.start(name)
  await cluster.log.until('guest.protected')

  const client = await cluster.client(t)
  t.equal(await client.ask('INCR n', ':1\r\n'), ':1\r\n')
  await cluster.log.next('checkpoint.counted')
  t.not(hostA.run(['stat', '-c', '%u', qmp]).trim(), '0', 'its QEMU is not run by root')
  await libvirt.pausesAndResumes(t, 'redis')
  t.pass('libvirt sees a checkpoint as a pause, and the domain run on')
  t.equal(await client.ask('INCR n', ':2\r\n'), ':2\r\n', 'after the mark of a checkpoint')

  const done = await cluster.failOverFrom('host-a')
  t.match(done, { from: 'host-a', to: 'host-b', reset: 0 })
  t.equal(await client.ask('INCR n', ':3\r\n'), ':3\r\n', 'on the connection that it always had')
  t.comment(JSON.stringify(done))
})
