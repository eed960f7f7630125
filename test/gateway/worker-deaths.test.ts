import { once } from 'node:events'
import { createServer } from 'node:net'
import t from 'tap'
import { askFailover, askPlan, askStatus } from '../../src/observe/admin-client.ts'
import { renderStatus } from '../../src/observe/status-text.ts'
import { deathsMax, WorkerDeaths } from '../../src/gateway/worker-deaths.ts'
import { isAlive } from './processes.ts'
import { Counting, WorkersLab } from './workers-lab.ts'

// What is left of a gateway when one of its processes dies, and what comes back.

void t.test('a worker that is killed takes only its guests\' clients with it, and comes back', async (t) => {
  const lab = await WorkersLab.protected(t)
  const others = [new Counting(await lab.client('two')), new Counting(await lab.client('four'))]
  for (const other of others) await other.answers(50)
  const lost = await lab.client('one')
  t.equal(await lost.ask('INCR n', ':1\r\n'), ':1\r\n')
  const from = lab.log.count
  const agents = [lab.process('host-a').log, lab.process('host-b').log]
  const killed = await lab.signalWorker(1, 'SIGKILL')
  await lost.over()
  t.match(await lab.log.until('worker.died'), {
    level: 'error', worker: 1, workerPid: killed, reason: 'SIGKILL', guests: 'one, three'
  })
  await lab.log.until('worker.restarted')
  await lab.allProtected(from, ['one', 'three'])
  for (const other of others) {
    await other.answers(50)
    t.same(await other.stop(), [], 'not one wrong byte')
  }
  const again = await lab.client('one')
  t.equal(await again.ask('INCR n', ':2\r\n'), ':2\r\n', 'the guest has lived on')
  t.same(lab.log.all('guest.protected', from).map(({ guest }) => guest).toSorted(), ['one', 'three'])
  for (const log of agents) t.equal(log.all('link.down').filter(({ peer }) => peer === 'gateway').length, 1)
  const { pid } = await lab.worker(1)
  t.match(await askStatus(lab.admin), { workers: [{ state: 'serving', deaths: 1 }, { deaths: 0 }] })
  t.not(pid, killed)
  const { text } = await lab.get('/metrics')
  t.match(text, 'tailgate_worker_deaths_total{worker="1"} 1\n')
  t.match(text, 'tailgate_worker_up{worker="1"} 1\n')
  t.match(await askFailover(lab.admin, { guest: 'one', acceptLoss: false }, 40_000), {
    generation: 2, failover: { connectionsKept: 1 }
  })
  t.equal(await again.ask('INCR n', ':3\r\n'), ':3\r\n', 'and can be failed over')
})

void t.test('a worker that cannot start again says why, and is tried again', async (t) => {
  const lab = await WorkersLab.protected(t)
  await lab.signalWorker(2, 'SIGKILL')
  await lab.log.until('worker.died')
  // Long before the next process has loaded its program.
  const taken = createServer().listen(lab.ports.services.four, '127.0.0.1')
  t.teardown(() => taken.close())
  await once(taken, 'listening')
  t.match(await lab.log.next('worker.died'), { worker: 2, reason: /^E_LISTEN: .*:\d+/ })
  await t.rejects(askPlan(lab.admin, 'two'), { code: 'E_WORKER', message: /is being started again/ })
  t.match(await lab.get('/livez'), { status: 200 }, 'what is being mended needs no restart')
  t.match(await lab.get('/readyz'), { status: 503 })
  taken.close()
  await lab.log.until('worker.restarted')
  t.match(await askPlan(lab.admin, 'two'), { guest: 'two' })
  t.match(await lab.get('/readyz'), { status: 200 })
})

void t.test('a worker that stands still is told of, and not waited for', async (t) => {
  const lab = await WorkersLab.protected(t)
  await lab.signalWorker(2, 'SIGSTOP')
  const status = await askStatus(lab.admin)
  t.match(status.workers, [{ state: 'serving' }, { state: 'silent', guests: ['two', 'four'] }])
  t.same(status.guests.map(({ guest }) => guest), ['one', 'three'])
  t.match(renderStatus(status), /^two: UNKNOWN: worker 2, which serves it, does not answer\./)
  t.match(await lab.get('/livez'), { status: 503, text: 'worker 2 does not answer\n' })
  t.match(await lab.get('/readyz'), { status: 503, text: 'worker 2 does not serve its guests\n' })
  const { text } = await lab.get('/metrics')
  t.match(text, 'tailgate_worker_up{worker="2"} 0\n')
  t.notMatch(text, 'guest="two"')
  await t.rejects(askPlan(lab.admin, 'four'), { code: 'E_TIMEOUT', message: /worker 2 did not answer/ })
  t.match(await askPlan(lab.admin, 'three'), { guest: 'three' }, 'the other one answers as ever')
  await lab.signalWorker(2, 'SIGCONT')
  await lab.untilStatus(({ workers }) => workers.every(({ state }) => state === 'serving'))
  t.match(await lab.untilAnswer('/livez', (answer) => answer.status === 200), { text: 'live\n' })
  t.same(lab.log.all('worker.died'), [])
})

void t.test('workers end with their supervisor, and a new gateway finds everything free', async (t) => {
  const lab = await WorkersLab.protected(t)
  const client = await lab.client('two')
  t.equal(await client.ask('INCR n', ':1\r\n'), ':1\r\n')
  const { workers } = await askStatus(lab.admin)
  const gateway = lab.process('gateway')
  gateway.signal('SIGKILL')
  // The workers have its stderr too, so that this waits for all of them.
  await gateway.exited
  t.same(workers.map(({ pid }) => isAlive(pid ?? 0)), [false, false])
  const failed = gateway.log.all('process.failed')
  t.same(failed.map(({ error }) => error), workers.map(() => 'the supervisor of this worker is gone'))
  lab.start('gateway')
  await lab.allProtected()
  const again = await lab.client('two')
  t.equal(await again.ask('INCR n', ':2\r\n'), ':2\r\n', 'the guest has lived on')
})

void t.test('workers that die again and again end the gateway', async (t) => {
  const lab = await WorkersLab.protected(t)
  for (let death = 1; death <= deathsMax.deaths + 1; death++) {
    const last = death === deathsMax.deaths + 1
    const next = lab.log.next(last ? 'process.failed' : 'worker.restarted')
    await lab.signalWorker(death % 2 + 1, 'SIGKILL')
    const line = await next
    if (last) t.match(line, { code: 'E_WORKER', error: /workers died more than 5 times within 60 s/ })
  }
  const gateway = lab.process('gateway')
  await gateway.exited
  t.equal(gateway.exitCode, 1)
  t.same(lab.log.all('worker.died').at(-1)?.['retryMs'], null)
})

void t.test('a death is followed by a longer wait than the one before, and forgotten after a minute', (t) => {
  const deaths = new WorkerDeaths()
  const { withinMs } = deathsMax
  t.equal(deaths.add(1, 0, 0), 50)
  t.equal(deaths.add(1, 1000, 0), 100)
  t.equal(deaths.add(2, 2000, 0), 50, 'each worker has its own wait')
  t.equal(deaths.add(1, 3000, 0), 200)
  t.equal(deaths.add(2, withinMs - 1, 0), 100)
  t.equal(deaths.add(2, withinMs, 0), 200, 'the first one is a minute ago')
  t.equal(deaths.add(1, withinMs + 1, 0), undefined, 'six within a minute')
  t.equal(deaths.add(1, 3 * withinMs, 0), 50, 'all is forgotten')
  t.end()
})
