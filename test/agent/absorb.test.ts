import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import t, { type Test } from 'tap'
import { checkpointId, hostName, lsn, outputHash, type CheckpointId } from '../../src/core/ids.ts'
import { RecordKind } from '../../src/core/record.ts'
import { silentLogger, type Logger } from '../../src/observe/logger.ts'
import { agentConfig, startAgent } from './agents.ts'
import { BuildingEngine } from './building-engine.ts'
import { GatewayStub, guest, historyA } from './gateway-stub.ts'

async function agent(
  t: Test, name: string, engine: BuildingEngine, directory: string, logger: Logger = silentLogger
) {
  const engines = new Map([[guest, engine]])
  const running = await startAgent(t, agentConfig(name, directory), { engines, logger })
  const stub = await GatewayStub.connect(running.port, name)
  t.teardown(() => { stub.close() })
  return { running, stub }
}

/** A primary and a backup whose engines' images build on one another. */
async function pair(t: Test) {
  const dataDir = t.testdir({ a: {}, b: {} })
  const [engineA, engineB] = [new BuildingEngine(), new BuildingEngine()]
  const { stub: toA } = await agent(t, 'a', engineA, join(dataDir, 'a'))
  const { stub: toB, running: b } = await agent(t, 'b', engineB, join(dataDir, 'b'))
  toB.assign({ role: 'backup', durability: 'disk' })
  await toB.take('position')
  toA.history = toB.history = historyA
  toB.send({ type: 'begin', firstLsn: lsn(1) })
  toA.assign({
    role: 'primary', boot: true, peer: hostName('b'), peerAddress: `127.0.0.1:${b.port}`, checkpointMs: 20
  })
  return { dataDir, b, toA, toB, engineA, engineB }
}

/** The next checkpoint gets its mark at this lsn. */
async function mark(toA: GatewayStub, toB: GatewayStub, at: number): Promise<CheckpointId> {
  const { checkpoint } = await toA.take('mark-request')
  toB.epoch(at, [{ kind: RecordKind.mark, checkpoint }])
  toA.send({ type: 'mark', checkpoint, lsn: lsn(at) })
  return checkpoint
}

async function counted(toA: GatewayStub, toB: GatewayStub, at: number): Promise<CheckpointId> {
  const id = await mark(toA, toB, at)
  await toB.take('counted', ({ checkpoint }) => checkpoint === id)
  return id
}

const counting = (toB: GatewayStub, id: number) => {
  return toB.take('heartbeat', ({ log }) => log?.checkpoint === id)
}

void t.test('images that build on one another are absorbed, and the newest is restored', async t => {
  const { toA, toB, engineA, engineB } = await pair(t)
  await counted(toA, toB, 1)
  const second = await counted(toA, toB, 2)
  t.same(engineA.requests.slice(0, 2), [{ builds: false, periodMs: 20 }, { builds: true, periodMs: 20 }])
  t.same(engineB.absorbed, [{ stream: '1', index: 0 }, { stream: '1', index: 1 }])
  toA.close()
  toB.generation = 2
  toB.send({ type: 'promote', lastLsn: lsn(2), acceptLoss: false })
  t.match(await toB.take('promoted'), { checkpoint: second, mark: 2 })
  t.same(engineB.restored, { stream: '1', index: 1 })
})

/** A backup whose primary is the test's own, and the first checkpoint that does not count there. */
async function backup(t: Test) {
  const engine = new BuildingEngine()
  let tell: (line: object) => void = () => undefined
  const failed = new Promise<object>(resolve => { tell = resolve })
  const logger: Logger = {
    ...silentLogger, event: (event, fields) => { if (event === 'checkpoint.failed') tell(fields) }
  }
  const { stub, running } = await agent(t, 'b', engine, t.testdir({}), logger)
  stub.assign({ role: 'backup', durability: 'disk' })
  await stub.take('position')
  stub.history = historyA
  stub.send({ type: 'begin', firstLsn: lsn(1) })
  const peer = await GatewayStub.connect(running.port, 'b', 'a', 'agent')
  peer.history = historyA
  return { engine, failed, stub, peer }
}

