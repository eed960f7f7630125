import t, { type Test } from 'tap'
import { Desk, newApplication } from './desk.ts'
import type { Reply } from './replies.ts'

const wrongType = '-WRONGTYPE Operation against a key holding the wrong kind of value'

/** Runs lines on one application and compares every reply. */
function script(t: Test, lines: readonly (readonly [string, Reply])[]): void {
  const desk = new Desk(newApplication())
  for (const [line, expected] of lines) t.strictSame(desk.ask(line), expected, line)
  t.end()
}

void t.test('strings and counters', (t) => script(t, [
  ['SET a 1', 'OK'], ['GET a', '1'], ['GET b', null], ['INCR a', 2], ['INCRBY a 40', 42], ['DECR a', 41],
  ['DECRBY a 50', -9], ['APPEND a 9', 3], ['INCR a', -98], ['STRLEN a', 3], ['SETNX a 2', 0],
  ['SETNX c x', 1],
  ['INCR c', '-ERR value is not an integer or out of range'], ['SET a 5 XX GET', '-98'], ['SET z 5 XX', null],
  ['SET a 6 NX', null], ['SET a 7 EX 0', '-ERR invalid expire time in \'set\' command'],
  ['SET a 7 NX XX', '-ERR syntax error'], ['MSET m1 1 m2 2', 'OK'], ['MGET m1 nix m2', ['1', null, '2']],
  ['MSETNX m2 3 m3 3', 0], ['MSETNX m3 3 m4 4', 1], ['GETSET m1 one', '1'], ['GETDEL m1', 'one'],
  ['EXISTS m1 m2 m2', 2],
  ['SETRANGE r 3 abc', 6], ['GET r', '\0\0\0abc'], ['GETRANGE r -3 -2', 'ab'], ['GETRANGE r 5 1', ''],
  ['SET big 9223372036854775806', 'OK'], ['INCR big', 9223372036854775807],
  ['INCR big', '-ERR increment or decrement would overflow'], ['SET lead 01', 'OK'],
  ['INCR lead', '-ERR value is not an integer or out of range'],
  ['GET', '-ERR wrong number of arguments for \'get\' command'],
  ['NOPE a b', '-ERR unknown command \'NOPE\', with args beginning with: \'a\' \'b\' ']
]))

void t.test('lists', (t) => script(t, [
  ['RPUSH l a b c', 3], ['LPUSH l z', 4], ['LRANGE l 0 -1', ['z', 'a', 'b', 'c']], ['LINDEX l -1', 'c'],
  ['LPOP l', 'z'], ['RPOP l 2', ['c', 'b']], ['LLEN l', 1], ['LPUSHX none x', 0], ['LSET l 0 q', 'OK'],
  ['LSET l 5 q', '-ERR index out of range'], ['GET l', wrongType], ['RPUSH l x q y q', 5], ['LREM l 2 q', 2],
  ['LINSERT l BEFORE y w', 4], ['LRANGE l 0 -1', ['x', 'w', 'y', 'q']], ['LTRIM l 1 2', 'OK'],
  ['RPOPLPUSH l m', 'y'], ['LMOVE m l LEFT LEFT', 'y'], ['EXISTS m', 0], ['LPOP l 9', ['y', 'w']],
  ['TYPE l', 'none'],
  ['LPOP l 1', null], ['BLPOP nope l 0.01 x', '-ERR timeout is not a float or out of range']
]))

void t.test('hashes and sets', (t) => script(t, [
  ['HSET h a 1 b 2', 2], ['HSET h a 3', 0], ['HGET h a', '3'], ['HMGET h a x', ['3', null]],
  ['HGETALL h', ['a', '3', 'b', '2']],
  ['HINCRBY h a 4', 7], ['HDEL h a x', 1], ['HLEN h', 1], ['HSETNX h b 9', 0], ['HEXISTS h b', 1],
  ['HDEL h b', 1], ['TYPE h', 'none'],
  ['HSET h a', '-ERR wrong number of arguments for \'hset\' command'],
  ['SADD s a b c a', 3], ['SISMEMBER s b', 1], ['SREM s a x', 1], ['SCARD s', 2], ['SMEMBERS s', ['c', 'b']],
  ['SADD u c d', 2],
  ['SINTER s u', ['c']], ['SDIFF s u', ['b']], ['SUNION s u', ['c', 'b', 'd']], ['HGET s a', wrongType],
  ['SPOP s 5', ['c', 'b']], ['EXISTS s', 0]
]))

