import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { createClient } from 'redis'
import t from 'tap'
import { EmbeddedEngine } from '../../src/engine/embedded.ts'
import { requires } from '../requires.ts'

const run = promisify(execFile)
const engine = new EmbeddedEngine({ host: '127.0.0.1', ports: [0] })
t.teardown(() => engine.stop())
const started = engine.start()

async function port(): Promise<string> {
  await started
  return engine.endpoints[0]?.split(':')[1] ?? ''
}

void t.test('redis-cli, in both versions of the protocol', async (t) => {
  const program = requires(t, 'redis-cli')
  if (program === undefined) return
  const cli = async (...args: string[]): Promise<string> => {
    const { stdout } = await run(program, ['-p', await port(), ...args])
    return stdout
  }
  t.equal(await cli('set', 'cli', 'a b'), 'OK\n')
  t.equal(await cli('get', 'cli'), 'a b\n')
  t.match(await cli('info'), /redis_version:7/)
  t.match(await cli('--scan', '--pattern', 'cl*'), /cli/)
  await cli('hset', 'cli:h', 'f', '1')
  t.match(await cli('-3', 'hgetall', 'cli:h'), /f.*1/s)
  t.match(await cli('nosuch'), /unknown command/)
})

void t.test('redis-benchmark', async (t) => {
  const program = requires(t, 'redis-benchmark')
  if (program === undefined) return
  const tests = 'ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,lrange,mset'
  const args = ['-p', await port(), '-t', tests, '-n', '600', '-c', '20', '-P', '4', '--csv']
  const { stdout, stderr } = await run(program, args)
  const names = stdout.trim().split('\n').slice(1).map((line) => line.split(',')[0] ?? '')
  t.equal(stderr, '')
  t.equal(names.length, 18, names.join(' '))
})

void t.test('the npm redis client', async (t) => {
  for (const RESP of [2, 3] as const) {
    const url = `redis://127.0.0.1:${await port()}`
    const client = createClient({ url, RESP, name: 'tester' })
    const listener = client.duplicate()
    const failures: unknown[] = []
    for (const one of [client, listener]) one.on('error', (error) => failures.push(error))
    await client.connect()
    await listener.connect()
    await client.flushAll()
    t.equal(await client.ping(), 'PONG')
    t.equal(await client.clientGetName(), 'tester')
    t.equal(await client.set('a', '1', { expiration: { type: 'EX', value: 100 } }), 'OK')
    t.equal(await client.incrBy('a', 41), 42)
    t.equal(await client.ttl('a'), 100)
    t.equal(await client.hSet('h', { x: '1', y: '2' }), 2)
    t.strictSame({ ...await client.hGetAll('h') }, { x: '1', y: '2' })
    t.strictSame(await client.rPush('l', ['a', 'b']), 2)
    t.strictSame(await client.lRange('l', 0, -1), ['a', 'b'])
    t.strictSame(await client.sAdd('s', ['m']), 1)
    t.strictSame(await client.sMembers('s'), ['m'])
    t.strictSame(await client.multi().incr('a').get('a').exec(), [43, '43'])
    t.strictSame(await Promise.all(Array.from({ length: 500 }, () => client.incr('n'))),
      Array.from({ length: 500 }, (_, n) => n + 1))
    const keys: string[] = []
    for await (const page of client.scanIterator()) keys.push(...page)
    t.strictSame(keys.toSorted(), ['a', 'h', 'l', 'n', 's'])
    let hear: (message: string) => void = () => undefined
    const heard = new Promise<string>((resolve) => { hear = resolve })
    await listener.subscribe('news', (message) => hear(message))
    await client.publish('news', 'hello')
    t.equal(await heard, 'hello')
    await t.rejects(client.lPush('a', 'x'), /WRONGTYPE/)
    await listener.unsubscribe()
    await listener.close()
    await client.close()
    t.same(failures, [])
  }
})
