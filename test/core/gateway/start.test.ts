import t from 'tap'
import { generation } from '../../../src/core/ids.ts'
import { a, first, host, Rig } from './rig.ts'
import { serving, started } from './scenes.ts'

void t.test('a gateway with a state asks nobody, and never boots a guest that ran', t => {
  const rig = started()
  rig.linkUp('b')
  t.same(rig.ordered(), [], 'the backup has its time')
  rig.linkUp('a')
  t.same(rig.ordered(), ['a: assign primary'])
  t.match(rig.messages('assign'), [{ boot: false, served: false, about: { generation: 1 } }])
  t.end()
})

void t.test('a guest that ran before is served as soon as it runs', t => {
  const rig = started()
  rig.linkUp('a')
  rig.comes()
  rig.ordered()
  rig.running('a')
  t.same(rig.ordered(), ['openPath a:80', 'open 1'])
  t.equal(rig.state, 'unprotected')
  t.end()
})

/** A guest that has never run, which its host has just started. */
function startedNew(): Rig {
  const rig = new Rig()
  rig.gateway.start({ ...first, started: false })
  rig.answer('persist')
  rig.ordered()
  rig.persisted = []
  rig.linkUp('a')
  rig.beat('a', { condition: 'absent' })
  rig.comes()
  rig.running('a')
  return rig
}

void t.test('no client is served before it is durable that the guest has started', t => {
  const rig = startedNew()
  t.same(rig.ordered(), ['a: assign primary', 'openPath a:80', 'persist 1 a'])
  t.match(rig.persisted, [{ generation: 1, active: a, started: true }])
  rig.answer('persist')
  t.same(rig.ordered(), ['open 1'])
  rig.linkDown('a')
  rig.linkUp('a')
  t.match(rig.messages('assign').at(-1), { boot: false }, 'and it is never booted again')
  t.end()
})

void t.test('a guest that is lost before that is not served when it is durable', t => {
  const rig = startedNew()
  rig.from('a', { type: 'guest', condition: 'failed', endpoints: [], reason: 'it crashed' })
  rig.pass(100)
  t.equal(rig.state, 'lost')
  rig.ordered()
  rig.answer('persist')
  t.equal(rig.state, 'lost')
  t.same(rig.ordered(), [])
  t.end()
})

void t.test('a guest that ran, and is not there any more, is lost', t => {
  const rig = started()
  rig.linkUp('a')
  rig.from('a', { type: 'guest', condition: 'absent', endpoints: [], reason: '' })
  t.equal(rig.state, 'lost')
  t.equal(rig.reason, 'the guest does not run on a')
  t.throws(() => rig.comes(), /turned away/)
  t.end()
})

void t.test('a guest that could not be booted says why, and may be booted yet', t => {
  const rig = new Rig()
  rig.gateway.start({ ...first, started: false })
  rig.answer('persist')
  rig.ordered()
  rig.persisted = []
  rig.linkUp('a')
  rig.from('a', { type: 'guest', condition: 'absent', endpoints: [], reason: 'no disk' })
  t.equal(rig.state, 'unprotected')
  t.equal(rig.reason, 'the guest does not run on a: no disk')
  rig.comes()
  rig.running('a')
  rig.answer('persist')
  t.ok(rig.waits('open 1'))
  t.end()
})

void t.test('a primary is told that its guest is served only once it is', t => {
  const rig = started()
  rig.linkUp('a')
  t.match(rig.messages('assign').at(-1), { role: 'primary', served: false }, 'the guest was not heard of')
  rig.running('a')
  rig.linkDown('a')
  rig.linkUp('a')
  t.match(rig.messages('assign').at(-1), { role: 'primary', served: true }, 'a link that comes back')
  rig.linkDown('a')
  rig.pass(1000)
  t.equal(rig.state, 'lost')
  rig.linkUp('a')
  t.match(rig.messages('assign').at(-1), { role: 'primary', served: false }, 'a lost guest is not served')
  t.end()
})

void t.test('a guest without hosts is proxied from the start, and nothing of it is held', t => {
  const rig = new Rig({ hosts: [] })
  rig.gateway.start(undefined)
  const { client, guest } = rig.joins()
  client.says('question')
  guest.says('answer')
  t.same(guest.told, ['question'])
  t.same(client.told, ['answer'])
  rig.pass(1000)
  t.equal(rig.state, 'unprotected')
  t.same(rig.messages('epoch'), [])
  t.end()
})

void t.test('a lone host is served, and says that it has no second', t => {
  const rig = serving({ hosts: [host('a')] })
  t.equal(rig.reason, 'it has no second host')
  const { leaseMs } = rig.messages('assign')[0] ?? {}
  t.equal(leaseMs, 0, 'nobody could take over, so its path never shuts')
  t.end()
})

void t.test('clients that are too many are turned away', t => {
  const rig = serving({ connections: 2 })
  rig.joins()
  const { client } = rig.joins()
  t.throws(() => rig.comes(), /turned away/)
  client.resets()
  t.doesNotThrow(() => rig.comes())
  t.end()
})

void t.test('a message of an older generation is reported, and does nothing', t => {
  const rig = serving()
  rig.from('a', { type: 'guest', condition: 'failed', endpoints: [], reason: '' },
    { generation: generation(0) })
  t.match(rig.reported('stale-message'), [{ host: a, generation: 0 }])
  rig.pass(100, 'a')
  t.equal(rig.state, 'unprotected')
  t.end()
})
