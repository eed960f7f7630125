import t from 'tap'
import { failOver, guarded, serving, sync, withClient } from './scenes.ts'

void t.test('a client is not read before the guest has taken its connection', t => {
  const rig = serving()
  const client = rig.comes()
  t.ok(client.paused)
  const guest = rig.takes(1)
  t.notOk(client.paused)
  t.notOk(guest.paused)
  t.end()
})

void t.test('a connection is logged before it is dialed, and again when it is taken', t => {
  const rig = guarded()
  rig.comes()
  rig.acks()
  t.same(rig.logged().slice(-1), ['open 1'])
  rig.takes(1)
  t.same(rig.logged(), ['connected 1'])
  t.end()
})

void t.test('a guest that refuses is believed', t => {
  const rig = guarded()
  const client = rig.comes()
  rig.refuses(1, true)
  t.same(client.told, ['<reset>'])
  rig.acks()
  t.same(rig.logged().slice(-2), ['open 1', 'guest reset 1 at 0'])
  t.match(rig.reported('connection-end'), [{ ending: 'guest-refused' }])
  t.end()
})

void t.test('one that does not answer is dialed again at each tick, but not without end', t => {
  const rig = guarded()
  const client = rig.comes()
  for (let i = 0; i < 100; i++) {
    rig.refuses(1, false)
    t.notOk(rig.waits('open 1'))
    rig.pass(100, 'a', 'b')
  }
  t.same(client.told, [])
  rig.refuses(1, false)
  t.same(client.told, ['<reset>'])
  t.end()
})

void t.test('a guest that takes a connection whose client is gone is told so', t => {
  const rig = guarded()
  const client = rig.comes()
  client.resets()
  const guest = rig.takes(1)
  t.same(guest.told, ['<reset>'])
  rig.acks()
  t.same(rig.logged().slice(-2), ['open 1', 'reset 1'])
  t.end()
})

void t.test('a client that ended before the guest took it is passed on in order', t => {
  const rig = guarded()
  const client = rig.comes()
  client.ends()
  const guest = rig.takes(1)
  t.same(guest.told, ['<end>'])
  rig.acks()
  t.same(rig.logged().slice(-3), ['open 1', 'connected 1', 'end 1'])
  t.end()
})

void t.test('each direction ends by itself, and the connection with the second of them', t => {
  const rig = serving()
  const { client, guest } = rig.joins()
  client.says('question')
  client.ends()
  guest.says('answer')
  t.equal(rig.gateway.dataPath.connections.size, 1)
  guest.ends()
  t.same(guest.told, ['question', '<end>'])
  t.same(client.told, ['answer', '<end>'])
  t.match(rig.reported('connection-end'), [{ ending: 'finished' }])
  t.end()
})

void t.test('a guest that ends first still takes what its client says', t => {
  const rig = serving()
  const { client, guest } = rig.joins()
  guest.says('banner')
  guest.ends()
  client.says('more')
  client.ends()
  t.same(guest.told, ['more', '<end>'])
  t.same(client.told, ['banner', '<end>'])
  t.match(rig.reported('connection-end'), [{ ending: 'finished' }])
  t.end()
})

void t.test('who comes during a failover waits for its end, and is in no log before', t => {
  const rig = guarded()
  failOver(rig, 'persist')
  const before = rig.gateway.writer.lastLsn
  const client = rig.comes()
  t.notOk(rig.waits('open 1'))
  t.equal(rig.gateway.writer.lastLsn, before)
  t.ok(client.paused)
  client.resets()
  t.equal(rig.gateway.dataPath.connections.size, 1, 'its going is noted when the guest is back')
  t.end()
})

void t.test('a dial that is answered during a failover leads nowhere', t => {
  const rig = guarded()
  const client = rig.comes()
  failOver(rig, 'drain')
  const guest = rig.takes(1)
  t.same(guest.told, ['<reset>'])
  t.same(client.told, [])
  t.ok(client.paused)
  t.end()
})

void t.test('a finished connection that its guest resets afterwards resets nobody', t => {
  const { rig, pair: { client, guest } } = withClient()
  guest.ends()
  client.ends()
  rig.acks()
  t.same(client.told, ['<end>'])
  guest.resets()
  rig.acks()
  t.same(client.told, ['<end>'])
  t.same(rig.logged().slice(-1), ['guest reset 1 at 1'])
  t.end()
})

void t.test('input in pieces of any size is logged whole, as it was', t => {
  const rig = serving()
  const { client, guest } = rig.joins()
  sync(rig)
  client.says('abc')
  client.says('')
  client.says('d'.repeat(2_500_000))
  rig.acks()
  const input = rig.logged().filter(line => line.startsWith('data')).map(line => line.slice('data 1 '.length))
  t.equal(input.join(''), 'abc' + 'd'.repeat(2_500_000))
  t.equal(guest.told.join(''), input.join(''))
  t.end()
})
