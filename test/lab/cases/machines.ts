import t from 'tap'
import type { MachineName, NetworkName } from '../network-lab.ts'
import { addressOf, NetworkLab } from '../network-lab.ts'
import { LineClient, startEcho } from '../stations.ts'

const port = 7000

interface LinkCounts {
  readonly stats64: { readonly rx: { readonly packets: number } }
}

/** The frames that a machine's interface has got since it was made. */
function received(lab: NetworkLab, name: MachineName, device: NetworkName): number {
  const text = lab.machine(name).run(['ip', '-json', '-stats', 'link', 'show', 'dev', device])
  const [info] = JSON.parse(text) as readonly LinkCounts[]
  return info?.stats64.rx.packets ?? 0
}

/** Whether one machine gets an answer of another's kernel: a neighbour's MAC address, or none. */
function reaches(lab: NetworkLab, from: MachineName, address: string, device: string): boolean {
  const machine = lab.machine(from)
  machine.run(['ip', 'neighbour', 'flush', 'dev', device])
  // A service that nobody has refuses at once; a machine that is not there does not answer.
  const words = ['timeout', '1', 'bash', '-c', `exec 3<>/dev/tcp/${address}/9 || true`]
  try {
    machine.run(words)
  } catch {
    return false
  }
  return / lladdr /.test(machine.run(['ip', 'neighbour', 'show', address, 'dev', device]))
}

void t.test('machines reach each other in the networks that they share', async (t) => {
  const lab = await NetworkLab.create(t, { hosts: ['host-a', 'host-b'] })
  for (const family of [4, 6] as const) {
    const at = addressOf('gateway', 'service', family)
    await startEcho(lab.machine('gateway'), at, port)
    const client = await LineClient.open(t, at, port)
    t.equal(await client.line(), addressOf('clients', 'service', family))
    client.say('hello')
    t.equal(await client.line(), 'hello')
    for (const to of ['host-a', 'host-b'] as const) {
      t.ok(reaches(lab, 'gateway', addressOf(to, 'guest', family), 'guest'), `gateway, ${to}, IPv${family}`)
    }
    t.ok(reaches(lab, 'host-a', addressOf('host-b', 'link', family), 'link'))
    t.ok(reaches(lab, 'host-a', addressOf('host-b', 'guest', family), 'guests'))
  }
  lab.cut('host-b', 'link')
  t.notOk(reaches(lab, 'host-a', addressOf('host-b', 'link'), 'link'))
  t.ok(reaches(lab, 'host-a', addressOf('host-b', 'guest'), 'guests'), 'the other network is whole')
})

void t.test('no frame passes a cable that is cut, and what was sent arrives when it is whole', async (t) => {
  const lab = await NetworkLab.create(t, { hosts: [] })
  await startEcho(lab.machine('gateway'), addressOf('gateway', 'service'), port)
  const client = await LineClient.open(t, addressOf('gateway', 'service'), port)
  t.equal(await client.line(), addressOf('clients', 'service'))
  lab.cut('gateway', 'service')
  const before = received(lab, 'gateway', 'service')
  client.say('through a cable that is cut')
  for (let looks = 0; looks < 20; looks++) t.equal(received(lab, 'gateway', 'service'), before)
  t.equal(client.unread, '')
  lab.heal('gateway', 'service')
  t.equal(await client.line(), 'through a cable that is cut')
})

void t.test('a machine dies whole, says nothing more, and can be started again', async (t) => {
  const lab = await NetworkLab.create(t, { hosts: ['host-a'] })
  const gateway = lab.machine('gateway')
  await startEcho(gateway, addressOf('gateway', 'service'), port)
  const client = await LineClient.open(t, addressOf('gateway', 'service'), port)
  await client.line()
  const pids = gateway.pids()
  t.ok(pids.length >= 3, 'its first process, the one that holds it, the service')
  await lab.kill('gateway')
  for (const pid of pids.filter((one) => one !== process.pid)) {
    t.throws(() => process.kill(pid, 0), { code: 'ESRCH' }, `${pid} is gone`)
  }
  await lab.boot('gateway')
  // Had its kernel said goodbye when its processes died, this connection would be over.
  client.say('are you there')
  t.equal(client.unread, '')
  await startEcho(lab.machine('gateway'), addressOf('gateway', 'service'), port)
  const next = await LineClient.open(t, addressOf('gateway', 'service'), port)
  t.equal(await next.line(), addressOf('clients', 'service'))
})

void t.test('a frozen machine does nothing until it wakes', async (t) => {
  const lab = await NetworkLab.create(t, { hosts: [] })
  const gateway = lab.machine('gateway')
  await startEcho(gateway, addressOf('gateway', 'service'), port)
  const client = await LineClient.open(t, addressOf('gateway', 'service'), port)
  await client.line()
  gateway.freeze()
  client.say('are you awake')
  const states = (): readonly string[] => gateway.pids().map((pid) => gateway.stateOf(pid))
  t.same([...new Set(states())], ['T'])
  for (let looks = 0; looks < 50; looks++) states()
  t.equal(client.unread, '')
  gateway.thaw()
  t.equal(await client.line(), 'are you awake')
})
