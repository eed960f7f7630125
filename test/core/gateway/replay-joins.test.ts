import t from 'tap'
import {
  adopt, connected, data, end, floor, guestEnd, open, read, reset
} from './log-text.ts'
import type { Rig } from './rig.ts'
import { failOver, guarded, serving, sync, protect, tail, tailEnd, withClient } from './scenes.ts'
import type { Pair } from './sides.ts'

/** A client that asked after the mark, and was answered. */
function asked(): { rig: Rig, pair: Pair } {
  const { rig, pair } = withClient()
  pair.client.says('question')
  rig.acks()
  pair.guest.says('answer')
  failOver(rig, 'attach')
  return { rig, pair }
}

void t.test('a connection unknown to the restored guest had finished inside the checkpoint', t => {
  const rig = guarded()
  failOver(rig, 'attach')
  rig.ordered()
  tail(rig, adopt(1, 0, 'answer'), data(1, 'INCR'), end(1))
  rig.knowsNot(1)
  tailEnd(rig)
  t.notOk(rig.waits('open 1'), 'what it did is done')
  t.equal(rig.state, 'unprotected')
  t.match(rig.gateway.lastFailover, { diverged: 0, reset: 0 })
  t.end()
})

void t.test('...and its client, if there is one, gets what was read of it, and is reset if it goes on', t => {
  const { rig, pair: { client } } = withClient()
  failOver(rig, 'attach')
  tail(rig, adopt(1, 0, ''))
  rig.knowsNot(1)
  t.same(client.told, ['<reset>'])
  tailEnd(rig)
  t.match(rig.gateway.lastFailover, { kept: 0, reset: 1, diverged: 0 })
  t.end()
})

void t.test('...but if more was read of it since, nobody knows what it would have said', t => {
  const { rig, pair: { client } } = asked()
  tail(rig, adopt(1, 0, ''), data(1, 'question'), read(1, 'answer'))
  rig.knowsNot(1)
  t.same(client.told, ['answer', '<reset>'])
  t.match(rig.reported('diverged'), [{ connection: 1, alive: true }])
  t.match(rig.gateway.diverged, /does not know it, though it had said more before/)
  t.end()
})

void t.test('...and then of what is held, only what was said before the checkpoint is given', t => {
  const rig = serving({ services: [{ name: 'shop', release: 'checkpoint' }] })
  const { client, guest } = rig.joins()
  sync(rig)
  protect(rig)
  guest.says('held')
  guest.says('late')
  failOver(rig, 'attach')
  tail(rig, adopt(1, 0, 'held'))
  rig.knowsNot(1)
  t.same(client.told, ['held', '<reset>'])
  t.end()
})

void t.test('a finished connection that said its end before the checkpoint ends so for its client', t => {
  const rig = serving({ services: [{ name: 'shop', release: 'checkpoint' }] })
  const { client, guest } = rig.joins()
  sync(rig)
  protect(rig)
  client.ends()
  guest.says('bye')
  guest.ends()
  t.same(client.told, [])
  rig.acks()
  failOver(rig, 'attach')
  tailEnd(rig)
  t.same(client.told, ['bye', '<end>'], 'it has no place in the tail: the guest was through with it')
  t.match(rig.gateway.lastFailover, { reset: 0 })
  t.same([...rig.gateway.dataPath.floors.lingering], [], 'and nobody will acknowledge its input')
  t.end()
})

void t.test('a connection opened after the mark is connected anew, and gets all of its input', t => {
  const rig = guarded()
  const { client, guest } = rig.joins()
  client.says('question')
  rig.acks()
  guest.says('answer')
  failOver(rig, 'attach')
  rig.ordered()
  tail(rig, open(1), connected(1), data(1, 'question'), read(1, 'answer'))
  t.same(rig.ordered().slice(0, 1), ['open 1'])
  const restored = rig.takes(1)
  t.same(restored.told, ['question'])
  restored.says('answer and more')
  tailEnd(rig)
  t.same(client.told, ['answer', ' and more'])
  t.match(rig.gateway.lastFailover, { kept: 1, diverged: 0 })
  t.end()
})

void t.test('one adopted before the guest had taken it is connected anew only if it was taken', t => {
  const rig = serving()
  const client = rig.comes()
  sync(rig)
  protect(rig)
  rig.takes(1)
  rig.acks()
  failOver(rig, 'attach')
  tail(rig, adopt(1, 0, '', false))
  rig.knowsNot(1)
  t.notOk(rig.waits('open 1'), 'the guest never knew it so far in the tail')
  tail(rig, connected(1))
  rig.takes(1).says('hello')
  tailEnd(rig)
  t.same(client.told, ['hello'])
  t.end()
})