void t.test('keys', (t) => script(t, [
  ['MSET user:1 a user:2 b other c', 'OK'], ['KEYS user:*', ['user:1', 'user:2']], ['DBSIZE', 3],
  ['KEYS [^u]*', ['other']], ['SCAN 0 MATCH user:? COUNT 1', ['0', ['user:1', 'user:2']]],
  ['RENAME other o2', 'OK'],
  ['RENAME nope x', '-ERR no such key'], ['RENAMENX o2 user:1', 0], ['EXPIRE user:1 100', 1],
  ['TTL user:1', 100],
  ['TTL user:2', -1], ['TTL none', -2], ['EXPIRE user:1 50 GT', 0], ['EXPIRE user:1 50 LT', 1],
  ['PERSIST user:1', 1],
  ['PERSIST user:1', 0], ['EXPIRE user:1 -1', 1], ['EXISTS user:1', 0], ['SELECT 0', 'OK'],
  ['SELECT 1', '-ERR DB index is out of range'], ['FLUSHALL', 'OK'], ['DBSIZE', 0], ['RANDOMKEY', null]
]))

void t.test('expiry follows the guest\'s clock', (t) => {
  const app = newApplication()
  const desk = new Desk(app)
  app.clock.stand()
  desk.ask('SET a 1 PX 100')
  const start = app.clock.now()
  const later = (ms: number): void => { app.clock.set(start + ms); app.clock.stand() }
  later(50)
  t.equal(desk.ask('PTTL a'), 50)
  later(100)
  t.equal(desk.ask('DBSIZE'), 0, 'gone when its time has come')
  t.equal(desk.ask('GET a'), null)
  desk.ask('SET b 1 PX 100')
  desk.ask('SET b 2 KEEPTTL')
  t.equal(desk.ask('PTTL b'), 100)
  desk.ask('SET b 3')
  t.equal(desk.ask('TTL b'), -1)
  desk.ask('SET c 1 PX 10')
  later(200)
  app.store.sweep()
  t.equal(app.store.expiryOf('c'), undefined, 'the sweep has removed it')
  t.end()
})

void t.test('transactions', (t) => {
  const app = newApplication()
  const [one, two] = [new Desk(app, 1), new Desk(app, 2)]
  t.equal(one.ask('EXEC'), '-ERR EXEC without MULTI')
  t.equal(one.ask('WATCH k'), 'OK')
  t.equal(one.ask('MULTI'), 'OK')
  t.equal(one.ask('INCR k'), 'QUEUED')
  t.strictSame(one.ask('EXEC'), [1])
  one.ask('WATCH k')
  two.ask('INCR k')
  one.ask('MULTI')
  one.ask('INCR k')
  t.equal(one.ask('EXEC'), null, 'the watched key has changed')
  one.ask('WATCH k')
  one.ask('UNWATCH')
  two.ask('INCR k')
  one.ask('MULTI')
  one.ask('LPUSH k x')
  one.ask('INCR k')
  const replies = one.ask('EXEC')
  t.match(replies, [Error, 4], 'a failing command undoes nothing')
  one.ask('MULTI')
  t.match(one.ask('NOPE'), /unknown command/)
  t.match(one.ask('EXEC'), /EXECABORT/)
  one.ask('MULTI')
  t.equal(one.ask('DISCARD'), 'OK')
  t.equal(one.ask('GET k'), '4')
  t.end()
})

