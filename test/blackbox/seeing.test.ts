import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { requires } from '../requires.ts'
import { Client } from './client.ts'
import { Front, replicated, type Mode } from './front.ts'
import { patternOf } from './pattern.ts'
import { quietPort } from './ports.ts'
import { run, until } from './program.ts'
import { Service } from './service.ts'

// What an operator sees of it: the line of each connection, metrics under load, status, and check.

void t.test('a service that is down', async (t) => {
  for (const mode of ['plain', 'epoch'] as const) {
    const front = await Front.start(t, mode, { ports: [await quietPort()], pids: [] })
    const one = new Client(t, front.port)
    one.socket.write('anything')
    const { bytes, error } = await one.ended
    t.same([bytes, error], [0, 'ECONNRESET'], `${mode}: the client is reset`)
    const [line] = await front.ended(1)
    t.match(line, { end: 'SC', outputBytes: 0, service: 's0' })
    await front.settled(t, 1)
  }
})

void t.test('a gateway that is asked to end resets what is still open, and says so', async (t) => {
  const service = await Service.start(t)
  const front = await Front.start(t, 'plain', service.behind, { keys: 'timeouts: { drain: 0ms }' })
  const one = new Client(t, front.ports[service.behaviours.indexOf('echo')] ?? 0)
  await one.send('!')
  await one.received(1)
  await front.gateway.stop()
  t.equal((await one.ended).error, 'ECONNRESET')
  t.equal(await service.saw('error', 'echo'), 'ECONNRESET')
  t.equal(front.ends[0]?.end, 'GD')
  t.equal(front.events.at(-1)?.event, 'process.stopped')
})

void t.test('metrics are in order while there is load', async (t) => {
  const service = await Service.start(t)
  const front = await Front.start(t, 'epoch', service.behind)
  const port = front.ports[service.behaviours.indexOf('source')] ?? 0
  const clients = Array.from({ length: 8 }, () => new Client(t, port))
  await Promise.all(clients.map(async (client) => client.send(String(8 << 20))))
  let [before, scrapes] = [await front.metrics(), 1]
  const over = Promise.all(clients.map(async (client) => client.outputEnded)).then(() => true)
  for (let done = false; !done;) {
    const now = await front.metrics()
    for (const { name, labels, value } of before.all) {
      if (before.types.get(name) !== 'counter') continue
      if (now.sum(name, labels) < value) t.fail(`the counter ${name} went back`)
    }
    [before, scrapes] = [now, scrapes + 1]
    done = await Promise.race([over, new Promise<false>((resolve) => setImmediate(resolve, false))])
  }
  t.comment(`${scrapes} scrapes`)
  t.ok((await front.metrics()).sum('tailgate_bytes_total', { direction: 'output' }) >= 64 << 20)
  for (const { socket } of clients) socket.end()
  await front.settled(t, clients.length)
  t.equal((await front.metrics()).sum('tailgate_connections_ended_total', { end: 'S-' }), clients.length)
  // A second opinion where there is one: the format has been read strictly already.
  const promtool = requires(t, 'promtool')
  if (promtool === undefined) return
  const { status, out, error } = await run(t, promtool, ['check', 'metrics'], before.text)
  t.equal(status, 0, out + error)
})

/** No engine for a service behind ordinary TCP can restore it, so it is never called protected. */
const replicatedHeadline = /^box: UNPROTECTED: its input is replicated to host-b, but no engine can/

/** What the first line of the status says of each mode. */
const headlines: Readonly<Record<Exclude<Mode, 'direct'>, RegExp>> = {
  plain: /^box: UNPROTECTED: it has no hosts: it is only proxied\./,
  immediate: replicatedHeadline,
  epoch: replicatedHeadline,
  checkpoint: replicatedHeadline
}

for (const [mode, headline] of Object.entries(headlines) as [Exclude<Mode, 'direct'>, RegExp][]) {
  void t.test(`status, ${mode}`, async (t) => {
    const service = await Service.start(t)
    const front = await Front.start(t, mode, service.behind)
    const one = new Client(t, front.ports[0] ?? 0)
    await one.send(patternOf(0, 5000))
    await one.received(5000)
    await statusText(t, front, headline)
    const guest = await front.guest()
    t.match(guest, {
      guest: 'box', connections: { open: 1, connecting: 0, closing: 0, replaying: 0 }, heldBytes: 0,
      positions: { receivedBytes: 5000, releasedBytes: 5000 }
    })
    t.equal(guest.services[0]?.connections, 1)
    t.equal(guest.services[0]?.release, mode === 'plain' ? 'immediate' : mode)
    if (!replicated.has(mode)) t.same([guest.hosts, guest.history, guest.tail], [[], null, null])
    else {
      const [primary, backup] = guest.hosts
      t.match(primary, { role: 'primary', link: 'up', condition: 'running' })
      t.match(backup, { role: 'backup', link: 'up' })
      t.ok(guest.positions.loggedLsn > 0 && guest.history !== null)
    }
    one.socket.end()
    await front.settled(t, 1)
  })
}

async function statusText(t: Test, front: Front, headline: RegExp): Promise<void> {
  const { status, out } = await front.tailgate('status', '-c', join(front.directory, 'gateway.yaml'))
  t.equal(status, 0)
  t.match(out.split('\n')[0], headline)
  const last = front.events.filter(({ event }) => event.startsWith('guest.')).at(-1)
  const state = /^box: (\w+)/.exec(out)?.[1]?.toLowerCase()
  t.equal(last?.event, `guest.${state ?? ''}`, 'the log says the same')
}

void t.test('when the backup goes, the status says so and what to do', async (t) => {
  const service = await Service.start(t)
  const front = await Front.start(t, 'epoch', service.behind, { misses: 10 })
  const one = new Client(t, front.ports[0] ?? 0)
  await one.send('!')
  await one.received(1)
  await front.backup.stop('SIGKILL')
  await until('the guest is unprotected', async () =>
    (await front.guest()).protection.state === 'unprotected' ? true : undefined)
  await one.send('?')
  await one.received(2)
  t.pass('it serves on')
  const { out } = await front.tailgate('status', '-c', join(front.directory, 'gateway.yaml'))
  const [first] = out.split('\n')
  t.match(first, /^box: UNPROTECTED: the link to the backup host-b is lost\. Start the agent on host-b, /)
})

void t.test('check names every error of a broken file with its place', async (t) => {
  const front = await Front.start(t, 'direct', { ports: [1], pids: [] })
  const file = join(front.directory, 'broken.yaml')
  writeFileSync(file, `name: gateway
state_dir: gateway
surprise: 1
limits: { epoch: 5 parsecs }
guests:
  - name: box
    attach: tcp
    lease: 1ms
    services:
      - { name: s0, listen: "127.0.0.1:0" }
`)
  const { status, out, error } = await front.tailgate('check', '-c', file)
  t.equal(status, 1)
  for (const place of [/broken\.yaml:3:1: .*surprise/, /broken\.yaml:4:18: .*/, /broken\.yaml:8:\d+: .*/,
    /broken\.yaml:10:\d+: .*'to' is missing/]) t.match(out + error, place)
  const started = await front.tailgate('gateway', '-c', file)
  t.equal(started.status, 1, 'nor does a gateway start with it')
  t.match(started.error, /broken\.yaml:3:1/)
})