void t.test('one that never came so far is not opened in the replay: its client dials again after it', t => {
  const rig = guarded()
  const client = rig.comes()
  rig.acks()
  failOver(rig, 'attach')
  rig.refuses(1, false)
  rig.ordered()
  tail(rig, open(1))
  t.same(rig.ordered(), ['b: tail-credit'])
  tailEnd(rig)
  t.equal(rig.state, 'unprotected')
  rig.takes(1).says('hello')
  t.same(client.told, ['hello'])
  t.end()
})

void t.test('one that is refused by a service that has taken another one diverges', t => {
  const rig = guarded()
  const [one, other] = [rig.joins(), rig.joins()]
  rig.acks()
  failOver(rig, 'attach')
  tail(rig, open(1), connected(1), open(2), connected(2))
  rig.takes(1)
  rig.refuses(2, true)
  t.same(other.client.told, ['<reset>'])
  t.match(rig.gateway.diverged, /the guest did not take it again: refused/)
  tailEnd(rig)
  t.same(one.client.told, [])
  t.match(rig.gateway.lastFailover, { kept: 1, reset: 1, diverged: 1 })
  t.end()
})

/** A connection of a client is to be opened anew in the restored guest. */
function openedAnew(): { rig: Rig, pair: Pair } {
  const rig = guarded()
  const pair = rig.joins()
  rig.acks()
  failOver(rig, 'attach')
  tail(rig, open(1), connected(1))
  return { rig, pair }
}

for (const refused of [false, true]) {
  const what = refused ? 'is refused, by a service that may not be there yet,' : 'was not answered'
  void t.test(`one whose dial ${what} is dialed again at the next tick`, t => {
    const { rig, pair: { client } } = openedAnew()
    tailEnd(rig)
    for (let dial = 1; dial <= 3; dial++) {
      rig.refuses(1, refused)
      t.notOk(rig.waits('open 1'), 'not before time has passed')
      rig.pass(100, 'b')
      t.ok(rig.waits('open 1'), `dial ${dial}`)
    }
    rig.takes(1).says('hello')
    t.same(client.told, ['hello'])
    t.equal(rig.gateway.diverged, undefined)
    t.match(rig.gateway.lastFailover, { kept: 1, reset: 0, diverged: 0 })
    t.end()
  })
}

void t.test('...and a service that has refused one for all that time is not asked for the next one', t => {
  const rig = guarded()
  const clients = [rig.joins(), rig.joins()].map(({ client }) => client)
  rig.acks()
  failOver(rig, 'attach')
  tail(rig, open(1), connected(1), open(2), connected(2))
  for (let ms = 0; ms < 1000; ms += 100) {
    rig.refuses(1, true)
    rig.pass(100, 'b')
  }
  t.same(clients[0]?.told, ['<reset>'], 'it had all the time of the replay')
  rig.refuses(2, true)
  t.same(clients[1]?.told, ['<reset>'], 'so the service has had it')
  tailEnd(rig)
  t.match(rig.gateway.lastFailover, { kept: 0, reset: 2, diverged: 2 })
  t.end()
})

void t.test('...until the time of the replay is up: then it diverges, and is dialed no more', t => {
  const { rig, pair: { client } } = openedAnew()
  rig.ordered()
  let dials = 0
  for (let ms = 0; ms <= 1500; ms += 100) {
    if (rig.waits('open 1')) {
      rig.refuses(1, false)
      dials++
    }
    t.equal(client.told.length > 0, ms >= 1000, `after ${ms} ms`)
    rig.pass(100, 'b')
  }
  t.equal(dials, 10)
  t.same(client.told, ['<reset>'])
  t.match(rig.gateway.diverged, /the guest did not take it again: no answer$/)
  tailEnd(rig)
  t.match(rig.gateway.lastFailover, { kept: 0, reset: 1, diverged: 1 })
  t.end()
})

void t.test('a connection that the guest took too late is reset', t => {
  const { rig, pair: { client } } = openedAnew()
  rig.pass(1100, 'b')
  t.match(rig.gateway.diverged, /the restored guest did not answer in time/)
  t.same(client.told, ['<reset>'])
  t.same(rig.takes(1).told, ['<reset>'])
  tailEnd(rig)
  t.match(rig.gateway.lastFailover, { kept: 0, diverged: 1 })
  t.end()
})

