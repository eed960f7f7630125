import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { Client } from './client.ts'
import { Lab } from './lab.ts'

// One active guest: nothing of an old one reaches a client, whatever becomes of its host.

/** Where the first guest listens, past the gateway. */
async function direct(lab: Lab): Promise<Client> {
  const { endpoints } = await lab.process('a').log.until('guest.started')
  return Client.open(Number(String(endpoints).split(':').at(-1)))
}

void t.test('a fence command that succeeds is enough: nobody waits for the lease', async (t) => {
  const lab = await Lab.protected(t, {
    guest: { lease: '10m' },
    fence: { a: '[/bin/sh, -c, "echo $TAILGATE_GUEST $TAILGATE_HOST >> fenced"]' }
  })
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  t.match(await lab.failOverFrom('a'), { kept: 1, reset: 0 })
  t.equal(await readFile(join(lab.directory, 'fenced'), 'utf8'), 'guest host-a\n', 'it ran once')
  t.match(lab.log.all('fence.done'), [{ guest: 'guest', host: 'host-a' }])
  t.equal(await client.ask('INCR a', ':2\r\n'), ':2\r\n')
})

void t.test('a fence command that fails leaves the lease to be waited for', async (t) => {
  const lab = await Lab.protected(t, { fence: { a: '[/bin/false]' }, guest: { lease: '2s' } })
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  t.match(await lab.failOverFrom('a'), { kept: 1, reset: 0 })
  t.match(lab.log.all('fence.failed'), [{ host: 'host-a' }])
  t.equal(await client.ask('INCR a', ':2\r\n'), ':2\r\n')
})

void t.test('with a fence that failed and a long lease, an operator who vouches goes on', async (t) => {
  const lab = await Lab.protected(t, { fence: { a: '[/bin/false]' }, guest: { lease: '10m' } })
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  await lab.killHost('a')
  await lab.log.until('fence.failed')
  client.send('INCR a')
  const { protection } = await lab.untilStatus('that waits', (status) => status.protection.todo !== '')
  t.match(protection, { state: 'failing-over', reason: /lease of host-a/, todo: /tailgate failover guest/ })
  await lab.letGatewayLive(1500)
  t.equal(client.unread, '')
  t.same(lab.log.all('failover.done'), [])
  const { generation } = await lab.failover()
  t.equal(generation, 2)
  t.equal(await client.take(4), ':2\r\n')
})

void t.test('an orphaned guest is cut off before the other one is promoted', async (t) => {
  const lab = await Lab.protected(t)
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  const old = await direct(lab)
  t.equal(await old.ask('INCR old', ':1\r\n'), ':1\r\n')
  const fenced = lab.log.until('failover.phase', { matches: ({ phase }) => phase === 'fence' })
  const done = lab.log.next('failover.done')
  lab.process('a').signal('SIGKILL')
  await lab.log.until('failover.began')
  client.send('INCR a')
  await fenced
  old.send('INCR old')
  await old.over()
  t.equal(old.unread, '', 'it answers nobody, not even past the gateway')
  t.match(await done, { kept: 1, reset: 0 })
  t.equal(await client.take(4), ':2\r\n')
  t.equal(await client.ask('INCR a', ':3\r\n'), ':3\r\n')
  t.equal(client.unread, '')
})

void t.test('a frozen guest that thaws after the failover says nothing to anybody', async (t) => {
  const lab = await Lab.protected(t)
  const [client, idle] = [await lab.client(), await lab.client()]
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  t.equal(await idle.ask('INCR b', ':1\r\n'), ':1\r\n')
  const old = await direct(lab)
  t.equal(await old.ask('INCR old', ':1\r\n'), ':1\r\n')
  const done = lab.log.next('failover.done')
  lab.process('a').signalGroup('SIGSTOP')
  client.send('INCR a')
  old.send('INCR old')
  t.match(await done, { kept: 2, reset: 0 })
  t.equal(await client.take(4), ':2\r\n')
  const isProtected = lab.log.next('guest.protected')
  lab.process('a').signalGroup('SIGCONT')
  await lab.process('a').log.until('guest.stopped')
  await old.over()
  t.equal(old.unread, '', 'the old guest has answered nobody')
  await isProtected
  t.equal(await client.ask('INCR a', ':3\r\n'), ':3\r\n')
  t.equal(await idle.ask('INCR b', ':2\r\n'), ':2\r\n')
  t.same([client.unread, idle.unread], ['', ''])
})

void t.test('a planned failover does what its plan says', async (t) => {
  const lab = await Lab.alone(t)
  const old = await lab.client()
  t.equal(await old.ask('INCR old', ':1\r\n'), ':1\r\n')
  await lab.bringBack('b')
  const young = await lab.client()
  t.equal(await young.ask('INCR young', ':1\r\n'), ':1\r\n')
  t.equal(await old.ask('INCR old', ':2\r\n'), ':2\r\n')
  // Floors are logged a little later, and the tail is told with a heartbeat.
  await lab.letGatewayLive(600)
  const plan = await lab.plan()
  t.match(plan, { state: 'protected', from: 'host-a', to: 'host-b' })
  t.same([plan.attach.count, plan.anew.count, plan.reset.count], [1, 1, 0])
  const [events, heard] = [lab.log.all('failover.began').length, await lab.status()]
  t.same([events, heard.generation], [0, 1], 'a plan does nothing')
  const { failover } = await lab.failover()
  t.match(failover, {
    trigger: 'operator', checkpoint: plan.checkpoint?.id, generation: 2,
    connectionsKept: 2, connectionsReset: 0, replayedRecords: plan.tail?.records
  })
  t.equal(await young.ask('INCR young', ':2\r\n'), ':2\r\n')
  t.equal(await old.ask('INCR old', ':3\r\n'), ':3\r\n')
  t.same([old.unread, young.unread], ['', ''])
})
