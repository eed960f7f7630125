import { rm } from 'node:fs/promises'
import t from 'tap'
import { Lab } from './lab.ts'

// Links that are lost, a gateway that is killed or stopped, and a disk that hangs.

void t.test('a lost link with on_link_loss: continue: served, unprotected, protected again', async (t) => {
  const lab = await Lab.protected(t, { guest: { on_link_loss: 'continue' } })
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  const unprotected = lab.log.next('guest.unprotected')
  lab.links.b.cut()
  client.send('INCR a')
  await unprotected
  t.equal(await client.take(4), ':2\r\n', 'what was held is released once the alarm is raised')
  t.equal(await client.ask('INCR a', ':3\r\n'), ':3\r\n')
  t.equal((await lab.status()).protection.state, 'unprotected')
  const again = lab.log.next('guest.protected')
  lab.links.b.mend()
  await again
  t.match(await lab.failOverFrom('a'), { kept: 1, reset: 0 })
  t.equal(await client.ask('INCR a', ':4\r\n'), ':4\r\n')
  t.equal(client.unread, '')
})

void t.test('a lost link with on_link_loss: stall: nothing is released until it is back', async (t) => {
  const lab = await Lab.protected(t, { guest: { on_link_loss: 'stall' } })
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  const { history } = await lab.status()
  lab.links.b.cut()
  client.send('INCR a')
  await lab.untilStatus('that holds everything', ({ protection, heldBytes }) =>
    protection.reason.includes('held') && heldBytes === 4)
  await lab.letGatewayLive(1500)
  t.equal(client.unread, '')
  t.equal((await lab.status()).protection.state, 'protected')
  lab.links.b.mend()
  t.equal(await client.take(4), ':2\r\n')
  t.equal((await lab.status()).history, history, 'it is the same history')
  lab.links.b.cut()
  client.send('INCR a')
  await lab.untilStatus('that holds the answer', ({ heldBytes }) => heldBytes === 4)
  const done = lab.log.next('failover.done')
  await lab.killHost('a')
  await lab.log.until('failover.began')
  t.equal(client.unread, '')
  lab.links.b.mend()
  t.match(await done, { kept: 1, reset: 0 })
  t.equal(await client.take(4), ':3\r\n')
  t.equal(await client.ask('INCR a', ':4\r\n'), ':4\r\n')
  t.equal(client.unread, '')
})

void t.test('a killed gateway reads its generation and begins a new history', async (t) => {
  const lab = await Lab.protected(t)
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  t.match(await lab.failOverFrom('a'), { generation: 2 })
  await lab.bringBack('a')
  const { history } = await lab.status()
  await lab.process('gateway').kill()
  await client.over()
  t.equal(client.unread, '')
  lab.start('gateway')
  await lab.log.until('guest.protected')
  const status = await lab.status()
  t.match(status, { generation: 2, activeHost: 'host-b' })
  t.not(status.history, history)
  const fresh = await lab.client()
  t.equal(await fresh.ask('INCR a', ':2\r\n'), ':2\r\n', 'the guest has lived on')
  t.match(await lab.failOverFrom('b'), { generation: 3, kept: 1, reset: 0 })
  t.equal(await fresh.ask('INCR a', ':3\r\n'), ':3\r\n')
  t.equal(fresh.unread, '')
})

void t.test('a gateway without its state asks all agents, and waits for the last of them', async (t) => {
  const lab = await Lab.protected(t)
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  t.match(await lab.failOverFrom('a'), { generation: 2 })
  await lab.process('gateway').kill()
  await rm(lab.stateFile)
  lab.start('gateway')
  await lab.log.until('link.up', { matches: ({ peer }) => peer === 'host-b' })
  const fresh = await lab.client()
  fresh.send('INCR a')
  await lab.letGatewayLive(1000)
  t.match(await lab.status(), { generation: 0, protection: { state: 'unprotected' } })
  t.equal(fresh.unread, '', 'it does not guess')
  await lab.bringBack('a')
  t.match(await lab.status(), { generation: 3, activeHost: 'host-b' })
  t.equal(await fresh.take(4), ':2\r\n')
})

void t.test('a gateway that was stopped for longer than any lease blames nobody', async (t) => {
  const lab = await Lab.protected(t)
  const [client, idle] = [await lab.client(), await lab.client()]
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  t.equal(await idle.ask('INCR b', ':1\r\n'), ':1\r\n')
  const { log } = lab
  const from = log.count
  const leaseEnded = lab.process('a').log.next('lease.ended')
  lab.process('gateway').signalGroup('SIGSTOP')
  await leaseEnded
  client.send('INCR a')
  lab.process('gateway').signalGroup('SIGCONT')
  await log.until('clock.jumped', { from })
  t.equal(await client.take(4), ':2\r\n')
  t.equal(await idle.ask('INCR b', ':2\r\n'), ':2\r\n')
  t.same(log.all('failover.began'), [])
  t.match(await lab.status(), { generation: 1, protection: { state: 'protected' } })
  t.same([client.unread, idle.unread], ['', ''])
})

void t.test('a disk that hangs at the backup holds answers, and fails nobody over', async (t) => {
  const lab = await Lab.protected(t, { guest: { durability: 'disk' }, faulty: { b: {} } })
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  const from = lab.log.count
  lab.order('b', { diskHangs: true })
  // The order and the first epochs travel by different ways: each is asked for until one is held.
  let count = 1
  client.send('INCR a')
  while ((await lab.status()).lag.lsn === 0) {
    t.equal(await client.take(`:${count += 1}\r\n`.length), `:${count}\r\n`)
    client.send('INCR a')
  }
  await lab.letGatewayLive(3000)
  t.same([...lab.log.all('failover.began', from), ...lab.log.all('guest.unprotected', from)], [])
  t.equal((await lab.status()).protection.state, 'protected')
  lab.order('b', { diskHangs: false })
  const last = `:${count + 1}\r\n`
  t.equal(await client.take(last.length), last)
  t.equal(client.unread, '')
})