void t.test('...also one that the guest was asked about and knows', t => {
  const { rig, pair: { client } } = asked()
  tail(rig, adopt(1, 0, ''), read(1, 'answer'))
  rig.pass(1100, 'b')
  t.same(client.told, ['answer', '<reset>'])
  t.same(rig.knows(1, 0, 0).told, ['<reset>'])
  t.equal(rig.reported('diverged').length, 1)
  tailEnd(rig)
  t.match(rig.gateway.lastFailover, { kept: 0, diverged: 1 })
  t.end()
})

void t.test('each connection has the whole time for itself', t => {
  const rig = guarded()
  rig.joins()
  const { client } = rig.joins()
  rig.acks()
  failOver(rig, 'attach')
  tail(rig, open(1), connected(1), open(2), connected(2))
  rig.pass(900, 'b')
  rig.takes(1)
  rig.pass(900, 'b')
  t.same(client.told, [])
  rig.takes(2)
  tailEnd(rig)
  t.match(rig.gateway.lastFailover, { kept: 2, diverged: 0 })
  t.end()
})

void t.test('what a restored guest takes when the replay was given up is let go of without a word', t => {
  const { rig } = openedAnew()
  rig.linkDown('b')
  t.equal(rig.state, 'lost')
  t.same(rig.takes(1).told, ['<abandoned>'])
  t.end()
})

void t.test('a guest that cannot be asked leaves a connection ambiguous: reset, never replayed', t => {
  const { rig, pair: { client } } = asked()
  tail(rig, adopt(1, 0, ''), data(1, 'question'), read(1, 'answer'))
  rig.answer('attach 1', { ok: false, reason: 'no answer' })
  t.same(client.told, ['answer', '<reset>'])
  t.match(rig.gateway.diverged, /the restored guest could not be asked: no answer/)
  tailEnd(rig)
  t.match(rig.gateway.lastFailover, { kept: 0, reset: 1 })
  t.end()
})

void t.test('places at which a connection cannot be joined', t => {
  const cases: [string, [number, number, number], RegExp][] = [
    ['its input ends before the log begins', [3, 6, 6], /its input in the restored guest ends before/],
    ['its output begins beyond what was read', [4, 9, 7], /output for acknowledged that was never read/]
  ]
  for (const [name, [input, output, resumesAt], reason] of cases) {
    const { rig, pair: { client } } = asked()
    tail(rig, adopt(1, 4, ''), data(1, 'tion'))
    const restored = rig.knows(1, input, output, resumesAt)
    t.same(restored.told, ['<reset>'], name)
    t.same(client.told, ['answer', '<reset>'])
    t.match(rig.gateway.diverged, reason)
  }
  t.end()
})

void t.test('late words of a connection that had finished before the mark are passed over', t => {
  const rig = guarded()
  failOver(rig, 'attach')
  tail(rig, floor(9, 4), read(9, 'answer'), guestEnd(9, 6), connected(9), reset(9))
  tailEnd(rig)
  t.equal(rig.state, 'unprotected')
  t.end()
})

void t.test('input of a connection that the tail does not know stops the process', t => {
  const rig = guarded()
  failOver(rig, 'attach')
  t.throws(() => { tail(rig, data(9, 'question')) }, /belongs to a connection that came before it/)
  t.end()
})

void t.test('one that ends with its held output is waited for, if the guest lacks some of its input', t => {
  for (const [input, lingers] of [[4, []], [0, [1]]] as const) {
    const rig = serving({ services: [{ name: 'shop', release: 'checkpoint' }] })
    const { client, guest } = rig.joins()
    sync(rig)
    protect(rig)
    client.says('bye')
    client.ends()
    guest.says('ok')
    guest.ends()
    rig.acks()
    failOver(rig, 'attach')
    tail(rig, adopt(1, 0, 'ok'), data(1, 'bye'), end(1))
    t.same(client.told, [])
    const restored = rig.knows(1, input, 3, 3)
    restored.acknowledges = false
    t.same(client.told, ['ok', '<end>'])
    tailEnd(rig)
    t.same(restored.told, input === 0 ? ['bye', '<end>'] : [])
    t.equal(rig.gateway.dataPath.connections.size, 0)
    t.same([...rig.gateway.dataPath.floors.lingering].map(({ id }) => id), lingers)
  }
  t.end()
})

void t.test('many connections are asked about, so many at a time', t => {
  const rig = guarded()
  failOver(rig, 'attach')
  rig.ordered()
  tail(rig, ...Array.from({ length: 300 }, (_none, i) => adopt(i + 1, 0, '')))
  t.equal(rig.ordered().filter(order => order.startsWith('attach')).length, 256)
  for (let id = 1; id <= 44; id++) rig.knowsNot(id)
  t.equal(rig.ordered().filter(order => order.startsWith('attach')).length, 44)
  t.end()
})
