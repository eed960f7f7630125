import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { once } from 'node:events'
import t from 'tap'
import { askStatus } from '../../src/observe/admin-client.ts'
import { isAlive } from './processes.ts'
import { WorkersLab } from './workers-lab.ts'

// How a gateway of several processes ends, in order and at once, and how it fails to begin.

void t.test('SIGTERM lets the connections of every worker finish, and leaves nothing', async (t) => {
  const lab = await WorkersLab.protected(t, 'timeouts: { drain: 5m }')
  const [one, two] = [await lab.client('one'), await lab.client('two')]
  const { workers } = await askStatus(lab.admin)
  const gateway = lab.process('gateway')
  gateway.signal('SIGTERM')
  await lab.log.until('process.stopping')
  for (const client of [one, two]) t.equal(await client.ask('INCR n', ':1\r\n'), ':1\r\n', 'still served')
  t.equal((await askStatus(lab.admin)).guests.length, 4, 'the operator is, too')
  one.end()
  await one.over()
  t.equal(await two.ask('INCR n', ':2\r\n'), ':2\r\n')
  const status = await lab.untilStatus(({ workers: [first] }) => first?.state === 'ended')
  t.match(status, { workers: [{ pid: null, deaths: 0 }, { state: 'serving' }] })
  t.equal(gateway.gone, false)
  two.end()
  await two.over()
  await gateway.exited
  t.equal(gateway.exitCode, 0)
  t.equal(lab.log.all('process.stopped').length, 1)
  t.same(lab.log.all('worker.died'), [])
  t.same(workers.map(({ pid }) => isAlive(pid ?? 0)), [false, false])
  t.notOk(existsSync(lab.admin), 'the admin socket is gone')
})

void t.test('signals that reach all processes are the supervisor\'s; the second ends all', async (t) => {
  const lab = await WorkersLab.protected(t, 'timeouts: { drain: 5m }')
  const client = await lab.client('two')
  const gateway = lab.process('gateway')
  gateway.signalGroup('SIGINT')
  await lab.log.until('process.stopping')
  t.equal(await client.ask('INCR n', ':1\r\n'), ':1\r\n', 'no worker has stopped by itself')
  gateway.signalGroup('SIGINT')
  await client.over()
  await gateway.exited
  t.equal(gateway.exitCode, 130)
})

void t.test('a worker takes no notice of a signal of its own', async (t) => {
  const lab = await WorkersLab.protected(t)
  const client = await lab.client('two')
  await lab.signalWorker(2, 'SIGTERM')
  t.equal(await client.ask('INCR n', ':1\r\n'), ':1\r\n')
  t.match(await askStatus(lab.admin), { workers: [{ deaths: 0 }, { state: 'serving', deaths: 0 }] })
})

void t.test('what one worker cannot do fails the whole start, before any agent hears of it', async (t) => {
  const lab = await WorkersLab.create(t)
  const taken = createServer().listen(lab.ports.services.four, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  lab.start('host-a')
  lab.start('host-b')
  for (const host of ['host-a', 'host-b'] as const) await lab.process(host).log.until('link.listening')
  const gateway = lab.start('gateway')
  await gateway.exited
  t.equal(gateway.exitCode, 1)
  t.match(gateway.log.words, new RegExp(`tailgate: E_LISTEN: .*${lab.ports.services.four}`))
  for (const host of ['host-a', 'host-b'] as const) t.same(lab.process(host).log.all('link.up'), [])
  t.notOk(existsSync(lab.admin))
  taken.close()
  await once(taken, 'close')
  lab.start('gateway')
  await lab.allProtected()
})

void t.test('a gateway whose admin socket is in use fails, and leaves no worker', async (t) => {
  const lab = await WorkersLab.protected(t)
  const { pid } = lab.process('gateway')
  const second = lab.start('gateway')
  await second.exited
  t.equal(second.exitCode, 1)
  t.match(second.log.words, /tailgate: E_LISTEN/)
  t.ok(isAlive(pid), 'the first one goes on')
  t.equal((await askStatus(lab.admin)).pid, pid)
})
