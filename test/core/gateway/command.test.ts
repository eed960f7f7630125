import t from 'tap'
import { gatewayId, generation, noGateway, noHistory } from '../../../src/core/ids.ts'
import { a, b, first, gatewayX, host, Rig } from './rig.ts'
import { failOver, guarded, serving, started, sync, syncing, withClient } from './scenes.ts'

const three = { hosts: [host('a'), host('b'), host('c')] }

/** An agent's answer to being asked or assigned, with what it knows. */
function answers(rig: Rig, name: string, known: number, condition: 'running' | 'absent'): void {
  rig.from(name, { type: 'guest', condition, endpoints: [`${name}:80`], reason: '' },
    { generation: generation(known), history: noHistory })
}

/** ...and that it did nothing. */
function refuses(rig: Rig, name: string, known: number): void {
  rig.from(name, { type: 'stale' }, { generation: generation(known), history: noHistory })
}

/** A gateway without a state, linked to its agents. */
function asking(settings: ConstructorParameters<typeof Rig>[0] = {}): Rig {
  const rig = new Rig(settings)
  rig.gateway.start(undefined)
  for (const { name } of rig.gateway.hosts.all()) rig.linkUp(name)
  return rig
}

/** One that has claimed generation 2, which is on its disk. */
function claiming(settings: ConstructorParameters<typeof Rig>[0] = {}): Rig {
  const rig = asking(settings)
  for (const { name } of rig.gateway.hosts.all()) answers(rig, name, 1, name === a ? 'running' : 'absent')
  rig.answer('persist')
  return rig
}

const aside = /another gateway is in charge/

void t.test('a gateway without a state asks every agent before it decides', t => {
  const rig = asking()
  t.same(rig.ordered(), ['a: assign idle', 'b: assign idle'])
  t.match(rig.messages('assign'), [{ boot: false, gateway: noGateway, about: { generation: 0 } }, {}])
  answers(rig, 'a', 0, 'absent')
  rig.pass(1000, 'a')
  t.same(rig.ordered(), [], 'one answer is not enough, however long it takes')
  answers(rig, 'b', 0, 'absent')
  t.same(rig.ordered(), ['persist 1 a'])
  t.same(rig.persisted, [{
    generation: 1, active: a, started: false, claiming: true, gateway: gatewayX, incarnation: 1
  }])
  t.end()
})

void t.test('a guest that nobody knows boots on the first host, once all others know the generation', t => {
  const rig = asking()
  for (const name of ['a', 'b']) answers(rig, name, 0, 'absent')
  rig.ordered()
  rig.answer('persist')
  t.same(rig.ordered(), ['b: assign idle'])
  t.equal(rig.reason, 'taking command: waiting for the agent on b')
  answers(rig, 'b', 1, 'absent')
  t.same(rig.ordered(), ['a: assign primary'])
  t.match(rig.messages('assign').at(-1), {
    boot: true, served: false, gateway: gatewayX, incarnation: 1, about: { generation: 1 }
  })
  t.match(rig.persisted.at(-1), { claiming: true })
  rig.beat('a', { condition: 'absent' })
  t.match(rig.persisted.at(-1), { claiming: false }, 'all know of it')
  t.end()
})

void t.test('a lone host has nobody who would have to know', t => {
  const rig = asking({ hosts: [host('a')] })
  answers(rig, 'a', 0, 'absent')
  t.match(rig.persisted, [{ claiming: false }])
  rig.answer('persist')
  t.equal(rig.ordered().at(-1), 'a: assign primary')
  t.end()
})

void t.test('a gateway that lost its state claims the next generation, and keeps the guest', t => {
  const rig = asking()
  refuses(rig, 'a', 2)
  answers(rig, 'a', 2, 'absent')
  answers(rig, 'b', 3, 'running')
  t.match(rig.persisted, [{ generation: 4, active: b, started: true }])
  rig.ordered()
  rig.answer('persist')
  t.same(rig.ordered(), ['a: assign idle'], 'whoever could be promoted learns of it first')
  t.match(rig.messages('assign').at(-1), { about: { generation: 4 } })
  answers(rig, 'a', 3, 'absent')
  t.notOk(rig.waits('persist'), 'a late answer to the question')
  answers(rig, 'a', 4, 'absent')
  t.equal(rig.ordered().at(-1), 'b: assign primary')
  t.match(rig.messages('assign').at(-1), { boot: false, served: false, about: { generation: 4 } })
  answers(rig, 'b', 4, 'running')
  t.equal(rig.reason, 'no backup is linked')
  t.end()
})

