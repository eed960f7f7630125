import t from 'tap'
import { Lab, type Letter } from './lab.ts'

// Failovers after failovers, checkpoints that do not become whole, and backups that die and return.

void t.test('a connection lives through three failovers, from A to B to A to B', async (t) => {
  const lab = await Lab.protected(t)
  const clients = [await lab.client()]
  let [active, other]: [Letter, Letter] = ['a', 'b']
  const counts = [0]
  for (const generation of [2, 3, 4]) {
    for (const [n, client] of clients.entries()) {
      const wanted = `:${counts[n] = (counts[n] ?? 0) + 1}\r\n`
      t.equal(await client.ask(`INCR c${n}`, wanted), wanted)
    }
    const done = await lab.failOverFrom(active)
    t.match(done, { generation, from: `host-${active}`, to: `host-${other}`, reset: 0 })
    t.equal(done.kept, clients.length)
    for (const [n, client] of clients.entries()) {
      const wanted = `:${counts[n] = (counts[n] ?? 0) + 1}\r\n`
      t.equal(await client.ask(`INCR c${n}`, wanted), wanted)
    }
    if (generation === 4) break
    await lab.bringBack(active)
    ;[active, other] = [other, active]
    clients.push(await lab.client())
    counts.push(0)
  }
  for (const client of clients) t.same([client.unread, client.ended], ['', undefined])
})

void t.test('a guest that dies in the middle of a checkpoint: the older one counts', async (t) => {
  const lab = await Lab.protected(t, { guest: { checkpoint_interval: '500ms' }, faulty: { a: {} } })
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  const done = lab.log.next('failover.done')
  lab.order('a', { guest: { dieInCheckpoint: true } })
  t.equal(await client.ask('INCR a', ':2\r\n'), ':2\r\n')
  t.match(await done, { kept: 1, reset: 0, checkpoint: lab.log.all('checkpoint.counted').at(-1)?.checkpoint })
  t.equal(await client.ask('INCR a', ':3\r\n'), ':3\r\n')
  t.equal(client.unread, '')
})

void t.test('a primary that dies over a checkpoint that never completes: the older one counts', async (t) => {
  const lab = await Lab.protected(t, { guest: { checkpoint_interval: '300ms' }, faulty: { a: {} } })
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  lab.order('a', { guest: { hangInCheckpoint: true } })
  await lab.log.next('checkpoint.failed')
  const older = lab.log.all('checkpoint.counted').at(-1)?.checkpoint
  t.equal(await client.ask('INCR a', ':2\r\n'), ':2\r\n', 'it is served meanwhile')
  t.match(await lab.failOverFrom('a'), { kept: 1, reset: 0, checkpoint: older })
  t.equal(await client.ask('INCR a', ':3\r\n'), ':3\r\n')
  t.equal(client.unread, '')
})

void t.test('a backup that lost its memory begins a new history and protects again', async (t) => {
  const lab = await Lab.protected(t)
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  const unprotected = lab.log.next('guest.unprotected')
  await lab.killHost('b')
  await unprotected
  t.equal(await client.ask('INCR a', ':2\r\n'), ':2\r\n', 'it is served without a backup')
  const [before, from] = [(await lab.status()).history, lab.log.count]
  await lab.bringBack('b')
  const after = (await lab.status()).history
  t.not(after, before)
  t.equal(lab.log.all('history.began', from).length, 1)
  t.equal(lab.log.all('guest.syncing', from).length, 1)
  t.equal(await client.ask('INCR a', ':3\r\n'), ':3\r\n')
  t.match(await lab.failOverFrom('a'), { kept: 1, reset: 0 })
  t.equal(await client.ask('INCR a', ':4\r\n'), ':4\r\n')
  t.equal(client.unread, '')
})

void t.test('a backup whose log is on disk resumes where it was killed', async (t) => {
  const lab = await Lab.protected(t, { guest: { durability: 'disk', on_link_loss: 'stall' } })
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  const from = lab.log.count
  const history = (await lab.status()).history
  await lab.killHost('b')
  client.send('INCR a')
  await lab.untilStatus('that holds the answer', ({ heldBytes }) => heldBytes === 4)
  t.equal(client.unread, '')
  lab.start('b')
  t.equal(await client.take(4), ':2\r\n')
  t.equal((await lab.status()).history, history)
  t.same(lab.log.all('history.began', from), [])
  t.match(await lab.failOverFrom('a'), { kept: 1, reset: 0 })
  t.equal(await client.ask('INCR a', ':3\r\n'), ':3\r\n')
  t.equal(client.unread, '')
})