void t.test('a stream that ends within an image: the one before it is restored', async t => {
  const { engine, failed, stub, peer } = await backup(t)
  const [first, second] = [checkpointId(1), checkpointId(2)]
  stub.epoch(1, [{ kind: RecordKind.mark, checkpoint: first }, { kind: RecordKind.mark, checkpoint: second }])
  const bytes = Buffer.from('{"stream":"1","index":0}\n')
  peer.send({ type: 'checkpoint-begin', checkpoint: first })
  peer.send({ type: 'checkpoint-data', checkpoint: first, bytes })
  const crc = outputHash(crc32(bytes))
  peer.send({ type: 'checkpoint-end', checkpoint: first, mark: lsn(1), bytes: bytes.length, crc })
  await counting(stub, first)

  // All that the engine would need of it; what is missing is the word that this was all.
  peer.send({ type: 'checkpoint-begin', checkpoint: second })
  const half = Buffer.from('{"stream":"1","index":1}')
  peer.send({ type: 'checkpoint-data', checkpoint: second, bytes: half })
  peer.close()
  t.match(await failed, { checkpoint: second, reason: 'the link to the primary is gone' })
  stub.generation = 2
  stub.send({ type: 'promote', lastLsn: lsn(2), acceptLoss: false })
  t.match(await stub.take('promoted'), { checkpoint: first, mark: 1 })
  t.same(engine.restored, { stream: '1', index: 0 })
  t.same(engine.absorbed, [{ stream: '1', index: 0 }], 'nothing of the torn one had reached the standby')
})

void t.test('a standby that is lost is told at once, and the next checkpoints make up for it', async t => {
  const { toA, toB, engineA, engineB } = await pair(t)
  const first = await counted(toA, toB, 1)
  await counting(toB, first)
  engineB.lose('the receiver ended')
  await counting(toB, 0)
  const second = await mark(toA, toB, 2)
  const failed = await toA.take('checkpoint-failed')
  t.match(failed, { checkpoint: second, reason: /does not follow/ })
  const third = await counted(toA, toB, 3)
  t.same(engineA.requests.map(({ builds }) => builds).slice(0, 3), [false, true, false])
  t.same(engineB.absorbed.at(-1), { stream: '3', index: 0 })
  await counting(toB, third)
})

void t.test('a promotion waits for an image that is being absorbed', async t => {
  const { toA, toB, engineB } = await pair(t)
  await counted(toA, toB, 1)
  let go: () => void = () => undefined
  const begun = new Promise<void>(taken => {
    engineB.taking = () => {
      taken()
      return new Promise<void>(resolve => { go = resolve })
    }
  })
  const second = await mark(toA, toB, 2)
  await begun
  toB.generation = 2
  const promoted = toB.take('promoted')
  toB.send({ type: 'promote', lastLsn: lsn(2), acceptLoss: false })
  await toB.take('heartbeat', ({ about }) => about.generation === 2)
  t.equal(engineB.restored, undefined)
  go()
  t.match(await promoted, { checkpoint: second })
})

void t.test('what was absorbed does not outlive the agent', async t => {
  const { dataDir, b, toA, toB } = await pair(t)
  await counted(toA, toB, 1)
  toA.close()
  const images = join(dataDir, 'b', guest, 'images')
  t.equal(readdirSync(images).filter(name => name.endsWith('.image')).length, 1)
  await b.stop()
  const { stub } = await agent(t, 'b', new BuildingEngine(), join(dataDir, 'b'))
  t.same(readdirSync(images), [])
  stub.assign({ role: 'backup', durability: 'disk' })
  t.match(await stub.take('position'), { lastLsn: 1, about: { history: historyA } }, 'the log is there')
  t.match(await stub.take('heartbeat', ({ about }) => about.history === historyA), {
    log: { lastLsn: 1, checkpoint: 0 }
  }, 'and no checkpoint')
})
