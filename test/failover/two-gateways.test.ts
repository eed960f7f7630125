import t from 'tap'
import type { GuestStatus } from '../../src/observe/status.ts'
import { Lab } from './lab.ts'
import { Load } from './load.ts'

// Two gateway processes, each with a state directory of its own, that were given the same guest.

const inCharge = /another gateway is in charge/

function waits({ protection }: GuestStatus): boolean {
  return protection.state === 'failing-over' && protection.todo !== ''
}

function standsAside({ protection }: GuestStatus): boolean {
  return protection.state === 'lost' && inCharge.test(protection.reason)
}

void t.test('while two gateways live, every answer of both is right and there is one guest', async (t) => {
  const lab = await Lab.protected(t)
  const [load, other] = [new Load(lab), new Load(lab, 'second')]
  for (const kind of ['long', 'pipelined', 'short', 'half-closing'] as const) load.start(kind, 2)
  lab.start('second')
  const { log } = lab.process('second')
  await log.until('guest.unprotected', { matches: ({ generation }) => generation === 1 })
  for (const kind of ['long', 'pipelined', 'short', 'half-closing'] as const) other.start(kind, 2)
  await Promise.all([load.answers(300), other.answers(300)])
  await other.stop()
  await lab.process('second').kill()
  lab.start('second')
  await load.answers(300)
  await lab.process('second').kill()
  await load.answers(300)
  t.same([load.wrong, other.wrong], [[], []])
  t.same([...lab.process('b').log.all('guest.started'), ...lab.process('b').log.all('guest.restored')], [])
  t.same(lab.process('a').log.all('guest.stopped'), [])
  await lab.untilStatus('that is protected', ({ protection }) => protection.state === 'protected')
  t.match(await lab.failOverFrom('a'), { generation: 2, reset: 0 }, 'the one that is left protects it')
  await load.answers(300)
  await load.stop()
  t.same(load.wrong, [])
})

void t.test('a gateway elsewhere takes over from a dead one, which stands aside when back', async (t) => {
  const lab = await Lab.protected(t)
  const old = await lab.client()
  t.equal(await old.ask('INCR a', ':1\r\n'), ':1\r\n')
  await lab.process('gateway').kill()
  const { log } = lab.start('second')
  await log.until('guest.protected')
  const client = await lab.client('second')
  t.equal(await client.ask('INCR a', ':2\r\n'), ':2\r\n', 'the guest has lived on')
  const done = log.next('failover.done')
  await lab.killHost('a')
  t.match(await done, { generation: 2, kept: 1, reset: 0 })
  const from = log.count
  lab.start('gateway')
  await lab.log.until('link.up', { matches: ({ peer }) => peer === 'host-b' })
  const late = await lab.client()
  late.send('INCR a')
  await lab.letGatewayLive(1000)
  t.match(await lab.status(), { generation: 1, protection: { state: 'unprotected', reason: /host-a/ } })
  t.equal(late.unread, '', 'it waits for the host of its generation, and touches no other')
  const isProtected = log.next('guest.protected')
  lab.start('a')
  await isProtected
  await lab.untilStatus('that stands aside', standsAside)
  t.equal(await client.ask('INCR a', ':3\r\n'), ':3\r\n')
  await lab.process('gateway').kill()
  lab.start('gateway')
  await lab.log.until('admin.listening')
  await lab.untilStatus('that stands aside again', standsAside)
  t.same(log.all('link.down', from).filter(({ peer }) => peer === 'host-b'), [], 'it was not pulled away')
  const again = log.next('failover.done')
  await lab.killHost('b')
  t.match(await again, { generation: 3, kept: 1, reset: 0 })
  t.equal(await client.ask('INCR a', ':4\r\n'), ':4\r\n')
  t.same([client.unread, late.unread], ['', ''])
})

void t.test('a gateway that was cut off while another one failed over stands aside', async (t) => {
  const lab = await Lab.protected(t, { guest: { lease: '10m' } })
  const old = await lab.client()
  t.equal(await old.ask('INCR a', ':1\r\n'), ':1\r\n')
  lab.links.a.cut()
  lab.links.b.cut()
  await lab.untilStatus('that waits for the lease', waits)
  const { log } = lab.start('second')
  await log.until('guest.protected')
  const client = await lab.client('second')
  t.equal(await client.ask('INCR a', ':2\r\n'), ':2\r\n')
  await lab.killHost('a')
  await lab.untilStatus('that waits for an operator', waits, 'second')
  const { generation } = await lab.failover(false, 'second')
  t.equal(generation, 2)
  const lost = lab.log.next('guest.lost')
  old.send('INCR a')
  lab.links.a.mend()
  lab.links.b.mend()
  t.match(await lost, { reason: inCharge })
  t.equal(await client.ask('INCR a', ':3\r\n'), ':3\r\n')
  t.match(await lab.status('second'), { generation: 2, activeHost: 'host-b' })
  t.same([old.unread, client.unread], ['', ''], 'nothing of the old guest is told')
})
