import t from 'tap'
import { askFailover, askPlan, askStatus } from '../../src/observe/admin-client.ts'
import { renderStatus } from '../../src/observe/status-text.ts'
import { guestNames, WorkersLab } from './workers-lab.ts'

// A gateway of several processes: what operators, scrapers and clients see is one gateway.

/** The lines of an exposition that are series, without their values. */
function seriesOf(text: string): readonly string[] {
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.slice(0, line.lastIndexOf(' ')))
}

void t.test('two workers serve and protect four guests as one gateway', async (t) => {
  const lab = await WorkersLab.protected(t)
  for (const name of guestNames) {
    const client = await lab.client(name)
    t.equal(await client.ask(`SET name ${name}`, '+OK\r\n'), '+OK\r\n')
  }
  const status = await askStatus(lab.admin)
  t.same(status.guests.map(({ guest }) => guest), guestNames, 'in the order of the file')
  t.same(status.guests.map(({ protection }) => protection.state), guestNames.map(() => 'protected'))
  t.equal(status.pid, lab.process('gateway').pid)
  t.match(status.workers, [
    { worker: 1, state: 'serving', deaths: 0, guests: ['one', 'three'] },
    { worker: 2, state: 'serving', deaths: 0, guests: ['two', 'four'] }
  ])
  const pids = new Set([status.pid, ...status.workers.map(({ pid }) => pid)])
  t.equal(pids.size, 3, 'three processes')
  t.match(renderStatus(status), /^one: PROTECTED[^]*\n {2}worker +pid +state +deaths +guests\n/)
  const started = lab.log.all('process.started')
  t.same(started.map(({ worker }) => worker).toSorted(), [1, 2, null], 'each line tells which process it is')
  const speakers = new Set(lab.log.all('guest.protected').map(({ pid }) => pid))
  t.same(speakers, new Set(status.workers.map(({ pid }) => pid)))
})

void t.test('the metrics of all processes are one exposition', async (t) => {
  const lab = await WorkersLab.protected(t)
  const { text } = await lab.get('/metrics')
  const series = seriesOf(text)
  t.equal(new Set(series).size, series.length, 'no series is there twice')
  const kinds = text.split('\n').filter((line) => line.startsWith('# TYPE'))
  t.equal(new Set(kinds).size, kinds.length, 'no metric is described twice')
  for (const name of guestNames) {
    t.ok(series.includes(`tailgate_protection_state{guest="${name}",state="protected"}`), name)
  }
  const workersOf = (metric: string): readonly string[] => series
    .flatMap((line) => new RegExp(`^${metric}{worker="(\\w+)"`).exec(line)?.[1] ?? [])
  t.same(workersOf('process_cpu_seconds_total'), ['supervisor', '1', '2'])
  t.same(workersOf('tailgate_event_loop_delay_seconds_count'), ['1', '2'], 'of those that have one')
  t.same(workersOf('tailgate_link_up'), ['1', '1', '2', '2'], 'each has its links')
  t.same(series.filter((line) => !/guest="|worker="/.test(line)), [], 'each series tells whose it is')
  for (const worker of ['1', '2']) {
    t.match(text, `tailgate_worker_up{worker="${worker}"} 1\n`)
    t.match(text, `tailgate_worker_deaths_total{worker="${worker}"} 0\n`)
  }
  t.same(await lab.get('/readyz'), { status: 200, text: 'ready\n' })
  t.same(await lab.get('/livez'), { status: 200, text: 'live\n' })
})

void t.test('a failover is done by the worker that has the guest, and concerns nobody else', async (t) => {
  const lab = await WorkersLab.protected(t)
  const clients = await Promise.all(guestNames.map((name) => lab.client(name)))
  for (const client of clients) t.equal(await client.ask('INCR n', ':1\r\n'), ':1\r\n')
  for (const guest of ['two', 'three'] as const) {
    t.match(await askPlan(lab.admin, guest), { guest, from: 'host-a', to: 'host-b' })
    const done = await askFailover(lab.admin, { guest, acceptLoss: false }, 40_000)
    t.match(done, { guest, generation: 2, failover: { connectionsKept: 1, connectionsReset: 0 } })
  }
  for (const client of clients) t.equal(await client.ask('INCR n', ':2\r\n'), ':2\r\n')
  const { guests } = await askStatus(lab.admin)
  t.same(guests.map(({ activeHost }) => activeHost), ['host-a', 'host-b', 'host-b', 'host-a'])
  t.same(guests.map(({ generation }) => generation), [1, 2, 2, 1])
  await t.rejects(askPlan(lab.admin, 'five'), {
    code: 'E_ADMIN', message: "there is no guest 'five' here; there is: one, two, three, four"
  })
  await t.rejects(askFailover(lab.admin, { guest: 'five', acceptLoss: true }, 5000), { code: 'E_ADMIN' })
})

void t.test('the links of one worker leave those of another alone', async (t) => {
  const lab = await WorkersLab.protected(t)
  for (const host of ['host-a', 'host-b'] as const) {
    const { log } = lab.process(host)
    const ups = log.all('link.up').filter(({ peer }) => peer === 'gateway')
    t.equal(ups.length, 2, `${host} has a link of each worker`)
    t.same([...log.all('link.down'), ...log.all('link.refused')].filter(({ peer }) => peer === 'gateway'), [])
  }
})
