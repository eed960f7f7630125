import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { Clients, RedisClient, type ServiceAddress } from '../../bench/failover/clients.ts'
import { LoopbackSite } from '../../bench/failover/loopback-site.ts'
import { measureFailovers } from '../../bench/failover/measure.ts'
import {
  embeddedPoints, parsePoint, pointOf, possible, qemuPoints, quickPoints, roundsOf
} from '../../bench/failover/points.ts'
import { isGoalPoint, phaseMs, sizeText, spreadOf, toldPhases, totalMs } from '../../bench/failover/report.ts'
import { get, got, ok, ping, pong, requestBytes, set } from '../../bench/failover/requests.ts'
import { failoverTables } from '../../bench/failover/tables.ts'
import { failoverPhases } from '../../src/observe/status.ts'

/** A service that answers by `answer` whatever comes. */
async function service(t: Test, answer: (socket: Socket, text: string) => void): Promise<ServiceAddress> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.setEncoding('latin1').on('data', (text: string) => answer(socket, text))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

void t.test('a tail is about as long as asked for, with a request on each connection at least', (t) => {
  for (const wanted of [...quickPoints, ...embeddedPoints, ...qemuPoints]) {
    const { connections, tailBytes, valueBytes, requests } = pointOf(wanted)
    const bytes = connections * requests * requestBytes(connections - 1, valueBytes)
    t.ok(Math.abs(bytes / tailBytes - 1) < 0.06, `${connections} connections, ${tailBytes} bytes`)
    t.ok(requests >= 1 && valueBytes >= 1)
  }
  t.match(pointOf({ connections: 1000, tailBytes: 10e6 }), { valueBytes: 1024, requests: 9 })
  t.same([1e6, 1e8, 1e9].map((tailBytes) => roundsOf(pointOf({ connections: 100, tailBytes }), 5)), [5, 2, 1])
  t.equal(roundsOf(pointOf({ connections: 100, tailBytes: 1e8 }), 1), 1)
  t.match(pointOf({ connections: 10_000, tailBytes: 1e6 }), { requests: 1 })
  for (const points of [embeddedPoints, qemuPoints]) {
    const orders = points.map(pointOf).filter(isGoalPoint).map(({ order }) => order)
    t.same(orders, ['output', 'arrival'], 'the goal is measured once in each order')
  }
  t.end()
})

void t.test('what there is no room for is told', (t) => {
  const wanted = [{ connections: 10_000, tailBytes: 1e6 }, { connections: 100, tailBytes: 1e9 }]
  const { points, missing } = possible(wanted, { connectionsMax: 500, memoryBytes: 1e9 })
  t.same(points, [{ connections: 500, tailBytes: 1e6 }])
  t.match(missing, [/10000 connections: .* allows 500/, /a tail of 1000 MB: .* 1000 MB are free/])
  t.same(possible(wanted, { connectionsMax: 10_000, memoryBytes: 4e9 }), { points: wanted, missing: [] })
  t.end()
})

void t.test('points on the command line', (t) => {
  t.same(parsePoint('1000x10'), { connections: 1000, tailBytes: 10e6, valueBytes: 1024 })
  t.same(parsePoint('3x0.5x64'), { connections: 3, tailBytes: 0.5e6, valueBytes: 64 })
  for (const wrong of ['', '5', 'x', '0x1', '1.5x1', '1x0', '1x1x0', '1x1x1x1', 'ax1']) {
    t.throws(() => parsePoint(wrong), TypeError, wrong)
  }
  t.end()
})

