import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { quietPort } from '../blackbox/ports.ts'
import { Program } from '../blackbox/program.ts'
import { requires } from '../requires.ts'
import { kinds } from './figures.ts'
import { RedisLoad, wrongResets } from './redis-load.ts'

// The load that judges failovers of a real Redis finds nothing wrong where nothing is, and every kind of lie.

const workers = Object.fromEntries(kinds.map((kind) => [kind, 2]))

async function startRedis(t: Test): Promise<number | undefined> {
  const server = requires(t, 'redis-server')
  if (server === undefined) return undefined
  const port = await quietPort()
  const directory = mkdtempSync(join(tmpdir(), 'tailgate-redis-load-'))
  const redis = new Program(t, server, ['--port', String(port), '--bind', '127.0.0.1', '--save', '',
    '--dir', directory, '--loglevel', 'notice'])
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  await redis.says(/Ready to accept connections/)
  return port
}

/** Passes bytes on to `port`, replies as `alter` makes them; undefined resets the connection. */
async function liar(t: Test, port: number, alter: (reply: string) => string | undefined): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const redis = connect(port, '127.0.0.1')
    for (const socket of [client, redis]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
    }
    client.on('data', (bytes: Buffer) => redis.write(bytes))
    redis.on('data', (bytes: Buffer) => {
      const altered = alter(bytes.toString('latin1'))
      if (altered === undefined) client.resetAndDestroy()
      else client.write(altered, 'latin1')
    })
    client.on('close', () => redis.destroy())
    redis.on('close', () => client.destroy())
  })
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', () => { resolve() }) })
  return (server.address() as AddressInfo).port
}

/** Lies once, when `matches` is seen for the tenth time. */
function once(matches: RegExp, lie: (reply: string) => string | undefined) {
  let seen = 0
  return (reply: string): string | undefined => matches.test(reply) && ++seen === 10 ? lie(reply) : reply
}

void t.test('a real Redis answers everything rightly', async (t) => {
  const port = await startRedis(t)
  if (port === undefined) return
  const load = RedisLoad.start(t, { host: '127.0.0.1', port, prefix: 'clean', workers })
  const before = (await load.heard()).answered
  t.ok((await load.answers(200)).answered >= before + 200)
  const figures = await load.finish()
  t.same(figures.wrong, [])
  t.equal(wrongResets(figures), 0)
})

const lies = {
  'a counter that went up twice': {
    kind: 'pipelined', of: once(/^:\d+/, (reply) => reply.replace(/\d+/, '0'))
  },
  'a counter that several share, told twice': {
    kind: 'shared', of: once(/^:\d+/, (reply) => reply.replace(/\d+/, '1'))
  },
  'a pushed value that comes twice': { kind: 'blocking', of: once(/^\*2/, (reply) => reply + reply) },
  'a message that is another': {
    kind: 'published', of: once(/message/, (reply) => reply.replace(/\d+\r\n$/, '0\r\n'))
  },
  'half a transaction': { kind: 'transactions', of: once(/\*2/, (reply) => reply.replace(/:\d+/, ':0')) }
} as const

for (const [name, { kind, of }] of Object.entries(lies)) {
  void t.test(`it finds ${name}`, async (t) => {
    const port = await startRedis(t)
    if (port === undefined) return
    const load = RedisLoad.start(t, {
      host: '127.0.0.1', port: await liar(t, port, of), prefix: 'lied', workers: { [kind]: 3 }
    })
    for (let round = 0; round < 6; round++) await load.heard()
    t.ok((await load.finish()).wrongCount > 0)
  })
}

void t.test('it counts connections that are reset, by their kind', async (t) => {
  const port = await startRedis(t)
  if (port === undefined) return
  const front = await liar(t, port, once(/^:\d+/, () => undefined))
  const load = RedisLoad.start(t, {
    host: '127.0.0.1', port: front, prefix: 'reset', workers: { pipelined: 3 }
  })
  for (let round = 0; round < 6; round++) await load.heard()
  t.equal(wrongResets(await load.figures()), 1)
})
