import t from 'tap'
import { checkpointId, generation, lsn } from '../../../src/core/ids.ts'
import type { GatewayMessage } from '../../../src/core/message.ts'
import { freshAgentState } from '../../../src/core/agent/port.ts'
import {
  assign, backup, gateway, historyA, historyB, life, primary, protectedBackup, Rig, withPeer
} from './rig.ts'

const knows = (n: number) => ({ ...freshAgentState, ...life, generation: generation(n) })

void t.test('every message of an older generation is answered with stale, and does nothing', t => {
  const messages: GatewayMessage[] = [
    assign({ role: 'primary', boot: true }), assign({ role: 'backup' }), { type: 'begin', firstLsn: lsn(1) },
    { type: 'epoch', firstLsn: lsn(1), lastLsn: lsn(1), records: [] },
    { type: 'mark', checkpoint: checkpointId(1), lsn: lsn(1) },
    { type: 'mark-refused', checkpoint: checkpointId(1), reason: '' },
    { type: 'promote', lastLsn: lsn(1), acceptLoss: true }, { type: 'open-network' },
    { type: 'tail-credit', bytes: 1 }, { type: 'replayed' }, { type: 'heartbeat-ack', n: 1 }
  ]
  for (const message of messages) {
    const rig = new Rig({ state: knows(3) })
    rig.agent.linkUp(rig.now, gateway)
    rig.from(message, { generation: generation(2) })
    t.match(rig.messages('stale'), [{ about: { generation: 3 } }], message.type)
    t.same(rig.ordered(), [], message.type)
  }
  t.end()
})

void t.test('a newer generation comes only through assign, begin and promote', t => {
  const others: GatewayMessage[] = [
    { type: 'epoch', firstLsn: lsn(6), lastLsn: lsn(6), records: [] },
    { type: 'mark', checkpoint: checkpointId(1), lsn: lsn(1) }, { type: 'open-network' },
    { type: 'replayed' }, { type: 'heartbeat-ack', n: 1 }
  ]
  for (const message of others) {
    const rig = protectedBackup()
    rig.from(message, { generation: generation(2), history: historyA })
    t.equal(rig.agent.generation, 1, message.type)
    t.same(rig.ordered(), [], message.type)
  }
  const rig = protectedBackup()
  rig.from({ type: 'begin', firstLsn: lsn(6) }, { generation: generation(2), history: historyB })
  t.same(rig.ordered(), ['persist 2 backup'], 'on disk before the log is touched')
  rig.answer('persist')
  t.same(rig.ordered(), ['beginLog b 6'])
  t.end()
})

void t.test('a guest that runs where a newer generation wants none is ended before the answer', t => {
  for (const role of ['backup', 'idle'] as const) {
    const rig = primary()
    rig.from(assign({ role }), { generation: generation(2) })
    rig.answer('persist')
    t.same(rig.said(), [], 'no answer yet')
    t.same(rig.ordered().filter(order => !order.startsWith('persist')), ['disconnectPeer', 'stopGuest'])
    rig.from({ type: 'begin', firstLsn: lsn(1) }, { generation: generation(2), history: historyB })
    t.notOk(rig.waits('beginLog'), 'what follows waits too')
    rig.answer('stopGuest')
    t.equal(rig.messages('guest').at(-1)?.condition, 'absent')
    t.equal(rig.agent.role, role)
    t.equal(rig.waits('beginLog'), role === 'backup')
  }
  t.end()
})

void t.test('a guest that is being ended gets no lease', t => {
  const rig = primary()
  rig.from(assign({ role: 'backup' }), { generation: generation(2) })
  rig.answer('persist')
  rig.advance(100)
  const { n = 0, role } = rig.messages('heartbeat').at(-1) ?? {}
  t.equal(role, 'idle')
  rig.ordered()
  rig.from({ type: 'heartbeat-ack', n }, { generation: generation(2) })
  t.same(rig.ordered(), [])
  t.end()
})

void t.test('one that is still starting is ended, too, whichever answer comes first', t => {
  const rig = new Rig()
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'primary', boot: true }))
  rig.answer('persist')
  rig.from(assign({ role: 'backup' }), { generation: generation(2) })
  rig.answer('persist')
  rig.answer('stopGuest')
  rig.ok('startGuest', { endpoints: ['h:1'] })
  t.equal(rig.agent.condition, 'absent')
  t.end()
})

void t.test('within one generation a gateway cannot end a running guest by mistake', t => {
  const rig = primary()
  rig.from(assign({ role: 'backup' }))
  t.notOk(rig.waits('stopGuest'))
  t.match(rig.messages('guest'), [{ condition: 'running' }])
  t.equal(rig.agent.role, 'primary')
  t.equal(rig.reported('refused').length, 1)
  t.end()
})

void t.test('a restarted agent starts nothing by itself, whatever it was', t => {
  for (const role of ['primary', 'backup'] as const) {
    const rig = new Rig({ state: { ...knows(2), role, started: true }, images: protectedBackup().finished })
    rig.agent.linkUp(rig.now, gateway)
    rig.advance(60_000)
    rig.from(assign({ role }), { generation: generation(2) })
    if (rig.waits('openLog')) rig.fail('openLog', 'gone')
    rig.advance(60_000)
    t.same(rig.orders.filter(order => /start|restore|openNetwork/.test(order)), [], role)
    t.match(rig.messages('guest'), [{ condition: 'absent' }], role)
  }
  t.end()
})

void t.test('a second link of the gateway takes over from the first', t => {
  const rig = backup(3)
  rig.agent.linkUp(rig.now, 2)
  rig.from({ type: 'epoch', firstLsn: lsn(4), lastLsn: lsn(4), records: [] }, { history: historyA }, 2)
  t.notOk(rig.waits('append'), 'not before its assign')
  rig.from(assign({ role: 'backup' }), {}, 2)
  t.ok(rig.orders.includes('closeGateway 1'))
  t.match(rig.messages('position'), [{ link: 2, lastLsn: 3 }])
  rig.agent.linkDown(rig.now, gateway)
  rig.advance(100)
  t.equal(rig.messages('heartbeat').at(-1)?.link, 2)
  t.end()
})

void t.test('a gateway with an older generation is refused, and disturbs nobody', t => {
  const rig = primary()
  rig.from(assign({ role: 'primary', ...withPeer }), { generation: generation(2), history: historyA })
  rig.answer('persist')
  rig.said()
  rig.agent.linkUp(rig.now, 2)
  rig.from(assign({ role: 'idle' }), { generation: generation(1) }, 2)
  t.same(rig.messages('stale').map(({ link }) => link), [2])
  rig.said()
  rig.advance(100)
  t.equal(rig.messages('heartbeat').at(-1)?.link, gateway)
  t.end()
})

void t.test('messages that wait for a slow disk are bounded', t => {
  const rig = new Rig()
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'backup' }))
  for (let n = 0; n < 1025; n++) rig.from({ type: 'open-network' })
  t.ok(rig.orders.includes('closeGateway 1'))
  rig.answer('persist')
  t.same(rig.reported('refused'), [], 'what the closed link had sent is forgotten')
  t.end()
})

void t.test('agents and gateways that say what is not theirs to say are refused', t => {
  const rig = backup(3)
  rig.agent.gatewayMessage(rig.now, gateway, rig.envelope(), { type: 'ack', lsn: lsn(1) })
  rig.agent.peerMessage(rig.now, 100, rig.envelope(), { type: 'promote', lastLsn: lsn(3), acceptLoss: true })
  t.equal(rig.reported('refused').length, 2)
  t.same(rig.ordered(), [])
  t.end()
})
