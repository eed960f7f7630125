import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connectionId, hostName, lsn, type CheckpointId } from '../../src/core/ids.ts'
import type { Durability } from '../../src/core/message.ts'
import { RecordCursor } from '../../src/core/record-codec.ts'
import { RecordKind, type LogRecord } from '../../src/core/record.ts'
import { agentConfig, forkAgent, startAgent } from './agents.ts'
import { ask, GatewayStub, guest, historyA } from './gateway-stub.ts'

const data = (text: string): LogRecord => (
  { kind: RecordKind.data, connection: connectionId(1), bytes: Buffer.from(text) })
const opened: LogRecord = (
  { kind: RecordKind.open, connection: connectionId(1), service: 0, client: '10.0.0.1:1' })
const marked = (checkpoint: CheckpointId): LogRecord => ({ kind: RecordKind.mark, checkpoint })

/** A primary in its own process and a backup in this one; records 1 and 2 are in the log. */
async function pair(t: Test, durability: Durability) {
  const dataDir = t.testdir({ a: {}, b: {} })
  const a = await forkAgent(t, agentConfig('a', join(dataDir, 'a')))
  const b = await startAgent(t, agentConfig('b', join(dataDir, 'b')))
  const toA = await GatewayStub.connect(a.port, 'a')
  const toB = await GatewayStub.connect(b.port, 'b')
  t.teardown(() => { toB.close() })
  toB.assign({ role: 'backup', durability })
  t.match(await toB.take('position'), { lastLsn: 0 })
  toA.history = toB.history = historyA
  toB.send({ type: 'begin', firstLsn: lsn(1) })
  toB.epoch(1, [opened, data('before')])
  t.match(await toB.take('ack'), { lsn: 2 })
  toA.assign({ role: 'primary', boot: true, peer: hostName('b'), peerAddress: `127.0.0.1:${b.port}` })
  const running = await toA.take('guest', ({ condition }) => condition === 'running')
  return { dataDir, a, b, toA, toB, endpoint: running.endpoints[0] ?? '' }
}

/** The next checkpoint gets its mark at this lsn and counts. */
async function checkpoint(toA: GatewayStub, toB: GatewayStub, at: number): Promise<CheckpointId> {
  const { checkpoint: id } = await toA.take('mark-request')
  toB.epoch(at, [marked(id)])
  toA.send({ type: 'mark', checkpoint: id, lsn: lsn(at) })
  await toB.take('counted', counted => counted.checkpoint === id && counted.mark === at)
  return id
}

function recordsIn(pieces: readonly Uint8Array[]): LogRecord[] {
  const records: LogRecord[] = []
  for (const piece of pieces) {
    const cursor = new RecordCursor(piece)
    while (cursor.next()) records.push(cursor.record())
  }
  return records
}

for (const durability of ['memory', 'disk'] as const) {
  void t.test(`a primary that dies is replaced by its backup (${durability})`, async t => {
    const { a, toA, toB, endpoint } = await pair(t, durability)
    t.equal(await ask(endpoint, 'SET k before-the-mark'), '+OK\r\n')
    const first = await checkpoint(toA, toB, 3)
    const second = await checkpoint(toA, toB, 4)
    t.ok(second > first, 'checkpoint numbers grow')
    // Input that the guest has not acknowledged stays, and nothing else of what came before the mark.
    const beat = await toB.take('heartbeat', ({ log }) => log?.checkpoint === second && log.tailRecords === 1)
    t.match(beat, { role: 'backup', condition: 'absent', log: { lastLsn: 4, mark: 4 } }, 'the log is pruned')
    t.equal(await ask(endpoint, 'SET k after-the-mark'), '+OK\r\n')
    toB.epoch(5, [data('one'), data('two')])
    await toB.take('ack', ({ lsn: upTo }) => upTo === 6)

    a.child.kill('SIGKILL')
    await once(a.child, 'exit')
    toB.generation = 2
    toB.send({ type: 'promote', lastLsn: lsn(6), acceptLoss: false })
    const promoted = await toB.take('promoted')
    t.match(promoted, { checkpoint: second, mark: 4, about: { generation: 2 } })
    toB.send({ type: 'open-network' })
    await toB.take('network-open')
    toB.send({ type: 'tail-credit', bytes: 1 })
    const pieces = [(await toB.take('tail')).records]
    toB.send({ type: 'tail-credit', bytes: 1 << 20 })
    t.match(await toB.take('tail-end'), { lastLsn: 6 })
    const rest = toB.heard.filter(told => told.type === 'tail').slice(1)
    pieces.push(...rest.map(({ records }) => records))
    t.match(recordsIn(pieces), [
      { kind: RecordKind.adopt, connection: 1 }, data('before'), data('one'), data('two')
    ], 'the base, then what came after the mark')
    toB.send({ type: 'replayed' })
    await toB.take('heartbeat', ({ role, condition }) => role === 'primary' && condition === 'running')
    t.match(await ask(promoted.endpoints[0] ?? '', 'GET k'), /before-the-mark/)

    toB.generation = 1
    toB.assign({ role: 'backup' })
    t.match(await toB.take('stale'), { about: { generation: 2 } })
    t.match(await ask(promoted.endpoints[0] ?? '', 'GET k'), /before-the-mark/, 'it still runs')
  })
}

