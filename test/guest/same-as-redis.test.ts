import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, watch } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { requires } from '../requires.ts'
import { Desk, newApplication } from './desk.ts'
import { encodeCommand, ReplyReader, type Reply } from './replies.ts'

const key = fc.constantFrom('a', 'b', 'c', 'd')
const member = fc.constantFrom('x', 'y', 'z', '', '7', '-3')
const index = fc.integer({ min: -5, max: 5 }).map(String)
const oddNumber = fc.constantFrom(
  '1', '-1', '0', '007', '9223372036854775807', '-9223372036854775808', '1.5', 'x', ''
)
/** Of two like ones the millisecond in which each was said decides which ends later: few come twice. */
const longTime = fc.integer({ min: 300, max: 1_000_000_000 }).map(String)
const pattern = fc.constantFrom('*', 'a', '[a-b]', '?', '[^a]', '\\a', 'x*')

/** A command of its name and arguments; one place in twelve has an argument too few or too many. */
function of(name: string, ...args: fc.Arbitrary<string>[]): fc.Arbitrary<string[]> {
  return fc.tuple(fc.nat(11), ...args).map(([odd, ...rest]) =>
    odd === 0 ? [name, ...rest.slice(1)] : odd === 1 ? [name, ...rest, 'extra'] : [name, ...rest])
}

const word = (...words: string[]): fc.Arbitrary<string> => fc.constantFrom(...words)

const commands = fc.oneof(
  of('SET', key, member), of('SET', key, oddNumber),
  of('SET', key, member, word('NX', 'XX', 'GET', 'KEEPTTL', 'BAD')),
  of('GET', key), of('GETSET', key, member), of('GETDEL', key), of('SETNX', key, member), of('STRLEN', key),
  of('APPEND', key, member), of('INCR', key), of('DECR', key), of('INCRBY', key, oddNumber),
  of('DECRBY', key, oddNumber),
  of('GETRANGE', key, index, index), of('SETRANGE', key, index, member), of('MGET', key, key),
  of('MSET', key, member, key, member),
  of('MSETNX', key, member, key, member), of('SETEX', key, oddNumber, member),
  of('DEL', key, key), of('EXISTS', key, key), of('TYPE', key), of('RENAME', key, key),
  of('RENAMENX', key, key), of('DBSIZE'),
  of('KEYS', pattern), of('TTL', key), of('PERSIST', key), of('EXPIRE', key, word('1000', '-1', 'x')),
  of('EXPIRE', key, word('2000', '500'), word('NX', 'XX', 'LT', 'BAD')),
  of('EXPIRE', key, longTime, word('GT')),
  of('LPUSH', key, member, member), of('RPUSH', key, member), of('LPUSHX', key, member),
  of('RPUSHX', key, member), of('LPOP', key),
  of('RPOP', key), of('LPOP', key, index), of('LLEN', key), of('LRANGE', key, index, index),
  of('LINDEX', key, index),
  of('LSET', key, index, member), of('LREM', key, index, member), of('LTRIM', key, index, index),
  of('RPOPLPUSH', key, key),
  of('LINSERT', key, word('BEFORE', 'AFTER', 'BAD'), member, member),
  of('LMOVE', key, key, word('LEFT', 'right'), word('LEFT', 'X')),
  of('HSET', key, member, member), of('HMSET', key, member, member), of('HSETNX', key, member, member),
  of('HGET', key, member),
  of('HMGET', key, member, member), of('HDEL', key, member), of('HEXISTS', key, member), of('HLEN', key),
  of('HSTRLEN', key, member),
  of('HGETALL', key), of('HKEYS', key), of('HVALS', key), of('HINCRBY', key, member, oddNumber),
  of('SADD', key, member, member), of('SREM', key, member), of('SCARD', key), of('SISMEMBER', key, member),
  of('SMISMEMBER', key, member, member), of('SMEMBERS', key), of('SINTER', key, key), of('SUNION', key, key),
  of('SDIFF', key, key),
  of('MULTI'), of('EXEC'), of('DISCARD'), of('WATCH', key), of('UNWATCH'), of('ECHO', member), of('PING'),
  of('SELECT', oddNumber),
  of('NOSUCH', key), of('FLUSHALL')
)

/** Collections without an order of their own are compared sorted. */
const unordered = new Set(['KEYS', 'SMEMBERS', 'SINTER', 'SUNION', 'SDIFF', 'HGETALL', 'HKEYS', 'HVALS'])

function plain(reply: Reply | undefined): unknown {
  if (reply instanceof Error) return `-${reply.message}`
  return Array.isArray(reply) ? reply.map(plain) : reply
}

function comparable(name: string, reply: Reply | undefined): unknown {
  const value = plain(reply)
  return unordered.has(name) && Array.isArray(value)
    ? value.map((one) => JSON.stringify(one)).toSorted()
    : value
}

/** The replies to a script; those of a transaction each as its own command's. */
function comparableReplies(script: readonly string[][], replies: readonly Reply[]): unknown[] {
  let queued: string[] = []
  return script.map(([name = ''], place) => {
    const reply = replies[place]
    if (reply === 'QUEUED') queued.push(name)
    if (name === 'MULTI' && reply === 'OK') queued = []
    if (name !== 'EXEC' || !Array.isArray(reply)) return comparable(name, reply)
    return reply.map((one, index) => comparable(queued[index] ?? '', one))
  })
}

/** Sends every command to a real server and returns its replies. */
async function askServer(path: string, script: readonly string[][]): Promise<Reply[]> {
  const socket = connect(path)
  const reader = new ReplyReader()
  const replies: Reply[] = []
  socket.write(Buffer.concat(script.map(encodeCommand)))
  for await (const bytes of socket) {
    replies.push(...reader.feed(bytes as Buffer))
    if (replies.length >= script.length) break
  }
  socket.destroy()
  return replies
}

async function until(directory: string, path: string): Promise<void> {
  const watcher = watch(directory)
  if (!existsSync(path)) await once(watcher, 'change')
  watcher.close()
}

void t.test('a random script has the same replies from Redis and from the guest', async (t) => {
  const program = requires(t, 'redis-server')
  if (program === undefined) return
  const directory = mkdtempSync(join(tmpdir(), 'guest-redis-'))
  const path = join(directory, 'socket')
  const options = ['--port', '0', '--unixsocket', path, '--save', '', '--dir', directory, '--databases', '1']
  const server = spawn(program, options, { stdio: 'ignore' })
  t.teardown(async () => {
    server.kill('SIGKILL')
    await once(server, 'close')
    rmSync(directory, { recursive: true })
  })
  await until(directory, path)
  await fc.assert(fc.asyncProperty(fc.array(commands, { minLength: 50, maxLength: 300 }), async (random) => {
    const script = [['FLUSHALL'], ...random]
    const desk = new Desk(newApplication())
    const ours = script.flatMap((args) => desk.send(args))
    const [wantedReplies, foundReplies] = [await askServer(path, script), ours]
      .map((replies) => comparableReplies(script, replies))
    for (const [place, args] of script.entries()) {
      const [wanted, found] = [wantedReplies?.[place], foundReplies?.[place]]
      if (JSON.stringify(wanted) === JSON.stringify(found)) continue
      const [command, theirReply, ourReply] = [args, wanted, found].map((one) => JSON.stringify(one))
      throw new Error(`${command}: Redis ${theirReply}, guest ${ourReply}`)
    }
  }), { numRuns: 60 })
  t.pass('60 scripts')
})