void t.test('every phase of a failover is told once', (t) => {
  const told = Object.values(toldPhases).flat()
  t.same(told, failoverPhases)
  const phasesMs = {
    detect: 1, fence: 2, drain: 4, commit: null, persist: 8, restore: 16, 'open-network': 32, attach: 64,
    replay: 128
  }
  const round = { phasesMs, afterDetectionMs: 254, firstByteMs: 300, replayedBytes: 1, replayedRecords: 1 }
  t.equal(phaseMs(round, 'fence to persist'), 14)
  t.equal(phaseMs(round, 'restore'), 48)
  t.equal(totalMs(round), 255)
  t.same(spreadOf([3, 1, 8], (value) => value * 2), { median: 6, min: 2, max: 16 })
  t.same([500, 1e5, 1e6, 2.5e6, 1e9].map(sizeText), ['0.5 kB', '100 kB', '1 MB', '2.5 MB', '1 GB'])
  t.end()
})

void t.test('what is asked for is what was set last', (t) => {
  t.equal(String(set(7, 12, 6)), '*3\r\n$3\r\nSET\r\n$12\r\nconnection-7\r\n$6\r\n7-12.7\r\n')
  t.equal(String(get(7)), '*2\r\n$3\r\nGET\r\n$12\r\nconnection-7\r\n')
  t.equal(String(got(7, 12, 6)), '$6\r\n7-12.7\r\n')
  t.not(String(got(7, 12, 6)), String(got(7, 13, 6)))
  t.end()
})

void t.test('a reply may come in pieces, and must be the right one', async (t) => {
  const address = await service(t, (socket, text) => {
    if (text.includes('PING')) {
      socket.write('+PO')
      setImmediate(() => socket.write('NG\r\n'))
    } else socket.write('+OKAY\r\n')
  })
  const client = await RedisClient.open(address)
  t.teardown(() => client.destroy())
  await client.ask(ping, pong)
  await client.ask(ping, pong)
  await t.rejects(client.ask(set(1, 1, 1), ok), /a reply is not the one that was to come: "\+OKAY/)
  await t.rejects(client.ask(ping, pong), /not the one/, 'it is of no use any more')
})

void t.test('a client that lost its connection, or what it had set, is found', async (t) => {
  let answers = 0
  const address = await service(t, (socket, text) => {
    answers++
    if (text.includes('PING')) socket.write(pong)
    else if (text.includes('SET')) socket.write(ok)
    else if (text.includes('connection-0')) socket.write(got(0, 1, 3))
    else socket.destroy()
  })
  const one = await Clients.open(address, 1)
  t.teardown(() => one.destroy())
  await t.rejects(one.verify(), /nothing was sent/)
  await one.sendTail({ connections: 1, tailBytes: 1, valueBytes: 3, order: 'output', requests: 2 })
  t.equal(answers, 3)
  await one.verify()
  await one.sendTail({ connections: 1, tailBytes: 1, valueBytes: 3, order: 'output', requests: 1 })
  await t.rejects(one.verify(), /a reply is not the one/)
  const two = await Clients.open(address, 2)
  t.teardown(() => two.destroy())
  await two.sendTail({ connections: 2, tailBytes: 1, valueBytes: 3, order: 'output', requests: 2 })
  await t.rejects(two.verify(), /closed|ECONNRESET/)
})

void t.test('the embedded guest is failed over there and back, and every client goes on', async (t) => {
  const point = pointOf({ connections: 5, tailBytes: 30_000 })
  const site = await LoopbackSite.start(point)
  t.teardown(() => site.stop())
  const rounds = await measureFailovers(site, point, 2)
  t.equal(rounds.length, 2)
  for (const { phasesMs, afterDetectionMs, firstByteMs, replayedBytes } of rounds) {
    const tail = point.connections * point.requests * requestBytes(0, point.valueBytes) + ping.length
    t.equal(replayedBytes, tail, 'what was sent since the checkpoint, and the request after the kill')
    for (const phase of ['restore', 'attach', 'replay'] as const) t.type(phasesMs[phase], 'number')
    t.ok(firstByteMs > 0 && afterDetectionMs > 0)
  }
  const text = failoverTables({
    kind: 'failover', machine: '', failures: [], missing: [], checkpoints: [],
    failovers: [{ guest: 'embedded', ...point, rounds }]
  }).join('\n')
  t.match(text, /^failover in ms .*\n.*\n?embedded +5 +30 kB/m)
})
