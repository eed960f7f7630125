import t, { type Test } from 'tap'
import { EmbeddedEngine, type EmbeddedEngineOptions } from '../../src/engine/embedded.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { DirectClient } from '../guest/direct-client.ts'
import type { Reply } from '../guest/replies.ts'
import { engineCompliance, inPieces, take } from './compliance.ts'

const loopback = { host: '127.0.0.1', ports: [0] }

function newEngine(t: Test, options: Partial<EmbeddedEngineOptions> = {}): EmbeddedEngine {
  const engine = new EmbeddedEngine({ ...loopback, ...options })
  t.teardown(() => engine.stop())
  return engine
}

async function once(engine: Engine, line: string): Promise<Reply> {
  const client = await DirectClient.open(engine.endpoints[0] ?? '')
  const reply = await client.ask(line)
  client.close()
  return reply
}

engineCompliance(t, {
  name: 'embedded',
  make: (t) => Promise.resolve(newEngine(t)),
  write: async (engine, value) => { await once(engine, `SET key ${value}`) },
  read: async (engine) => {
    const value = await once(engine, 'GET key')
    return typeof value === 'string' ? value : null
  },
  isOpen: (engine) => once(engine, 'PING').then(() => true, () => false),
  kill: (engine) => {
    if (engine instanceof EmbeddedEngine && engine.pid !== undefined) process.kill(engine.pid, 'SIGKILL')
  }
})

void t.test('while it stands still it answers nobody and time stands, and then it goes on', async (t) => {
  const engine = newEngine(t)
  await engine.start()
  const client = await DirectClient.open(engine.endpoints[0] ?? '')
  t.equal(await client.ask('SET a 1 PX 600000'), 'OK')
  const before = Number(await client.ask('PTTL a'))
  await take(engine, async () => {
    client.send('PTTL a')
    // The guest would need a fraction of a millisecond; it is given a thousand turns of this process.
    for (let turn = 0; turn < 1000; turn++) await new Promise((resolve) => setImmediate(resolve))
    t.equal(client.heard, 0)
  })
  const after = Number(await client.next())
  t.ok(after <= before)
  client.close()
})

void t.test('several services are several ports', async (t) => {
  const engine = newEngine(t, { ports: [0, 0] })
  await engine.start()
  t.equal(new Set(engine.endpoints).size, 2)
  for (const endpoint of engine.endpoints) {
    const client = await DirectClient.open(endpoint)
    t.equal(await client.ask('PING'), 'PONG')
    client.close()
  }
})

void t.test('kept ready: the guest is restored into a process that waits', async (t) => {
  const engine = newEngine(t)
  await engine.start()
  await engine.standBy()
  t.equal(engine.readyPid, undefined, 'none waits beside a guest')
  t.equal(await once(engine, 'SET key ready'), 'OK')
  const image = await take(engine)
  await engine.stop()
  await engine.standBy()
  t.equal(engine.condition, 'absent')
  const waiting = engine.readyPid ?? 0
  await engine.standBy()
  t.equal(engine.readyPid, waiting, 'a second one is not made')
  await engine.restore(inPieces(image))
  t.equal(engine.pid, waiting, 'it is the one that waited')
  t.equal(engine.readyPid, undefined)
  await engine.openNetwork()
  t.equal(await once(engine, 'GET key'), 'ready')
  await engine.stop()
  await engine.standBy()
  const unused = engine.readyPid ?? 0
  await engine.stop()
  t.throws(() => process.kill(unused, 0), { code: 'ESRCH' }, 'one that waits is stopped, too')
})

void t.test('one that waits and dies is made anew', async (t) => {
  const engine = newEngine(t)
  await engine.standBy()
  const died = engine.readyPid
  if (died === undefined) throw new Error('no process waits')
  process.kill(died, 'SIGKILL')
  while (engine.readyPid !== undefined) await new Promise((resolve) => setImmediate(resolve))
  t.equal(engine.condition, 'absent', 'that is no failure of a guest')
  await engine.start()
  t.not(engine.pid, died)
  t.equal(await once(engine, 'PING'), 'PONG')
})

