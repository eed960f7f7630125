import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { AgentConfig } from '../../src/config/types.ts'
import { agentConfig, startAgent } from './agents.ts'
import { BuildingEngine } from './building-engine.ts'
import { GatewayStub, guest } from './gateway-stub.ts'

// What becomes of a guest that runs when an agent starts, or cannot.

/** An engine that finds its guest running; what is done to that is counted. */
class FindingEngine extends BuildingEngine {
  readonly done = { prepare: 0, stop: 0, release: 0 }

  prepare(): Promise<void> {
    this.done.prepare++
    this.condition = 'running'
    return Promise.resolve()
  }

  override stop(): Promise<void> {
    this.done.stop++
    return super.stop()
  }

  release(): Promise<void> {
    this.done.release++
    return Promise.resolve()
  }
}

const start = (t: Test, config: AgentConfig, engine: FindingEngine) =>
  startAgent(t, config, { engines: new Map([[guest, engine]]) })

/** A port of loopback that somebody listens on. */
async function takenPort(t: Test): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.close() })
  return (server.address() as AddressInfo).port
}

/** A port of loopback that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

void t.test('a second agent of one data directory is refused, and touches no guest', async t => {
  const dataDir = t.testdir({})
  const [first, second] = [new FindingEngine(), new FindingEngine()]
  const running = await start(t, agentConfig('a', dataDir), first)
  const refused = start(t, agentConfig('a', dataDir), second)
  await t.rejects(refused, { code: 'E_STATE', message: /another agent has the data directory/ })
  t.same(second.done, { prepare: 0, stop: 0, release: 0 })
  t.same(first.done, { prepare: 1, stop: 0, release: 0 })
  await running.stop()
  await start(t, agentConfig('a', dataDir), second)
  t.equal(second.done.prepare, 1, 'the next one may have it')
})

for (const taken of ['link', 'metrics'] as const) {
  void t.test(`an agent whose ${taken} address is taken touches no guest`, async t => {
    const dataDir = t.testdir({})
    const address = { host: '127.0.0.1', port: await takenPort(t) }
    const engine = new FindingEngine()
    const some = taken === 'link' ? { link: address } : { metrics: address }
    const refused = start(t, agentConfig('a', dataDir, some), engine)
    await t.rejects(refused, { code: 'E_LISTEN' })
    t.same(engine.done, { prepare: 0, stop: 0, release: 0 })
    await start(t, agentConfig('a', dataDir), engine)
    t.equal(engine.done.prepare, 1, 'nothing is left of the first try')
  })
}

void t.test('a guest that was found runs on when another one cannot be opened', async t => {
  const dataDir = t.testdir({ other: { 'state.json': 'nothing of ours' } })
  const found = new FindingEngine()
  const both = agentConfig('a', dataDir).guests.flatMap(config => [config, { ...config, name: 'other' }])
  await t.rejects(start(t, agentConfig('a', dataDir, { guests: both }), found), { code: 'E_STATE' })
  t.same(found.done, { prepare: 1, stop: 0, release: 1 })
})

void t.test('a guest that cannot be taken up is let go of', async t => {
  const engine = new FindingEngine()
  engine.prepare = () => Promise.reject(new Error('there is no bridge'))
  await t.rejects(start(t, agentConfig('a', t.testdir({})), engine), { message: 'there is no bridge' })
  t.same(engine.done, { prepare: 0, stop: 0, release: 1 })
})

void t.test('a gateway that comes before the guests are open is cut off, and comes again', async t => {
  const link = { host: '127.0.0.1', port: await freePort() }
  const engine = new FindingEngine()
  engine.prepare = async () => {
    await t.rejects(GatewayStub.connect(link.port, 'a'), { code: 'E_LINK_LOST' })
  }
  await start(t, agentConfig('a', join(t.testdir({}), 'a'), { link }), engine)
  const stub = await GatewayStub.connect(link.port, 'a')
  t.teardown(() => { stub.close() })
  stub.assign({ role: 'idle' })
  t.ok(await stub.take('guest'))
})