void t.test('...and asks again while nobody of the newest generation runs it', t => {
  const rig = asking()
  answers(rig, 'a', 2, 'running')
  answers(rig, 'b', 3, 'absent')
  t.same(rig.persisted, [], 'a guest of an older generation is not the one')
  t.notOk(rig.gateway.active)
  rig.ordered()
  rig.pass(400)
  t.same(rig.ordered(), ['a: assign idle', 'b: assign idle'])
  answers(rig, 'b', 3, 'running')
  t.same(rig.persisted, [], 'what the other one said is old')
  answers(rig, 'a', 2, 'running')
  t.match(rig.persisted, [{ generation: 4, active: b, started: true }])
  t.end()
})

void t.test('of the other hosts every one has to know, and whoever comes later is told then', t => {
  const rig = claiming(three)
  answers(rig, 'b', 2, 'absent')
  rig.linkDown('c')
  rig.linkDown('a')
  rig.ordered()
  rig.linkUp('a')
  t.same(rig.ordered(), [], 'the guest is not touched yet')
  rig.linkUp('c')
  t.same(rig.ordered(), ['c: assign idle'])
  t.same(rig.gateway.requestFailover(true, rig.now), {
    accepted: false, reason: 'taking command: waiting for the agent on c'
  })
  answers(rig, 'c', 2, 'absent')
  t.equal(rig.ordered().at(-1), 'a: assign primary')
  t.end()
})

void t.test('of two that claim the same generation one stands aside before it touches the guest', t => {
  const rig = claiming()
  rig.ordered()
  refuses(rig, 'b', 2)
  t.equal(rig.state, 'lost')
  t.match(rig.reason, aside)
  answers(rig, 'b', 2, 'absent')
  rig.linkDown('a')
  rig.linkUp('a')
  rig.pass(1000)
  t.same(rig.ordered(), [], 'for good')
  t.end()
})

void t.test('a claim that was not finished is finished by the next life', t => {
  const rig = new Rig()
  rig.gateway.start({ ...first, generation: generation(2), claiming: true })
  rig.answer('persist')
  rig.ordered()
  rig.linkUp('a')
  rig.linkUp('b')
  t.same(rig.ordered(), ['b: assign idle'])
  answers(rig, 'b', 2, 'absent')
  t.equal(rig.ordered().at(-1), 'a: assign primary')
  t.match(rig.messages('assign').at(-1), { incarnation: 2 })
  t.end()
})

void t.test('until the active host has answered, its lease is not one that runs out here', t => {
  const rig = claiming()
  answers(rig, 'b', 2, 'absent')
  rig.pass(60_000, 'b')
  t.same(rig.gateway.requestFailover(true, rig.now), { accepted: true })
  rig.pass(60_000, 'b')
  t.equal(rig.gateway.failover?.phase, 'fence', 'the gateway of before may grant it another')
  t.match(rig.blocked, /its lease is not known here; make sure that a is off, then run: tailgate failover/)
  rig.gateway.requestFailover(true, rig.now)
  t.ok(rig.waits('cutPath'), 'the operator vouches')
  const heard = claiming()
  answers(heard, 'b', 2, 'absent')
  heard.beat('a')
  heard.running('a')
  heard.pass(60_000, 'b')
  heard.gateway.requestFailover(true, heard.now)
  t.ok(heard.waits('cutPath'), 'one that has answered has no other gateway any more')
  t.end()
})

