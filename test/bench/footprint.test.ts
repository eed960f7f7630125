import { once } from 'node:events'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { contenders } from '../../bench/contenders.ts'
import { measureIdle, residentBytes } from '../../bench/footprint/idle.ts'
import { acknowledgedBytes, metricIn } from '../../bench/footprint/link.ts'
import { bytesPerConnection, linkParts, workersRatio } from '../../bench/footprint/report.ts'
import { measureWorkers } from '../../bench/footprint/workers.ts'
import { Program } from '../../bench/program.ts'
import { startRedisServers, startServices } from '../../bench/services.ts'
import { echo, slowServiceUs, workloads, workloadsAnywhere } from '../../bench/workloads.ts'
import { requires } from '../requires.ts'

/** One of the bench's own services; its port. */
async function service(t: Test, file: string, ...args: readonly string[]): Promise<number> {
  const path = fileURLToPath(new URL(`../../bench/${file}`, import.meta.url))
  const program = new Program(file, 'others', process.execPath, ['--import=tsx', path, ...args])
  t.teardown(() => program.stop())
  return Number(await program.firstLine())
}

void t.test('the parts of what is on the link add up', (t) => {
  const figure = {
    contender: 'one', load: 'two', inputBytes: 1000, events: 100, epochs: 20,
    recordBytes: 1600, linkBytes: 2400
  }
  const parts = linkParts(figure)
  t.same(parts, {
    allowedBytes: 1050 + 1600, ofAllowed: 2400 / 2650, eventsPerEpoch: 5, inputPerEvent: 10,
    recordHeadPerEvent: 6, framePerEvent: 8, framePerEpoch: 40
  })
  const sum = parts.inputPerEvent + parts.recordHeadPerEvent + parts.framePerEvent
  t.equal(sum * figure.events, figure.linkBytes)
  t.end()
})

void t.test('memory of each connection is what came with it', (t) => {
  const times = { p50Ms: 1, p99Ms: 1, p50AloneMs: 1, p99AloneMs: 1 }
  const figure = { contender: 'one', connections: 10, rssBytes: 90_000, rssBeforeBytes: 10_000, ...times }
  t.equal(bytesPerConnection(figure), 8000)
  t.equal(residentBytes('VmHWM:\t   900 kB\nVmRSS:\t   512 kB\nRssAnon:\t  1 kB\n'), 512 * 1024)
  t.throws(() => residentBytes('Name:\tnode\n'), /the kernel does not say/)
  t.end()
})

void t.test('what the kernel says of the link', (t) => {
  const line = (pid: number, acked: string): string =>
    `0 0 127.0.0.1:4 127.0.0.1:7 users:(("node",pid=${pid},fd=20)) cubic bytes_sent:900 ${acked}segs_out:3`
  const two = `${line(17, 'bytes_acked:11 ')}\n${line(170, 'bytes_acked:22 ')}\n`
  t.equal(acknowledgedBytes(two, 17), 11)
  t.equal(acknowledgedBytes(two, 170), 22)
  t.throws(() => acknowledgedBytes(two, 1), /shows 0 links of process 1/)
  t.throws(() => acknowledgedBytes(`${two}${two}`, 17), /shows 2 links/)
  t.throws(() => acknowledgedBytes(line(17, ''), 17), /does not say what was sent/)
  t.end()
})

void t.test('a metric of the one guest', (t) => {
  const text = '# TYPE a_sum counter\na_sum_more{guest="bench"} 4\na_sum{guest="bench"} 1234\n'
  t.equal(metricIn(text, 'a_sum'), 1234)
  t.throws(() => metricIn(text, 'a'), /have no a$/)
  t.end()
})

void t.test('bytes that come back one at a time', async (t) => {
  const port = await service(t, 'bulk.ts', 'serve')
  const { amount, rate } = await echo(3).run(port, { amount: 60, seconds: 1, limitMs: 20_000 })
  t.equal(amount, 60)
  t.ok(rate > 0)
  const looker = connect(port, '127.0.0.1')
  looker.end()
  looker.resume()
  await once(looker, 'close')
  t.pass('who only looks is let go')
})

void t.test('the slow service takes its time for each GET', async (t) => {
  const port = await service(t, 'slow-service.ts', String(slowServiceUs))
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  let text = ''
  socket.setEncoding('utf8').on('data', (piece: string) => { text += piece })
  const begun = performance.now()
  socket.write('CONFIG GET save\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n')
  while (text.split('abc').length < 3) await once(socket, 'data')
  t.ok(performance.now() - begun >= 2 * slowServiceUs / 1000, 'one after the other, and never too early')
  t.equal(text, '-ERR only GET is known here\r\n$3\r\nabc\r\n$3\r\nabc\r\n')
})

void t.test('idle connections are open while memory and latency are measured', async (t) => {
  for (const program of ['redis-server', 'redis-benchmark', 'haproxy']) {
    if (requires(t, program) === undefined) return
  }
  const [contender, active] = [
    contenders().find(({ name }) => name === 'haproxy'),
    workloads.find(({ name }) => name === 'get, 1 connection')
  ]
  if (contender === undefined || active === undefined) throw new Error('the bench has no such thing')
  const services = await startServices()
  try {
    const options = { counts: [20, 50], rounds: 1, seconds: 0.05, active }
    const figures = await measureIdle(contender, services.ports.redis ?? 0, options)
    t.same(figures.map(({ connections }) => connections), [20, 50])
    for (const figure of figures) {
      t.equal(figure.contender, 'haproxy')
      t.ok(figure.rssBeforeBytes > 0 && figure.rssBytes > 0)
      t.ok(figure.p50AloneMs > 0 && figure.p99Ms >= figure.p50Ms)
    }
  } finally {
    await services.stop()
  }
})

void t.test('one worker and two are measured under the same load', async (t) => {
  for (const program of ['redis-server', 'redis-benchmark']) if (requires(t, program) === undefined) return
  const services = await startRedisServers(3)
  try {
    const figures = await measureWorkers('epoch', services.ports, { rounds: 1, seconds: 0.02 })
    t.match(figures, workloadsAnywhere.map(({ name }) =>
      ({ contender: 'tailgate epoch', load: name, guests: 3, pairs: 1 })))
    for (const figure of figures) {
      t.ok(workersRatio(figure) > 0 && workersRatio(figure) < Infinity)
      for (const busy of [figure.oneBusy, figure.firstBusy, figure.secondBusy]) t.ok(busy > 0 && busy < 2)
    }
  } finally {
    await services.stop()
  }
})
