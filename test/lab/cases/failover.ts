import t from 'tap'
import { Cluster } from '../cluster.ts'
import { addressOf } from '../network-lab.ts'

// The real gateway and agents on machines of their own, with the embedded guest.

void t.test('the connections of a guest go on when its host dies whole', async (t) => {
  const cluster = await Cluster.protected(t, { hosts: ['host-a', 'host-b'] })
  const clients = [await cluster.client(t), await cluster.client(t), await cluster.client(t)]
  for (const [n, client] of clients.entries()) {
    for (let k = 1; k <= 50; k++) {
      const reply = `:${k}\r\n`
      t.equal(await client.ask(`INCR key-${n}`, reply), reply)
    }
  }
  const failedOver = cluster.failOverFrom('host-a')
  for (const [n, client] of clients.entries()) client.send(`INCR key-${n}`, `APPEND text-${n} abc`)
  t.match(await failedOver, { kept: 3, reset: 0 })
  for (const client of clients) t.equal(await client.take(9), ':51\r\n:3\r\n')
  await cluster.bringBack('host-a')
  t.match(await cluster.failOverFrom('host-b'), { kept: 3, reset: 0 })
  for (const [n, client] of clients.entries()) {
    t.equal(await client.ask(`INCR key-${n}`, ':52\r\n'), ':52\r\n')
    t.equal(client.unread, '')
  }
})

void t.test('a host that was frozen says nothing to anybody when it wakes after the promotion', async (t) => {
  const cluster = await Cluster.protected(t, { hosts: ['host-a', 'host-b'] })
  const client = await cluster.client(t)
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  const { endpoints } = await cluster.process('host-a').log.until('guest.started')
  t.equal(endpoints, `${addressOf('host-a', 'guest')}:7401`, 'it is on its host, and not on loopback')
  const done = cluster.log.next('failover.done')
  cluster.lab.machine('host-a').freeze()
  client.send('INCR a')
  t.match(await done, { kept: 1, reset: 0 })
  t.equal(await client.take(4), ':2\r\n')
  const isProtected = cluster.log.next('guest.protected')
  const ended = cluster.process('host-a').log.next('guest.stopped')
  cluster.lab.machine('host-a').thaw()
  await ended
  await isProtected
  t.equal(await client.ask('INCR a', ':3\r\n'), ':3\r\n')
  t.equal(client.unread, '', 'not one byte of the old guest')
})

void t.test('a failover goes well over lines that take 20 ms and lose one frame in fifty', async (t) => {
  const cluster = await Cluster.protected(t, {
    hosts: ['host-a', 'host-b'], shaped: ['link'],
    guest: { lease: '1500ms', heartbeat: '{ interval: 200ms, misses: 6 }' }
  })
  const shape = { delayMs: 20, jitterMs: 5, loss: 0.02 }
  for (const host of cluster.hosts) await cluster.lab.shape(host, 'link', shape)
  const client = await cluster.client(t)
  for (let k = 1; k <= 20; k++) t.equal(await client.ask('INCR a', `:${k}\r\n`), `:${k}\r\n`)
  t.match(await cluster.failOverFrom('host-a'), { kept: 1, reset: 0 })
  t.equal(await client.ask('INCR a', ':21\r\n'), ':21\r\n')
  t.ok((await cluster.lab.count('host-b', 'link')).lost > 0, 'the line has lost some of its frames')
})
