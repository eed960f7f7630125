import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { seriesOf } from '../../bench/latency/delay.ts'
import { summaryOf } from '../../bench/latency/fixed-rate.ts'
import { runClosed, runOpen } from '../../bench/latency/generator.ts'
import { Histogram } from '../../bench/latency/histogram.ts'
import type { OpenReport } from '../../bench/latency/load.ts'
import { reply, request, Schedule } from '../../bench/latency/schedule.ts'

type OnRequests = (socket: Socket, whole: number) => void

/** A service that says how many whole requests have come on a connection, and answers by `onRequests`. */
async function service(t: Test, onRequests: OnRequests): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    let bytes = 0
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('data', (piece) => {
      const before = Math.floor(bytes / request.length)
      bytes += piece.length
      onRequests(socket, Math.floor(bytes / request.length) - before)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

function replies(count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, () => reply))
}

const open = { connections: 3, seconds: 0.2, warmupSeconds: 0, rate: 500, points: true } as const

void t.test('the k-th reply of a connection belongs to its k-th request', (t) => {
  const schedule = new Schedule(500, 3, 0.2)
  t.equal(schedule.total, 100)
  t.equal(schedule.dueMs(3), 6)
  t.same([0, 1, 2].map((connection) => schedule.requestOf(connection, 2)), [6, 7, 8])
  t.end()
})

void t.test('requests leave though none is answered, and wait since they were due', async (t) => {
  const waiting = new Map<Socket, number>()
  let came = 0
  const port = await service(t, (socket, whole) => {
    waiting.set(socket, (waiting.get(socket) ?? 0) + whole)
    came += whole
    if (came < 100) return
    for (const [one, count] of waiting) one.write(replies(count))
  })
  const report = await runOpen({ port, ...open })
  t.equal(report.requests, 100)
  t.equal(report.points.length, 100)
  // Nothing was answered before the last request had come, which did not leave before it was due.
  const lastDueMs = 99 * 2
  t.ok(report.points.every(([dueMs, latencyMs]) => latencyMs >= lastDueMs - dueMs))
  t.same(report.points.map(([dueMs]) => dueMs).toSorted((a, b) => a - b),
    Array.from({ length: 100 }, (_, index) => index * 2))
  const longest = Math.max(...report.points.map(([, latencyMs]) => latencyMs))
  t.equal(report.max, Math.round(longest * 1e4))
})

void t.test('what is due in the warm-up is not counted', async (t) => {
  const port = await service(t, (socket, whole) => socket.write(replies(whole)))
  const report = await runOpen({ port, ...open, seconds: 0.1, warmupSeconds: 0.1 })
  t.equal(report.requests, 50)
  t.equal(Math.min(...report.points.map(([dueMs]) => dueMs)), 100)
})

void t.test('a wrong reply and a lost connection end a run', async (t) => {
  const wrong = await service(t, (socket) => socket.write('-ERR no\r\n'))
  await t.rejects(runOpen({ port: wrong, ...open }), /not the one asked for.*-ERR no/s)
  await t.rejects(runClosed({ port: wrong, connections: 1, seconds: 1, warmupSeconds: 0 }), /not the one/)
  const lost = await service(t, (socket) => socket.destroy())
  await t.rejects(runOpen({ port: lost, ...open }), /a connection was closed|ECONNRESET|EPIPE/)
})

void t.test('a closed loop has one request under way on each connection', async (t) => {
  let most = 0
  let total = 0
  const port = await service(t, (socket, whole) => {
    most = Math.max(most, whole)
    total += whole
    socket.write(replies(whole))
  })
  const { rate } = await runClosed({ port, connections: 4, seconds: 0.1, warmupSeconds: 0 })
  t.ok(rate > 0)
  t.ok(total > 4)
  t.equal(most, 1)
})

function reportOf(latenciesMs: readonly number[]): OpenReport {
  const histogram = new Histogram()
  for (const latencyMs of latenciesMs) histogram.record(latencyMs * 1e4)
  return {
    requests: latenciesMs.length, histogram: histogram.pairs(), max: histogram.max, startedAt: 1000,
    points: latenciesMs.map((latencyMs, index) => [index * 10, latencyMs]),
    lateP50: 10, lateP99: 20, lateMax: 30
  }
}

void t.test('rounds are summed up by the medians of their percentiles', (t) => {
  const summary = summaryOf([reportOf([1, 1, 1]), reportOf([2, 2, 9]), reportOf([4, 4, 4])])
  t.match(summary, { rounds: 3, requests: 9, histogramMax: 90_000, lateP50: 0.001 })
  // Percentiles of a histogram are right to 1 part in 64.
  t.ok(Math.abs(summary.latency.p50.median - 2) <= 2 / 64)
  t.same(summary.latency.max, { median: 4, min: 1, max: 9 })
  t.end()
})

void t.test('responses are put where they were asked for in a checkpoint period', (t) => {
  const marks = [1015, 1055, 1095, 9000]
  const checkpoints = marks.map((markAt) => ({ markAt, bytes: 7 }))
  const report = reportOf(Array.from({ length: 20 }, () => 1))
  const series = seriesOf('epoch', 25, report, checkpoints)
  t.match(series, { mode: 'epoch', intervalMs: 25, periodMs: 40, checkpoints: 3, imageBytes: 7 })
  t.match(series.delay, { p50: 1, max: 1 })
  // Due at 1020, 1030, ..., 1090, between the first mark and the last.
  t.same(series.points.map(([phase]) => phase), [5, 15, 25, 35, 5, 15, 25, 35])
  const shuffled = { ...report, points: report.points.toReversed() }
  t.same(seriesOf('epoch', 25, shuffled, checkpoints), series, 'the order of replies does not matter')
  t.throws(() => seriesOf('epoch', 25, reportOf([1, 1, 1]), checkpoints), /only 1 checkpoints? counted/)
  t.end()
})
