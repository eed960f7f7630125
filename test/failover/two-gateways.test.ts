import { readFile } from 'node:fs/promises'
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

void t.test('of two live gateways one commands and the other stands aside', async (t) => {
  const lab = await Lab.protected(t)
  const old = await lab.client()
  t.equal(await old.ask('INCR a', ':1\r\n'), ':1\r\n')
  const { log } = lab.start('second')
  await lab.log.until('guest.lost', { matches: ({ reason }) => inCharge.test(String(reason)) })
  await old.over()
  t.equal(old.unread, '', 'nobody is left hanging')
  await log.until('guest.protected')
  const from = [lab.log.count, log.count]
  await lab.letGatewayLive(2000)
  t.same([lab.log.all('link.down', from[0]), log.all('link.down', from[1])], [[], []], 'nobody fights')
  t.match(await lab.status(), { protection: { todo: 'Use that gateway, and stop this one.' } })
  t.match(await lab.status('second'), { generation: 2, activeHost: 'host-a' })
  const client = await lab.client('second')
  t.equal(await client.ask('INCR a', ':2\r\n'), ':2\r\n', 'the guest has lived on')
  t.same(lab.process('a').log.all('guest.stopped'), [])
  await t.rejects(lab.failover(true), { message: inCharge }, 'and cannot be made to command')
})

void t.test('a gateway that takes over is exact under load, and protects', async (t) => {
  const lab = await Lab.protected(t)
  lab.start('second')
  const { log } = lab.process('second')
  await log.until('guest.protected')
  const load = new Load(lab, 'second')
  for (const kind of ['long', 'pipelined', 'short', 'half-closing'] as const) load.start(kind, 2)
  await load.answers(300)
  await lab.process('gateway').kill()
  lab.start('gateway')
  await lab.log.until('admin.listening')
  await lab.untilStatus('that stands aside', standsAside)
  const done = log.next('failover.done')
  await lab.killHost('a')
  t.match(await done, { generation: 3, reset: 0 })
  await load.answers(300)
  await load.stop()
  t.same(load.wrong, [])
})

void t.test('a gateway that is started again takes over from its own former life', async (t) => {
  const lab = await Lab.protected(t)
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  await lab.process('gateway').kill()
  const { log } = lab.start('gateway')
  await log.until('guest.protected')
  const after = await lab.client()
  t.equal(await after.ask('INCR a', ':2\r\n'), ':2\r\n')
  t.match(await lab.status(), { generation: 1 })
  const state: unknown = JSON.parse(await readFile(lab.stateFile, 'utf8'))
  t.match(state, { incarnation: 2, generation: 1, claiming: false })
})

void t.test('a gateway that lost a host serves nobody once another one has claimed the guest', async (t) => {
  const lab = await Lab.protected(t)
  const one = await lab.client()
  t.equal(await one.ask('INCR a', ':1\r\n'), ':1\r\n')
  lab.links.b.cut()
  const { log } = lab.start('second')
  await log.until('guest.protected')
  await one.over()
  const two = await lab.client('second')
  t.equal(await two.ask('PING', '+PONG\r\n'), '+PONG\r\n')
  const done = log.next('failover.done')
  lab.secondLinks.a.cut()
  await done
  t.equal(await two.ask('INCR a', ':2\r\n'), ':2\r\n')
  await lab.letGatewayLive(1000)
  t.equal(one.unread, '', 'one active guest')
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
  t.match(await done, { generation: 3, kept: 1, reset: 0 })
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
  t.match(await again, { generation: 4, kept: 1, reset: 0 })
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
  t.equal(generation, 3)
  const lost = lab.log.next('guest.lost')
  old.send('INCR a')
  lab.links.a.mend()
  lab.links.b.mend()
  t.match(await lost, { reason: inCharge })
  t.equal(await client.ask('INCR a', ':3\r\n'), ':3\r\n')
  t.match(await lab.status('second'), { generation: 3, activeHost: 'host-b' })
  t.same([old.unread, client.unread], ['', ''], 'nothing of the old guest is told')
})
