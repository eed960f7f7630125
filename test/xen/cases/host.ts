import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { DirectClient } from '../../guest/direct-client.ts'
import { addressOf, NetworkLab } from '../../lab/network-lab.ts'
import { run } from '../../namespace.ts'
import { domainConfig, installedAt, shellPort, XenHost } from '../host.ts'

// One emulated Xen host of the lab: dom0 does what the tests order, a PVH guest serves, and its
// death is silent. The test's namespace joins the network of guests as the clients.

t.setTimeout(600_000)
t.comment('timeout=600000')

const guest = '10.77.2.101'
const mac = '02:77:00:00:02:65'
async function ask(): Promise<unknown> {
  const client = await DirectClient.open(`${guest}:6379`)
  const reply = await client.ask('PING')
  client.close()
  return reply
}

void t.test('a host', async (t) => {
  const directory = process.env.TAILGATE_TEST_XEN ?? ''
  await NetworkLab.create(t, { hosts: [] })
  run('ip', 'address', 'add', `${addressOf('clients', 'guest')}/24`, 'dev', 'guest')
  run('ip', 'ntable', 'change', 'name', 'arp_cache', 'dev', 'guest', 'retrans', '50')
  const host = await XenHost.boot(t, { name: 'host-a', directory, qemu: 'qemu-system-x86_64' })

  await t.test('does what it is told', async (t) => {
    t.match(await host.run('xl info'), /xen_version +: 4\.17/)
    await t.rejects(host.run('echo so; exit 3'), { message: /so\n\n3$/ }, 'a failure is one')
    await host.write('/tmp/file', "it's\n")
    t.equal(await host.run('cat /tmp/file'), "it's\n")
  })

  await t.test('has Tailgate installed', async (t) => {
    await host.install()
    t.match(await host.run(`node ${installedAt}/dist/cli/main.js --version`), /\d+\.\d+\.\d+/)
    const loads = `cd ${installedAt} && node -e "import('koffi').then(() => console.log('loaded'))"`
    t.match(await host.run(loads), /loaded/)
  })

  await t.test('runs a guest', async (t) => {
    await host.create(domainConfig(guest, mac))
    t.equal(await ask(), 'PONG', 'its service is reached from outside')
    t.match(await host.run('xl list guest'), /guest +\d+ +128 +1/)
    t.match(await host.run('/usr/sbin/ip -o link show master guests'), /guest0/,
      'its interface has the name that was asked for')
    await host.run('xl destroy guest')
  })

  await t.test('dies without a word', async (t) => {
    const socket = connect(shellPort, addressOf('host-a', 'guest'))
    socket.write('echo here\n')
    const [here] = await once(socket, 'data') as [Buffer]
    t.equal(here.toString(), 'here\n')
    let said = 'nothing'
    for (const word of ['end', 'error'] as const) socket.once(word, () => { said = word })
    await host.kill()
    await t.rejects(host.run('true'), 'nobody is there')
    t.equal(said, 'nothing')
    socket.destroy()
  })
})
