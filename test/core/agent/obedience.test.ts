import t from 'tap'
import { generation } from '../../../src/core/ids.ts'
import { freshAgentState } from '../../../src/core/agent/port.ts'
import {
  assign, backup, gateway, gatewayX, gatewayY, historyA, life, primary, protectedBackup, Rig, withPeer
} from './rig.ts'

const other = 2
const two = { generation: generation(2), history: historyA }

/** Another link, on which another gateway, or another life of the same one, is about to speak. */
function joined(rig: Rig): Rig {
  rig.agent.linkUp(rig.now, other)
  rig.said()
  rig.ordered()
  return rig
}

void t.test('whom an agent obeys is on its disk with the generation', t => {
  const rig = new Rig()
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'backup' }))
  t.match(rig.persisted, [{ ...life, generation: 1, role: 'backup' }])
  t.same(rig.said(), [], 'before anything is answered')
  t.end()
})

void t.test('within one generation another gateway is refused, and disturbs nobody', t => {
  for (const role of ['primary', 'backup', 'idle'] as const) {
    const rig = joined(primary())
    rig.from(assign({ role, gateway: gatewayY, incarnation: 9 }), { history: historyA }, other)
    t.same(rig.messages('stale').map(({ link, about }) => [link, about.generation]), [[other, 1]], role)
    t.match(rig.messages('guest'), [{ link: other, condition: 'running', endpoints: ['127.0.0.1:5000'] }])
    rig.from({ type: 'heartbeat-ack', n: 1 }, {}, other)
    t.same(rig.ordered(), [], role)
    rig.said()
    rig.advance(100)
    t.equal(rig.messages('heartbeat').at(-1)?.link, gateway, role)
  }
  t.end()
})

void t.test('...also by an agent that was restarted since', t => {
  const rig = new Rig({ state: { ...freshAgentState, ...life, generation: generation(1) } })
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'backup', gateway: gatewayY }))
  t.same(rig.said(), ['stale', 'guest'])
  rig.from(assign({ role: 'backup' }))
  rig.answer('persist')
  t.ok(rig.waits('openLog'))
  t.end()
})

void t.test('an agent of a generation in which it obeys nobody yet obeys the first who comes', t => {
  const rig = new Rig({ state: { ...freshAgentState, generation: generation(1) } })
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'idle', gateway: gatewayY }))
  t.match(rig.persisted, [{ gateway: gatewayY, incarnation: 1 }])
  t.end()
})

void t.test('a later life of the same gateway takes over, and the former one is refused then', t => {
  const rig = joined(backup(3))
  rig.from(assign({ role: 'backup', incarnation: 2 }), {}, other)
  t.same(rig.ordered(), [`closeGateway ${gateway}`, 'persist 1 backup'])
  t.same(rig.said(), [], 'not before it is durable')
  rig.answer('persist')
  t.match(rig.persisted.at(-1), { gateway: gatewayX, incarnation: 2 })
  t.match(rig.messages('position'), [{ link: other, lastLsn: 3 }])
  rig.agent.linkUp(rig.now, 3)
  rig.said()
  rig.from(assign({ role: 'backup' }), {}, 3)
  t.same(rig.said(), ['stale', 'guest'])
  t.end()
})

void t.test('a newer generation is bound to whoever brings it, and keeps a guest that runs', t => {
  const rig = joined(primary({ peerAddress: '' }))
  rig.advance(0)
  rig.from({ type: 'heartbeat-ack', n: 1 })
  rig.ordered()
  rig.from(assign({ role: 'primary', gateway: gatewayY, ...withPeer }), two, other)
  t.same(rig.ordered(), [`closeGateway ${gateway}`, 'persist 2 primary'])
  rig.answer('persist')
  t.match(rig.persisted.at(-1), { gateway: gatewayY, incarnation: 1, generation: 2 })
  t.match(rig.messages('guest').at(-1), { link: other, condition: 'running' })
  t.notOk(rig.waits('stopGuest'))
  t.ok(rig.ordered().includes('renewLease 0'), 'until the gateway that is in charge now grants one')
  rig.agent.linkUp(rig.now, 3)
  rig.said()
  rig.from(assign({ role: 'primary' }), {}, 3)
  t.same(rig.said(), ['stale', 'guest'])
  t.end()
})

void t.test('a promotion is of the gateway whose backup this host was', t => {
  const rig = joined(protectedBackup())
  rig.from({ type: 'promote', lastLsn: 5 as never, acceptLoss: false }, two)
  rig.answer('persist')
  t.match(rig.persisted.at(-1), { ...life, generation: 2 })
  rig.from(assign({ role: 'backup', gateway: gatewayY }), two, other)
  t.match(rig.messages('stale'), [{ link: other }])
  t.match(rig.messages('guest').at(-1), { link: other, condition: 'absent' }, 'it is not there for others')
  t.end()
})

void t.test('a guest that another gateway was restoring is ended by a newer generation', t => {
  const rig = protectedBackup()
  rig.from({ type: 'promote', lastLsn: 5 as never, acceptLoss: false }, two)
  rig.answer('persist')
  rig.ok('restoreGuest', { endpoints: ['h:2'] })
  rig.from({ type: 'open-network' }, two)
  rig.ok('openNetwork')
  joined(rig)
  rig.from(assign({ role: 'primary', gateway: gatewayY }), { generation: generation(3) }, other)
  rig.answer('persist')
  t.ok(rig.waits('stopGuest'), 'nobody has the rest of its replay')
  t.end()
})

void t.test('generation 0 only asks', t => {
  const rig = joined(backup(3))
  rig.from(assign({ role: 'idle', gateway: gatewayY }), { generation: generation(0) }, other)
  t.same(rig.said(), ['stale', 'guest'])
  t.same(rig.ordered(), [])
  const fresh = new Rig()
  fresh.agent.linkUp(fresh.now, gateway)
  fresh.from(assign({ role: 'idle' }), { generation: generation(0) })
  t.match(fresh.messages('guest'), [{ condition: 'absent', about: { generation: 0 } }])
  t.same([fresh.persisted, fresh.reports], [[], []])
  fresh.advance(1000)
  t.same(fresh.messages('heartbeat'), [])
  t.end()
})
