import t, { type Test } from 'tap'
import { Client } from './client.ts'
import { Lab, type LabOptions } from './lab.ts'
import { CommitWatch } from './link-spy.ts'
import { Load } from './load.ts'

// Links on which every byte takes its time, and nothing is lost.

/** One way to a host that is far, in milliseconds. */
const farMs = 40
/** Longer than the window in which a silent host counts as alive, and than the lease. */
const tooFarMs = 1000

/** One whose backup is far. */
async function withFarBackup(t: Test, options: LabOptions = {}): Promise<{ lab: Lab, watch: CommitWatch }> {
  const lab = await Lab.create(t, options)
  const watch = new CommitWatch(lab.links.b)
  lab.links.b.delay(farMs)
  await lab.protect()
  return { lab, watch }
}

void t.test('no answer comes before the backup\'s word for every input that it tells of', async (t) => {
  const { lab, watch } = await withFarBackup(t)
  const [writer, ...readers] = await Promise.all(Array.from({ length: 5 }, () => lab.client()))
  if (writer === undefined) throw new Error('there are five clients')
  const early: string[] = []
  let writing = true
  const look = (what: string): void => { if (!watch.committed(`${what}\r\n`)) early.push(what) }
  const read = async (reader: Client): Promise<void> => {
    while (writing) {
      const answer = await reader.ask('GET shared', '$3\r\nv10\r\n')
      look(`SET shared ${answer.slice(4, 7)}`)
    }
  }
  const write = async (value: string): Promise<void> => {
    t.equal(await writer.ask(`SET shared ${value}`, '+OK\r\n'), '+OK\r\n')
    look(`SET shared ${value}`)
  }
  await write('v10')
  const reading = readers.map(read)
  for (let n = 11; n <= 40; n++) await write(`v${n}`)
  writing = false
  await Promise.all(reading)
  t.same(early, [])
  for (const client of [writer, ...readers]) t.same([client.unread, client.ended], ['', undefined])
})

void t.test('an answer is held for as long as the backup\'s word does not come', async (t) => {
  const { lab, watch } = await withFarBackup(t)
  const client = await lab.client()
  lab.links.b.hold('answers')
  client.send('INCR a')
  await lab.untilStatus('that holds the answer', ({ heldBytes }) => heldBytes === 4)
  t.equal(watch.committed('INCR a\r\n'), false)
  t.equal(client.unread, '')
  lab.links.b.mend()
  t.equal(await client.take(4), ':1\r\n')
  t.equal(watch.committed('INCR a\r\n'), true)
})

void t.test('with release: immediate the same watch sees answers overtake the commit', async (t) => {
  const { lab, watch } = await withFarBackup(t, { release: 'immediate' })
  const client = await lab.client()
  lab.links.b.hold('answers')
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  t.equal(watch.committed('INCR a\r\n'), false)
})

void t.test('failovers to and from a far host under load are exact', async (t) => {
  const { lab } = await withFarBackup(t, { guest: { checkpoint_interval: '400ms' } })
  const load = new Load(lab)
  load.start('long', 6)
  load.start('pipelined', 3)
  load.start('short', 3)
  load.start('half-closing', 3)
  await load.answers(300)
  t.match(await lab.failOverFrom('a'), { to: 'host-b', reset: 0 })
  await load.answers(300)
  await lab.bringBack('a')
  await load.answers(300)
  t.match(await lab.failOverFrom('b'), { to: 'host-a', reset: 0 })
  await load.answers(300)
  await load.stop()
  t.same(load.wrong, [])
})

void t.test('a backup further than the detection window only makes answers late', async (t) => {
  const lab = await Lab.protected(t, { guest: { lease: '3s' } })
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  const { log } = lab
  const [from, { history }] = [log.count, await lab.status()]
  lab.links.b.delay(tooFarMs)
  t.equal(await client.ask('INCR a', ':2\r\n'), ':2\r\n')
  t.same([...log.all('guest.unprotected', from), ...log.all('failover.began', from)], [])
  t.match(await lab.status(), { history, protection: { state: 'protected' } })
  client.send('INCR a')
  await lab.untilStatus('that holds the answer', ({ heldBytes }) => heldBytes === 4)
  t.match(await lab.failOverFrom('a'), { kept: 1, reset: 0 })
  t.equal(await client.take(4), ':3\r\n')
  t.equal(await client.ask('INCR a', ':4\r\n'), ':4\r\n')
  t.equal(client.unread, '')
})

void t.test('a primary further than the detection window counts as dead and returns as backup', async (t) => {
  const lab = await Lab.protected(t)
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  const [done, ended] = [lab.log.next('failover.done'), lab.process('a').log.next('lease.ended')]
  lab.links.a.delay(tooFarMs)
  client.send('INCR a')
  await ended
  t.match(await done, { to: 'host-b', generation: 2, kept: 1, reset: 0 })
  t.equal(await client.take(4), ':2\r\n')
  await lab.log.next('guest.protected')
  t.equal(lab.process('a').log.all('guest.stopped').length, 1, 'its guest was ended')
  t.equal(await client.ask('INCR a', ':3\r\n'), ':3\r\n')
  lab.links.a.delay(0)
  t.match(await lab.failOverFrom('b'), { to: 'host-a', generation: 3, kept: 1, reset: 0 })
  t.equal(await client.ask('INCR a', ':4\r\n'), ':4\r\n')
  t.equal(client.unread, '')
})

void t.test('a primary that is answered later than its lease stands still, and then goes on', async (t) => {
  const lab = await Lab.protected(t)
  const client = await lab.client()
  t.equal(await client.ask('INCR a', ':1\r\n'), ':1\r\n')
  const ended = lab.process('a').log.next('lease.ended')
  lab.links.a.delay(tooFarMs, ['orders'])
  await ended
  client.send('INCR a')
  await lab.letGatewayLive(1000)
  t.equal(client.unread, '', 'its guest cannot be reached')
  t.match(await lab.status(), { generation: 1, protection: { state: 'protected' } })
  lab.links.a.delay(0)
  t.equal(await client.take(4), ':2\r\n')
  t.equal(await client.ask('INCR a', ':3\r\n'), ':3\r\n')
  t.same(lab.log.all('failover.began'), [])
  t.equal(client.unread, '')
})

void t.test('a guest for which no lease was ever in time cannot be reached', async (t) => {
  const lab = await Lab.create(t)
  lab.links.a.delay(400)
  await lab.protect()
  const { endpoints } = await lab.process('a').log.until('guest.started')
  const old = await Client.open(Number(String(endpoints).split(':').at(-1)))
  t.teardown(() => old.destroy())
  old.send('INCR a')
  await lab.letGatewayLive(1000)
  t.equal(old.unread, '')
  const done = lab.log.next('failover.done')
  lab.links.a.cut()
  await done
  await lab.letGatewayLive(1000)
  t.equal(old.unread, '', 'and it is not after its failover')
})
