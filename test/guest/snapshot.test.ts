import { serialize } from 'node:v8'
import fc from 'fast-check'
import t from 'tap'
import { Session } from '../../src/guest/session.ts'
import { decodeImage, encodeImage } from '../../src/guest/snapshot.ts'
import { Desk, newApplication } from './desk.ts'
import type { Application } from '../../src/guest/application.ts'

/** What a restored guest makes of an application and its clients. */
function moved(app: Application, desks: readonly Desk[]): { app: Application, desks: Desk[] } {
  const state = { application: app.capture(desks.map((desk) => desk.session)), streams: [] }
  const sessions = structuredClone(desks.map((desk) => desk.session.capture()))
  const found = decodeImage(Buffer.concat(encodeImage(state, 1000)))
  const fresh = newApplication()
  const freshDesks = sessions.map((session) => {
    const desk = new Desk(fresh, session.id)
    desk.session.restore(session)
    return desk
  })
  fresh.restore(found.application, freshDesks.map((desk) => desk.session))
  return { app: fresh, desks: freshDesks }
}

const key = fc.constantFrom('a', 'b', 'c')
const ofKey = fc.constantFrom(
  'INCR', 'GET', 'LPOP', 'SPOP', 'HGETALL', 'SMEMBERS', 'SRANDMEMBER', 'DEL', 'WATCH'
)
const ofKeyAndText = fc.constantFrom('SET', 'LPUSH', 'RPUSH', 'SADD', 'PUBLISH', 'SUBSCRIBE', 'APPEND')
const line = fc.oneof(
  fc.tuple(ofKey, key).map((words) => words.join(' ')),
  fc.tuple(ofKeyAndText, key, fc.constantFrom('1', '2', 'x')).map((words) => words.join(' ')),
  fc.tuple(key, fc.constantFrom('f', 'g')).map(([k, f]) => `HSET ${k} ${f} 1`),
  fc.constantFrom('MULTI', 'EXEC', 'DISCARD', 'RANDOMKEY', 'KEYS *', 'UNSUBSCRIBE', 'BLPOP a b 0'),
  fc.constantFrom('HELLO 3', 'HELLO 2', 'DBSIZE')
)
const step = fc.tuple(fc.nat(2), line)

function run(desks: readonly Desk[], steps: readonly (readonly [number, string])[]): unknown[] {
  const heard: unknown[] = []
  for (const [who, what] of steps) {
    const desk = desks[who]
    if (desk === undefined || desk.session.blocked !== undefined) continue
    desk.send(what.split(' ')).forEach((reply) => heard.push([who, what, reply]))
    desks.forEach((other, place) => heard.push([place, other.heard()]))
  }
  return heard
}

void t.test('a restored application answers as the first one would have', (t) => {
  const steps = fc.array(step, { maxLength: 40 })
  fc.assert(fc.property(steps, steps, (before, after) => {
    const app = newApplication()
    app.clock.stand()
    const desks = [new Desk(app, 1), new Desk(app, 2), new Desk(app, 3)]
    run(desks, before)
    const copy = moved(app, desks)
    t.strictSame(run(copy.desks, after), run(desks, after))
    t.strictSame(copy.app.random.state, app.random.state)
  }), { numRuns: 300 })
  t.end()
})

void t.test('time goes on from the snapshot, and expiry with it', (t) => {
  const app = newApplication()
  const desk = new Desk(app)
  app.clock.set(1_000_000)
  app.clock.stand()
  desk.ask('SET a 1 PX 500')
  const copy = moved(app, [desk])
  copy.app.clock.stand()
  t.ok(Math.abs(copy.app.clock.now() - 1_000_000) < 400, 'the clock goes on where it stood')
  t.ok(Number(copy.desks[0]?.ask('PTTL a')) > 100)
  t.end()
})

void t.test('an image that is not whole is E_IMAGE', (t) => {
  const app = newApplication()
  new Desk(app).ask('SET a 1')
  const image = Buffer.concat(encodeImage({ application: app.capture([]), streams: [] }, 100))
  t.equal(decodeImage(image).application.store.entries.length, 1)
  for (let length = 0; length < image.length; length++) {
    t.throws(() => decodeImage(image.subarray(0, length)), { code: 'E_IMAGE' })
  }
  for (let at = 0; at < image.length; at++) {
    const damaged = Buffer.from(image)
    damaged[at] = (damaged[at] ?? 0) ^ 0x40
    t.throws(() => decodeImage(damaged), { code: 'E_IMAGE' })
  }
  t.throws(() => decodeImage(Buffer.concat([image, Buffer.of(0)])), { code: 'E_IMAGE' })
  t.throws(() => decodeImage(serialize('no image')), { code: 'E_IMAGE' })
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    t.throws(() => decodeImage(Buffer.from(bytes)), { code: 'E_IMAGE' })
  }))
  t.end()
})

void t.test('a session that is not in the snapshot leaves no trace', (t) => {
  const app = newApplication()
  const [kept, plain] = [new Desk(app, 1), new Desk(app, 2)]
  plain.say('SUBSCRIBE c')
  kept.say('SUBSCRIBE c')
  const copy = moved(app, [kept])
  const asker = new Desk(copy.app, 3)
  t.equal(asker.ask('PUBLISH c x'), 1)
  t.ok(copy.desks[0]?.session instanceof Session)
  t.end()
})
