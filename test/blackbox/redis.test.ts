import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { requires } from '../requires.ts'
import { Front, modes, replicated, type Behind } from './front.ts'
import { quietPort } from './ports.ts'
import { Program, run } from './program.ts'

// An ordinary Redis, driven by its own tools, behaves behind the gateway as it does without it.

/** One line of `tailgate log dump --json`. */
interface Record {
  readonly kind: string
  readonly bytes?: number
}

async function startRedis(t: Test, server: string): Promise<Behind> {
  const port = await quietPort()
  const directory = mkdtempSync(join(tmpdir(), 'tailgate-redis-'))
  const redis = new Program(t, server, ['--port', String(port), '--bind', '127.0.0.1', '--save', '',
    '--dir', directory, '--loglevel', 'notice'])
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  await redis.says(/Ready to accept connections/)
  return { ports: [port], pids: [redis.pid] }
}

for (const mode of modes) {
  void t.test(`redis, ${mode}`, async (t) => {
    const server = requires(t, 'redis-server')
    const cli = requires(t, 'redis-cli')
    const benchmark = requires(t, 'redis-benchmark')
    if (server === undefined || cli === undefined || benchmark === undefined) return
    const front = await Front.start(t, mode, await startRedis(t, server))
    const port = ['-p', String(front.port)]

    const said = await run(t, cli, port, 'SET a 1\nINCR a\nLPUSH l x y z\nLRANGE l 0 -1\nNOSUCH\nGET a\n')
    t.equal(said.status, 0)
    t.match(said.out, /^OK\n2\n3\nz\ny\nx\nERR unknown command 'NOSUCH'.*\n+2\n$/)

    const bench = await run(t, benchmark,
      [...port, '-c', '20', '-n', '4000', '-P', '10', '-t', 'incr,set,lpush', '-q', '-d', '100'])
    t.equal(bench.status, 0)
    t.notMatch(bench.out + bench.error, /error|ERR/i)
    const counter = await run(t, cli, [...port, 'GET', 'counter:__rand_int__'])
    t.equal(counter.out.trim(), '4000', 'each INCR was done exactly once')
    const list = await run(t, cli, [...port, 'LLEN', 'mylist'])
    t.equal(list.out.trim(), '4000', 'and each LPUSH')

    const big = 'x'.repeat(4 << 20)
    t.equal((await run(t, cli, [...port, '-x', 'SET', 'big'], big)).out.trim(), 'OK')
    t.equal((await run(t, cli, [...port, 'GET', 'big'])).out.length, big.length + 1)

    if (mode === 'direct') return
    const taken = (await front.metrics()).sum('tailgate_connections_accepted_total')
    await front.settled(t, taken)
    const codes = new Set(front.ends.map(({ end }) => end))
    t.ok([...codes].every((code) => ['C-', 'CD', 'CL'].includes(code)), `ends: ${[...codes].join(' ')}`)
    t.equal(front.events.filter(({ event }) => event === 'limit.reached').length, 0)
    // The benchmark waits for the answers to ten requests before it sends the next ten.
    if (replicated.has(mode)) t.ok((await front.guest()).positions.committedLsn > 3 * 4000 / 10)
  })
}

void t.test('the log on the disk of the backup holds the input, byte for byte in number', async (t) => {
  const server = requires(t, 'redis-server')
  const cli = requires(t, 'redis-cli')
  if (server === undefined || cli === undefined) return
  const front = await Front.start(t, 'epoch', await startRedis(t, server), { durability: 'disk' })
  for (let i = 0; i < 5; i++) {
    const set = await run(t, cli, ['-p', String(front.port), '-x', 'SET', `k${i}`], 'v'.repeat(50_000))
    t.equal(set.status, 0)
  }
  await front.settled(t, 5)
  const log = join(front.directory, 'host-b', 'box', 'log-disk')
  const dump = await front.tailgate('log', 'dump', log, '--json')
  t.equal(dump.status, 0, dump.error)
  const records = dump.out.trim().split('\n').map((line) => JSON.parse(line) as Record)
  const data = records.filter(({ kind }) => kind === 'DATA')
  const bytes = data.reduce((sum, record) => sum + (record.bytes ?? 0), 0)
  t.equal(bytes, front.ends.reduce((sum, { inputBytes }) => sum + inputBytes, 0))
  t.equal(records.filter(({ kind }) => kind === 'OPEN').length, 5)
  t.match((await front.tailgate('log', 'verify', log)).out, /^sound: /)
})
