import t, { type Test } from 'tap'
import type { Client } from './client.ts'
import { Lab } from './lab.ts'

// What each client sees of its own bytes when the primary dies, by where its connection stood at the mark.

/** A lab whose backup came only after `before`: all of that lies before the mark of its one checkpoint. */
async function around<T>(t: Test, before: (lab: Lab) => Promise<T>): Promise<{ lab: Lab, made: T }> {
  const lab = await Lab.alone(t)
  const made = await before(lab)
  await lab.bringBack('b')
  return { lab, made }
}

async function answers(t: Test, client: Client, line: string, wanted: string): Promise<void> {
  t.equal(await client.ask(line, wanted), wanted, line)
}

void t.test('connections from before and after the mark go on, and finished ones count once', async (t) => {
  const { lab, made: old } = await around(t, async (lab) => {
    const client = await lab.client()
    await answers(t, client, 'INCR old', ':1\r\n')
    t.equal(await lab.once(['INCR finished-before'], ':1\r\n'), ':1\r\n')
    return client
  })
  const young = await lab.client()
  await answers(t, young, 'INCR young', ':1\r\n')
  await answers(t, old, 'INCR old', ':2\r\n')
  t.equal(await lab.once(['INCR finished-after'], ':1\r\n'), ':1\r\n')
  t.equal(await lab.once(['INCR finished-before'], ':2\r\n'), ':2\r\n')
  const done = await lab.failOverFrom('a')
  t.match(done, { to: 'host-b', kept: 2, reset: 0, generation: 2 })
  await answers(t, old, 'INCR old', ':3\r\n')
  await answers(t, young, 'INCR young', ':2\r\n')
  await answers(t, young, 'GET finished-before', '$1\r\n2\r\n')
  await answers(t, young, 'GET finished-after', '$1\r\n1\r\n')
  t.same([old.unread, young.unread, old.ended, young.ended], ['', '', undefined, undefined])
})

void t.test('a half-closed connection gets the rest of its answer and the end', async (t) => {
  const { lab, made: [before, feeder] } = await around(t, async (lab) => {
    const client = await lab.client()
    // It waits in BLPOP for what another one pushes; the guest answers nil when the client has half-closed.
    await answers(t, client, 'INCR half', ':1\r\n')
    const other = await lab.client()
    await answers(t, other, 'SUBSCRIBE news', '*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n')
    return [client, other] as const
  })
  before.send('INCR half')
  before.end()
  t.equal(await before.take(4), ':2\r\n')
  const after = await lab.client()
  after.send('INCR half')
  after.end()
  t.equal(await after.take(4), ':3\r\n')
  t.same([await before.over(), await after.over()], ['end', 'end'])
  await lab.failOverFrom('a')
  const last = await lab.client()
  await answers(t, last, 'GET half', '$1\r\n3\r\n')
  await answers(t, last, 'PUBLISH news hello', ':1\r\n')
  const message = '*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n'
  t.equal(await feeder.take(message.length), message, 'a subscription of before the mark lives on')
})

void t.test('half-closed at the moment of death: its input counts once, its answers come', async (t) => {
  const { lab, made: before } = await around(t, async (lab) => {
    const client = await lab.client()
    await answers(t, client, 'INCR half', ':1\r\n')
    return client
  })
  const after = await lab.client()
  await answers(t, after, 'INCR other', ':1\r\n')
  const done = lab.log.next('failover.done')
  // The guest stands: it takes the half-closes, as far as its kernel does, and answers nobody.
  lab.process('a').signalGroup('SIGSTOP')
  before.send('INCR half')
  before.end()
  after.send('INCR other')
  after.end()
  await lab.log.until('failover.began')
  await lab.killHost('a')
  t.match(await done, { reset: 0 })
  t.same([await before.take(4), await after.take(4)], [':2\r\n', ':2\r\n'])
  t.same([await before.over(), await after.over()], ['end', 'end'])
  t.same([before.unread, after.unread], ['', ''])
})