void t.test('a backup that restarts holds what was durable, and starts no guest', async t => {
  const { dataDir, b, toA, toB } = await pair(t, 'disk')
  const id = await checkpoint(toA, toB, 3)
  toB.epoch(4, [data('more')])
  await toB.take('ack', ({ lsn: upTo }) => upTo === 4)
  toA.close()
  await b.stop()
  const images = join(dataDir, 'b', guest, 'images')
  t.equal(readdirSync(images).filter(name => name.endsWith('.image')).length, 1, 'one image is kept')
  const again = await startAgent(t, agentConfig('b', join(dataDir, 'b')))
  const stub = await GatewayStub.connect(again.port, 'b')
  stub.assign({ role: 'backup', durability: 'disk' })
  t.match(await stub.take('guest'), { condition: 'absent' })
  t.match(await stub.take('position'), { lastLsn: 4, about: { history: historyA } })
  t.match(await stub.take('counted'), { checkpoint: id, mark: 3 })
  stub.generation = 2
  stub.history = historyA
  stub.send({ type: 'promote', lastLsn: lsn(4), acceptLoss: false })
  t.match(await stub.take('promoted'), { checkpoint: id })
  stub.close()
})

void t.test('a guest whose agent is killed is gone with it, and comes back only on boot', async t => {
  const { dataDir, a, toA, endpoint } = await pair(t, 'memory')
  await ask(endpoint, 'PING')
  a.child.kill('SIGKILL')
  await toA.untilClosed()
  const again = await startAgent(t, agentConfig('a', join(dataDir, 'a')))
  const stub = await GatewayStub.connect(again.port, 'a')
  stub.assign({ role: 'primary', boot: false })
  t.match(await stub.take('guest'), { condition: 'absent' })
  stub.assign({ role: 'primary', boot: true })
  t.match(await stub.take('guest', ({ condition }) => condition === 'running'), { reason: '' })
  stub.generation = 2
  stub.assign({ role: 'backup' })
  await stub.take('position')
  const order = stub.heard.map(({ type, about }) => `${type} ${about.generation}`)
  t.ok(order.indexOf('guest 2') < order.indexOf('position 2'))
  t.match(stub.heard.findLast(({ type }) => type === 'guest'), { condition: 'absent' }, 'it was ended first')
  stub.close()
})

void t.test('a checkpoint that stands too long runs on without', async t => {
  const { toA, endpoint } = await pair(t, 'memory')
  const { checkpoint: id } = await toA.take('mark-request')
  t.match(await toA.take('checkpoint-failed'), { checkpoint: id, reason: 'no mark came in time' })
  const next = await toA.take('mark-request')
  t.ok(next.checkpoint > id)
  toA.send({ type: 'mark-refused', checkpoint: next.checkpoint, reason: 'not now' })
  t.match(await toA.take('checkpoint-failed'), { checkpoint: next.checkpoint, reason: 'not now' })
  t.equal(await ask(endpoint, 'PING'), '+PONG\r\n', 'the guest runs on')
})