void t.test('each life has its number on disk before anybody hears of it', t => {
  const rig = new Rig()
  rig.gateway.start(first)
  rig.linkUp('a')
  t.same(rig.ordered(), ['persist 1 a'])
  t.same(rig.persisted, [{ ...first, incarnation: 2 }])
  rig.answer('persist')
  t.same(rig.ordered(), ['a: assign primary'])
  t.match(rig.messages('assign'), [{ gateway: gatewayX, incarnation: 2, about: { generation: 1 } }])
  t.end()
})

void t.test('a state that names no gateway is given a name', t => {
  const rig = new Rig()
  rig.gateway.start({ ...first, gateway: noGateway, incarnation: 0 })
  t.match(rig.persisted, [{ gateway: gatewayX, incarnation: 1 }])
  const named = new Rig()
  named.gateway.start({ ...first, gateway: gatewayId('3333333333333333') })
  t.match(named.persisted, [{ gateway: '3333333333333333', incarnation: 2 }])
  t.end()
})

void t.test('an agent that knows a newer generation ends what this gateway does', t => {
  const rig = serving()
  const { client, guest } = rig.joins()
  rig.linkUp('b')
  refuses(rig, 'b', 5)
  t.equal(rig.state, 'lost')
  t.match(rig.reason, /b knows generation 5, this gateway 1: another gateway is in charge/)
  t.same(client.told, ['<reset>'], 'nobody is left hanging')
  t.same(guest.told, ['<reset>'])
  t.throws(() => rig.comes(), /turned away/)
  t.same(rig.gateway.requestFailover(true, rig.now), { accepted: false, reason: rig.reason })
  t.end()
})

void t.test('...and so does the active host when it obeys another gateway', t => {
  const { rig, pair: { client, guest } } = withClient()
  client.says('question')
  guest.says('answer')
  refuses(rig, 'a', 1)
  answers(rig, 'a', 1, 'running')
  t.equal(rig.state, 'lost')
  t.match(rig.reason, /a obeys another one in generation 1: another gateway is in charge/)
  t.same(client.told, ['<reset>'], 'what was held is not told any more')
  t.equal(rig.gateway.dataPath.heldBytes, 0)
  rig.beat('a')
  t.equal(rig.state, 'lost', 'whatever is heard of it')
  t.end()
})

void t.test('a failover ends when its host turns out to obey another gateway', t => {
  const rig = guarded()
  failOver(rig, 'persist')
  refuses(rig, 'b', 1)
  t.equal(rig.state, 'lost')
  t.match(rig.reason, /b obeys another gateway/)
  const late = guarded()
  failOver(late, 'restore')
  refuses(late, 'b', 2)
  t.match(late.reason, aside)
  t.end()
})

void t.test('a host that obeys another gateway is no backup, and the guest is served on', t => {
  const rig = serving(three)
  const { client, guest } = rig.joins()
  rig.linkUp('b')
  rig.linkUp('c')
  rig.ordered()
  refuses(rig, 'b', 1)
  t.same(rig.ordered(), ['c: assign backup'], 'another one is')
  refuses(rig, 'c', 1)
  t.equal(rig.state, 'unprotected')
  t.match(rig.reason, /c obeys another gateway in this generation; make sure .* start this one again/)
  client.says('question')
  guest.says('answer')
  t.same([guest.told, client.told], [['question'], ['answer']])
  rig.linkDown('b')
  rig.linkUp('b')
  t.same(rig.ordered(), ['b: assign backup'], 'a link that comes back may be of an agent that forgot')
  t.end()
})

void t.test('one that did when its link came back ends the history', t => {
  const rig = syncing()
  rig.linkDown('b')
  rig.linkUp('b')
  refuses(rig, 'b', 1)
  t.equal(rig.state, 'unprotected')
  t.match(rig.reason, /b obeys another gateway/)
  t.notOk(rig.gateway.writer.running)
  const stalling = started({ onLinkLoss: 'stall' })
  stalling.linkUp('a')
  stalling.beat('a')
  stalling.running('a')
  sync(stalling)
  refuses(stalling, 'b', 1)
  t.ok(stalling.gateway.writer.running, 'where output waits for a backup, it waits')
  t.end()
})
