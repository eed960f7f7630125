import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { EmbeddedEngine } from '../../src/engine/embedded.ts'
import { DirectClient, untilRefused } from '../guest/direct-client.ts'
import { take } from './compliance.ts'

/** An agent in a process of its own, and where its guest listens. */
async function agent(t: Test, leaseMs: number): Promise<{ child: ChildProcess, endpoint: string }> {
  const program = fileURLToPath(new URL('orphan-agent.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, program, String(leaseMs)], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [line] = await once(child.stdout ?? child, 'data') as [Buffer]
  return { child, endpoint: line.toString().trim() }
}

async function running(t: Test): Promise<{ engine: EmbeddedEngine, endpoint: string, client: DirectClient }> {
  const engine = new EmbeddedEngine({ host: '127.0.0.1', ports: [0] })
  t.teardown(() => engine.stop())
  await engine.start()
  const endpoint = engine.endpoints[0] ?? ''
  return { engine, endpoint, client: await DirectClient.open(endpoint) }
}

void t.test('a lease that runs out stops every byte, and a new one lets them flow on', async (t) => {
  const { engine, endpoint, client } = await running(t)
  t.equal(await client.ask('SET a 1'), 'OK')
  engine.renewLease(0)
  // A checkpoint is an order of the same channel: when it is there, the lease has arrived.
  await take(engine)
  client.send('INCR a')
  const late = await DirectClient.open(endpoint)
  late.send('GET a')
  await take(engine)
  t.equal(engine.condition, 'running', 'the guest itself lives')
  t.equal(client.heard + late.heard, 0, 'nobody is answered')
  engine.renewLease(60_000)
  t.equal(await client.next(), 2, 'the same connection goes on')
  t.match(await late.next(), /^[12]$/, 'whoever came meanwhile is served')
  for (const one of [client, late]) one.close()
})

void t.test('a lease that is renewed does not run out', async (t) => {
  const { engine, client } = await running(t)
  const start = performance.now()
  const replies = new Set<unknown>()
  while (performance.now() - start < 2500) {
    engine.renewLease(1500)
    replies.add(await client.ask('PING'))
  }
  t.strictSame([...replies], ['PONG'])
  client.close()
})

void t.test('a lease that ran out while the guest stood still or was stopped lets no byte out', async (t) => {
  const { engine, client } = await running(t)
  t.equal(await client.ask('PING'), 'PONG')
  engine.renewLease(100)
  const pid = engine.pid ?? 0
  process.kill(pid, 'SIGSTOP')
  client.send('INCR a')
  await leaseIsOver(100)
  process.kill(pid, 'SIGCONT')
  await take(engine)
  t.equal(client.heard, 0)
  engine.renewLease(60_000)
  t.equal(await client.next(), 1, 'once it is renewed, nothing of before is lost')
  client.close()
})

void t.test('a lease renewed while the guest stands still is known when it runs on', async (t) => {
  const { engine, client } = await running(t)
  engine.renewLease(150)
  await take(engine, async () => {
    await leaseIsOver(150)
    engine.renewLease(60_000)
  })
  t.equal(await client.ask('PING'), 'PONG')
  client.close()
})

void t.test('an orphan without a lease ends at once', async (t) => {
  const { child, endpoint } = await agent(t, 0)
  const client = await DirectClient.open(endpoint)
  t.equal(await client.ask('PING'), 'PONG')
  child.kill('SIGKILL')
  await client.closed
  await untilRefused(endpoint)
})

void t.test('an orphan goes on to the end of its lease, and then ends', async (t) => {
  const { child, endpoint } = await agent(t, 1500)
  const client = await DirectClient.open(endpoint)
  child.kill('SIGKILL')
  await once(child, 'close')
  t.equal(await client.ask('PING'), 'PONG', 'its lease has not run out')
  await client.closed
  await untilRefused(endpoint)
})

/**
 * A lease is a length of time, and nothing tells of its end while the guest cannot: it is waited for by the
 * clock.
 */
function leaseIsOver(leaseMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(() => { resolve() }, leaseMs * 2)
  })
}