void t.test('an image that is cut off leaves nothing', async t => {
  const dataDir = t.testdir({})
  const agent = await startAgent(t, agentConfig('b', dataDir))
  const stub = await GatewayStub.connect(agent.port, 'b')
  stub.history = historyA
  stub.assign({ role: 'backup', durability: 'disk' })
  await stub.take('position')
  stub.send({ type: 'begin', firstLsn: lsn(1) })
  const id = 77 as CheckpointId
  stub.epoch(1, [marked(id)])
  await stub.take('ack')
  const peer = await GatewayStub.connect(agent.port, 'b', 'a', 'agent')
  peer.history = historyA
  peer.send({ type: 'checkpoint-begin', checkpoint: id })
  peer.send({ type: 'checkpoint-data', checkpoint: id, bytes: Buffer.alloc(1000) })
  peer.send({ type: 'checkpoint-end', checkpoint: id, mark: lsn(1), bytes: 2000, crc: 0 })
  t.match(await peer.take('checkpoint-refused'), { checkpoint: id })
  peer.send({ type: 'checkpoint-begin', checkpoint: id })
  peer.send({ type: 'checkpoint-data', checkpoint: id, bytes: Buffer.alloc(1000) })
  peer.close()
  await peer.untilClosed()
  const beat = await stub.take('heartbeat', ({ log }) => log?.lastLsn === 1)
  t.match(beat.log, { checkpoint: 0 })
  stub.generation = 2
  stub.send({ type: 'promote', lastLsn: lsn(1), acceptLoss: true })
  t.match(await stub.take('promote-failed'), { reason: 'there is no whole checkpoint here' })
  t.notOk(existsSync(join(dataDir, guest, 'images', `${id}.image`)))
  stub.close()
})

void t.test('who may link, and who not', async t => {
  const agent = await startAgent(t, agentConfig('b', t.testdir({})))
  for (const [name, role] of [['other', 'gateway'], ['gw', 'agent']] as const) {
    const refused = GatewayStub.connect(agent.port, 'b', name, role)
    await t.rejects(refused, { code: 'E_AUTH' }, `${role} ${name}`)
  }
  const stub = await GatewayStub.connect(agent.port, 'b')
  stub.assign({ role: 'idle' })
  t.match(await stub.take('guest'), { condition: 'absent', about: { guest } })
  stub.close()
})

void t.test('metrics tell the role, the log and the links', async t => {
  const metrics = { host: '127.0.0.1', port: 0 }
  const agent = await startAgent(t, agentConfig('b', t.testdir({}), { metrics }))
  const at = (path: string) => fetch(`http://${agent.metricsAddress ?? ''}${path}`)
  t.equal((await at('/readyz')).status, 503, 'no gateway yet')
  const stub = await GatewayStub.connect(agent.port, 'b')
  stub.history = historyA
  stub.assign({ role: 'backup' })
  await stub.take('position')
  stub.send({ type: 'begin', firstLsn: lsn(1) })
  stub.epoch(1, [opened, data('x')])
  await stub.take('ack')
  t.equal((await at('/readyz')).status, 200)
  const text = await (await at('/metrics')).text()
  for (const line of [
    'tailgate_role{guest="shop",role="backup"} 1', 'tailgate_role{guest="shop",role="primary"} 0',
    'tailgate_guest_condition{guest="shop",condition="absent"} 1', 'tailgate_log_lsn{guest="shop"} 2',
    'tailgate_link_up{peer="gw"} 1', 'tailgate_generation{guest="shop"} 1'
  ]) t.ok(text.includes(`${line}\n`), line)
  stub.close()
})

void t.test('an agent whose state cannot be read does not start, and says what to do', async t => {
  const dataDir = t.testdir({ [guest]: { 'state.json': '{"format":1,"generation":-1}' } })
  await t.rejects(startAgent(t, agentConfig('b', dataDir)), { code: 'E_STATE', message: /remove the file/ })
})