void t.test('output held at the moment of death is delivered or made again, never twice', async (t) => {
  const { lab, made: old } = await around(t, async (lab) => {
    const client = await lab.client()
    await answers(t, client, 'INCR old', ':1\r\n')
    return client
  })
  const young = await lab.client()
  await answers(t, young, 'INCR young', ':1\r\n')
  lab.process('b').signalGroup('SIGSTOP')
  old.send('INCR old', 'INCR old')
  young.send('INCR young', 'INCR young')
  await lab.untilStatus('that holds four answers', ({ heldBytes }) => heldBytes >= 16)
  t.same([old.unread, young.unread], ['', ''], 'nothing is released that the backup does not have')
  const done = lab.log.next('failover.done')
  await lab.killHost('a')
  lab.process('b').signalGroup('SIGCONT')
  t.match(await done, { kept: 2, reset: 0 })
  t.equal(await old.take(8), ':2\r\n:3\r\n')
  t.equal(await young.take(8), ':2\r\n:3\r\n')
  await answers(t, old, 'INCR old', ':4\r\n')
  await answers(t, young, 'INCR young', ':4\r\n')
  t.same([old.unread, young.unread], ['', ''])
})

void t.test('output held below the restored place is delivered, and not made again', async (t) => {
  const lab = await Lab.protected(t, { guest: { checkpoint_interval: '2s' }, release: 'checkpoint' })
  const client = await lab.client()
  await answers(t, client, 'INCR a', ':1\r\n')
  client.send('INCR a', 'INCR a')
  await lab.untilStatus('that holds two answers', ({ heldBytes, lag }) => heldBytes === 8 && lag.lsn === 0)
  // The next checkpoint reaches the backup, and the gateway does not hear that it counts.
  lab.links.b.hold('answers')
  const { log } = lab.process('b')
  const from = log.count
  const counted = await log.until('checkpoint.counted', { from })
  t.equal(client.unread, '')
  const done = lab.log.next('failover.done')
  await lab.killHost('a')
  lab.links.b.mend()
  t.match(await done, { kept: 1, reset: 0, checkpoint: counted.checkpoint })
  t.equal(await client.take(8), ':2\r\n:3\r\n')
  t.equal(client.unread, '')
})

void t.test('long answers on their way to a slow reader arrive whole, across two failovers', async (t) => {
  const lab = await Lab.protected(t, { guest: { checkpoint_interval: '200ms' } })
  const client = await lab.client()
  // No two places of it look alike for long, so that a byte too many or too few shows.
  const value = Array.from({ length: 200_000 }, (_, n) => n.toString(36).padStart(5, '.')).join('')
  client.sendWords('SET', 'long', value)
  t.equal(await client.take(5), '+OK\r\n')
  const answer = `$${value.length}\r\n${value}\r\n`
  client.read(false)
  const asked = 24
  for (let n = 0; n < asked; n++) client.send('GET long')
  await lab.log.next('checkpoint.counted')
  t.match(await lab.failOverFrom('a'), { kept: 1, reset: 0 })
  await lab.bringBack('a')
  client.read(true)
  for (let n = 0; n < 8; n++) t.ok(await client.take(answer.length) === answer, `answer ${n}`)
  client.read(false)
  t.match(await lab.failOverFrom('b'), { kept: 1, reset: 0 })
  client.read(true)
  for (let n = 8; n < asked; n++) t.ok(await client.take(answer.length) === answer, `answer ${n}`)
  await answers(t, client, 'INCR after', ':1\r\n')
  t.equal(client.unread, '')
})

void t.test('MULTI, and input that arrives while there is no guest', async (t) => {
  const { lab, made: [open, idle] } = await around(t, async (lab) => {
    const client = await lab.client()
    await answers(t, client, 'MULTI', '+OK\r\n')
    await answers(t, client, 'INCR together', '+QUEUED\r\n')
    return [client, await lab.client()] as const
  })
  await answers(t, open, 'INCR together', '+QUEUED\r\n')
  const watcher = await lab.client()
  await answers(t, watcher, 'WATCH together', '+OK\r\n')
  await answers(t, watcher, 'MULTI', '+OK\r\n')
  await answers(t, watcher, 'SET together spoiled', '+QUEUED\r\n')
  const done = lab.log.next('failover.done')
  await lab.killHost('a')
  await lab.log.until('failover.began')
  open.send('EXEC')
  idle.send('INCR during', 'INCR during')
  const fresh = await lab.client()
  fresh.send('INCR fresh')
  await done
  t.equal(await open.take(12), '*2\r\n:1\r\n:2\r\n')
  t.equal(await idle.take(8), ':1\r\n:2\r\n')
  t.equal(await fresh.take(4), ':1\r\n', 'a connection opened in the middle is served afterwards')
  watcher.send('EXEC')
  t.equal(await watcher.take(5), '*-1\r\n', 'its watch has seen the EXEC')
  await answers(t, watcher, 'GET together', '$1\r\n2\r\n')
  t.same([open.unread, idle.unread, fresh.unread], ['', '', ''])
})