void t.test('a port that is taken is E_ENGINE', async (t) => {
  const first = newEngine(t)
  await first.start()
  const port = Number(first.endpoints[0]?.split(':')[1])
  const second = newEngine(t, { ports: [port] })
  await t.rejects(second.start(), { code: 'E_ENGINE', message: /EADDRINUSE/ })
  t.equal(second.condition, 'absent')
  const image = await take(first)
  await t.rejects(second.restore(inPieces(image)), { code: 'E_ENGINE', message: /EADDRINUSE/ })
})

void t.test('an image of many pieces, with a slow consumer', async (t) => {
  const engine = newEngine(t)
  await engine.start()
  const value = 'v'.repeat(3 * 1024 * 1024)
  for (const name of ['a', 'b', 'c']) t.equal(await once(engine, `SET ${name} ${value}`), 'OK')
  let bytes = 0
  let pieces = 0
  for await (const piece of engine.checkpoint(() => Promise.resolve())) {
    pieces += 1
    bytes += piece.length
    if (pieces % 8 !== 0) continue
    t.equal(await once(engine, 'STRLEN a'), value.length, 'it runs while its image is taken')
  }
  t.ok(bytes > 3 * value.length)
})

void t.test('misbehaviour: it dies in the middle of a checkpoint', async (t) => {
  const engine = newEngine(t, { misbehave: { dieInCheckpoint: true } })
  await engine.start()
  const failed = new Promise<string>((resolve) => { engine.onFailure = resolve })
  await t.rejects(take(engine), { code: 'E_ENGINE', message: /ended by itself/ })
  t.match(await failed, /exit code 1/)
  t.equal(engine.condition, 'failed')
})

void t.test('misbehaviour: a checkpoint is never completed', async (t) => {
  const engine = newEngine(t, { misbehave: { hangInCheckpoint: true }, silenceMs: 200 })
  await engine.start()
  await t.rejects(take(engine), { code: 'E_ENGINE', message: /nothing of its image/ })
  t.equal(engine.condition, 'running')
  engine.misbehave({ hangInCheckpoint: false })
  t.equal(await once(engine, 'PING'), 'PONG')
  t.ok((await take(engine)).length > 0, 'the next one is whole')
})

void t.test('misbehaviour: it answers otherwise after a restore', async (t) => {
  const engine = newEngine(t, { misbehave: { skewAfterRestore: 'odd:' } })
  await engine.start()
  t.equal(await once(engine, 'INCR odd:a'), 1)
  const image = await take(engine)
  await engine.stop()
  await engine.restore(inPieces(image))
  await engine.openNetwork()
  t.equal(await once(engine, 'INCR odd:a'), 3)
  t.equal(await once(engine, 'INCR even:a'), 1)
})

void t.test('misbehaviour: it stalls until it is told otherwise', async (t) => {
  const engine = newEngine(t)
  await engine.start()
  const client = await DirectClient.open(engine.endpoints[0] ?? '')
  const id = Number(await client.ask('CLIENT ID'))
  engine.misbehave({ stall: [id] })
  await take(engine)
  client.send('PING')
  t.equal(await once(engine, 'ECHO other'), 'other', 'only this client is stalled')
  t.equal(client.heard, 0)
  engine.misbehave({ stall: [] })
  t.equal(await client.next(), 'PONG')
  client.close()
})

void t.test('a guest that does not stand still in time runs on, and is checkpointed later', async (t) => {
  const engine = newEngine(t, { silenceMs: 300 })
  await engine.start()
  const pid = engine.pid ?? 0
  process.kill(pid, 'SIGSTOP')
  await t.rejects(take(engine), { code: 'E_ENGINE', message: /did not stand still/ })
  process.kill(pid, 'SIGCONT')
  t.equal(await once(engine, 'PING'), 'PONG')
  t.ok((await take(engine)).length > 0)
})

void t.test('what a guest does not do, its engine does not wait for for ever', async (t) => {
  const engine = newEngine(t, { answerMs: 200 })
  const frozen = async (): Promise<void> => {
    await engine.standBy()
    process.kill(engine.readyPid ?? 0, 'SIGSTOP')
  }
  await frozen()
  await t.rejects(engine.start(), { code: 'E_ENGINE', message: /did not answer 'start'/ })
  t.equal(engine.condition, 'absent')
  await frozen()
  const image = inPieces(Buffer.alloc(8 << 20))
  await t.rejects(engine.restore(image), { code: 'E_ENGINE', message: /has made no headway/ })
  t.equal(engine.condition, 'absent')
})