void t.test('publish and subscribe', (t) => {
  const app = newApplication()
  const [one, two] = [new Desk(app, 1), new Desk(app, 2)]
  t.strictSame(one.say('SUBSCRIBE a b'), [['subscribe', 'a', 1], ['subscribe', 'b', 2]])
  t.strictSame(one.say('PSUBSCRIBE n*'), [['psubscribe', 'n*', 3]])
  t.match(one.ask('GET k'), /only \(P\|S\)SUBSCRIBE/)
  t.strictSame(one.ask('PING'), ['pong', ''])
  t.equal(two.ask('PUBLISH a hi'), 1)
  t.equal(two.ask('PUBLISH news x'), 1)
  t.strictSame(one.heard(), [['message', 'a', 'hi'], ['pmessage', 'n*', 'news', 'x']])
  t.ok(one.changes > 0)
  t.strictSame(two.ask('PUBSUB NUMSUB a z'), ['a', 1, 'z', 0])
  t.strictSame(one.say('UNSUBSCRIBE'), [['unsubscribe', 'a', 2], ['unsubscribe', 'b', 1]])
  t.strictSame(one.say('PUNSUBSCRIBE n*'), [['punsubscribe', 'n*', 0]])
  t.equal(one.ask('GET k'), null)
  one.say('SUBSCRIBE a')
  app.leave(one.session)
  t.equal(two.ask('PUBLISH a hi'), 0)
  t.end()
})

void t.test('blocking pops are served in order, time out, and do not block in a transaction', (t) => {
  const app = newApplication()
  const [one, two, three] = [new Desk(app, 1), new Desk(app, 2), new Desk(app, 3)]
  t.strictSame(one.say('BLPOP q 0'), [])
  t.strictSame(two.say('BRPOP other q 1'), [])
  t.equal(three.ask('RPUSH q a b c'), 3)
  t.strictSame(one.heard(), [['q', 'a']])
  t.strictSame(two.heard(), [['q', 'c']])
  t.strictSame(three.ask('LRANGE q 0 -1'), ['b'])
  t.strictSame(one.say('BLPOP nothing 1'), [])
  app.clock.set(app.clock.now() + 2000)
  app.tick()
  t.strictSame(one.heard(), [null])
  one.ask('MULTI')
  one.ask('BLPOP nothing 0')
  t.strictSame(one.ask('EXEC'), [null])
  t.equal(one.session.blocked, undefined)
  t.end()
})

void t.test('RESP3', (t) => {
  const app = newApplication()
  const desk = new Desk(app, 7)
  t.equal(desk.ask('HELLO 4'), '-NOPROTO unsupported protocol version')
  const hello = desk.ask('HELLO 3 SETNAME me')
  t.ok(hello instanceof Map && hello.get('proto') === 3 && hello.get('id') === 7)
  t.equal(desk.ask('CLIENT GETNAME'), 'me')
  desk.ask('HSET h a 1')
  t.strictSame(desk.ask('HGETALL h'), new Map([['a', '1']]))
  desk.ask('SADD s a')
  t.strictSame(desk.ask('SMEMBERS s'), new Set(['a']))
  t.strictSame(desk.say('SUBSCRIBE c'), [['subscribe', 'c', 1]])
  t.equal(desk.ask('GET none'), null, 'a RESP3 client with subscriptions may do everything')
  t.equal(desk.ask('RESET'), 'RESET')
  t.equal(desk.session.out.protocol, 2)
  t.end()
})

void t.test('what clients ask before they begin', (t) => {
  const desk = new Desk(newApplication(), 9)
  t.equal(desk.ask('CLIENT SETINFO LIB-NAME x'), 'OK')
  t.equal(desk.ask('CLIENT ID'), 9)
  t.strictSame(desk.ask('CONFIG GET save'), ['save', ''])
  t.match(desk.ask('INFO'), /redis_version:7/)
  t.ok(Number(desk.ask('COMMAND COUNT')) > 90)
  t.strictSame(desk.ask('COMMAND DOCS get'), [])
  t.match(desk.ask('AUTH x'), /without any password/)
  t.equal(desk.ask('QUIT'), 'OK')
  t.ok(desk.session.ending)
  t.end()
})

void t.test('killing a client', (t) => {
  const app = newApplication()
  const [one, two] = [new Desk(app, 1), new Desk(app, 2)]
  t.equal(one.ask('CLIENT KILL ID 2'), 1)
  t.ok(two.wasReset)
  t.equal(one.ask('CLIENT KILL ID 55'), 0)
  t.equal(one.ask('CLIENT KILL ID 1'), 1)
  t.ok(one.session.ending, 'oneself is answered first')
  t.end()
})
