import t from 'tap'
import { checkpointId, generation, hostName, lsn, noHistory } from '../../../src/core/ids.ts'
import { freshAgentState } from '../../../src/core/agent/port.ts'
import type { GatewayMessage } from '../../../src/core/message.ts'
import {
  append, assign, backup, epoch, gateway, gatewayY, historyA, historyB, life, primary, protectedBackup,
  receive, Rig, withPeer
} from './rig.ts'

const two = { generation: generation(2), history: historyA }
const promote = (lastLsn: number, acceptLoss = false): GatewayMessage => (
  { type: 'promote', lastLsn: lsn(lastLsn), acceptLoss })
const piece = (firstLsn: number, length: number) => (
  { firstLsn: lsn(firstLsn), records: new Uint8Array(length) })

/** A promoted backup whose network is open. */
function opened(): Rig {
  const rig = protectedBackup()
  rig.from(promote(5), two)
  rig.answer('persist')
  rig.ok('restoreGuest', { endpoints: ['h:2'] })
  rig.from({ type: 'open-network' }, two)
  rig.ok('openNetwork')
  rig.ordered()
  rig.said()
  return rig
}

void t.test('a promotion: generation on disk, restore, open, tail, replayed', t => {
  const rig = protectedBackup()
  rig.from(promote(5), two)
  t.same(rig.ordered(), ['persist 2 backup'], 'the generation is durable first')
  rig.answer('persist')
  t.same(rig.ordered(), ['restoreGuest 7'])
  rig.now = (rig.now + 30) as typeof rig.now
  rig.ok('restoreGuest', { endpoints: ['h:2'] })
  t.match(rig.messages('promoted'), [{
    checkpoint: 7, mark: 3, endpoints: ['h:2'], restoreMs: 30, about: { generation: 2, history: historyA }
  }])
  t.same(rig.ordered(), [], 'its network is closed until the gateway opens it')
  rig.from({ type: 'open-network' }, two)
  t.same(rig.messages('network-open'), [])
  rig.ok('openNetwork')
  t.equal(rig.messages('network-open').length, 1)
  rig.said()
  rig.from({ type: 'tail-credit', bytes: 100 }, two)
  rig.ok('readTail', { piece: piece(0, 60) })
  rig.ok('readTail', { piece: piece(4, 60) })
  t.notOk(rig.waits('readTail'), 'the credit is used up')
  rig.from({ type: 'tail-credit', bytes: 100 }, two)
  rig.ok('readTail', { piece: undefined })
  t.same(rig.said(), ['tail', 'tail', 'tail-end'])
  rig.ordered()
  rig.from({ type: 'replayed' }, two)
  t.equal(rig.agent.role, 'backup', 'not before it is durable')
  rig.answer('persist')
  t.same(rig.ordered(), ['attached', 'persist 2 primary', 'closeTail', 'dropLog', 'dropImage 7'])
  t.equal(rig.agent.role, 'primary')
  rig.from(assign({ role: 'primary', ...withPeer }), two)
  t.ok(rig.ordered().includes('connectPeer b'))
  t.end()
})

void t.test('what stands in the way of a promotion', t => {
  const cases: Record<string, () => Rig> = {
    'the log ends at lsn 5, not at 6': () => {
      const rig = protectedBackup()
      rig.from(promote(6), two)
      rig.answer('persist')
      return rig
    },
    'the log holds history': () => {
      const rig = protectedBackup()
      rig.from(promote(5), { ...two, history: historyB })
      rig.answer('persist')
      return rig
    },
    'no checkpoint counts': () => {
      const rig = backup(5)
      rig.from(promote(5), two)
      rig.answer('persist')
      return rig
    },
    'the log cannot be used': () => {
      const rig = protectedBackup()
      epoch(rig, 6, 6)
      rig.fail('append', 'full')
      rig.from(promote(5), two)
      rig.answer('persist')
      return rig
    },
    'cannot restore': () => {
      const rig = protectedBackup({ canRestore: false })
      rig.from(promote(5), two)
      rig.answer('persist')
      return rig
    },
    'is not newer': () => {
      const rig = protectedBackup()
      rig.from(promote(5), { history: historyA })
      return rig
    },
    'there is no whole checkpoint': () => {
      const rig = backup(5)
      rig.from(promote(5, true), two)
      rig.answer('persist')
      return rig
    }
  }
  for (const [reason, run] of Object.entries(cases)) {
    const rig = run()
    const failed = rig.messages('promote-failed')
    t.equal(failed.length, 1, reason)
    t.ok(failed[0]?.reason.includes(reason), `${reason}: ${failed[0]?.reason ?? ''}`)
    t.notOk(rig.orders.some(order => order.startsWith('restoreGuest')), reason)
  }
  t.end()
})

void t.test('an incoming checkpoint does not disturb: the older one that counts is restored', t => {
  const rig = protectedBackup()
  rig.marks.set(checkpointId(8), lsn(4))
  receive(rig, 8, 4)
  rig.from(promote(5), two)
  rig.answer('persist')
  t.ok(rig.orders.includes('restoreGuest 7'))
  t.ok(rig.orders.includes('dropImage 8'))
  rig.ok('finishImage')
  t.same(rig.messages('counted'), [], 'what becomes whole now is too late')
  t.end()
})

void t.test('a promotion waits for what is on its way to the log', t => {
  const rig = protectedBackup()
  epoch(rig, 6, 8)
  rig.from(promote(8), two)
  rig.answer('persist')
  t.notOk(rig.waits('restoreGuest'))
  rig.ok('append', { lsn: 8 })
  t.ok(rig.waits('restoreGuest'))
  t.end()
})

void t.test('...and for the prune, because the tail begins at the mark', t => {
  const rig = backup(5)
  rig.marks.set(checkpointId(7), lsn(3))
  receive(rig, 7, 3)
  rig.ok('finishImage')
  rig.from(promote(5), two)
  rig.answer('persist')
  t.notOk(rig.waits('restoreGuest'))
  rig.ok('pruneLog')
  t.ok(rig.waits('restoreGuest'))
  t.end()
})

void t.test('accept-loss takes the newest image of any history, and no tail', t => {
  const rig = protectedBackup()
  rig.from({ type: 'begin', firstLsn: lsn(6) }, { history: historyB })
  rig.ok('beginLog')
  rig.from(promote(0, true), { ...two, history: noHistory })
  rig.answer('persist')
  rig.ok('restoreGuest', { endpoints: ['h:2'] })
  t.match(rig.messages('promoted'), [{ checkpoint: 7, mark: 3 }])
  rig.from({ type: 'open-network' }, two)
  rig.ok('openNetwork')
  rig.from({ type: 'tail-credit', bytes: 10 }, two)
  t.notOk(rig.waits('readTail'))
  t.equal(rig.messages('tail-end').length, 1)
  t.end()
})

void t.test('accept-loss reaches an agent that obeyed another gateway, and no other promotion does', t => {
  const found = protectedBackup().finished
  const restarted = () => {
    const state = { ...freshAgentState, ...life, gateway: gatewayY, generation: generation(1) }
    const rig = new Rig({ images: found, state })
    rig.agent.linkUp(rig.now, gateway)
    return rig
  }
  const lossy = restarted()
  lossy.from(promote(0, true), two)
  t.same(lossy.ordered(), [], 'nobody knows of which gateway it is')
  lossy.from(assign({ role: 'backup' }))
  t.same(lossy.said(), ['stale', 'guest'])
  lossy.from(promote(0, true), two)
  lossy.answer('persist')
  t.match(lossy.persisted, [{ ...life, generation: 2 }])
  t.ok(lossy.waits('restoreGuest'))
  const strict = restarted()
  strict.from(assign({ role: 'backup' }))
  strict.from(promote(5), two)
  t.same(strict.ordered(), [])
  t.end()
})

void t.test('accept-loss restores where the images are, unless a guest is in service there', t => {
  const unfinished = protectedBackup()
  unfinished.from(assign({ role: 'primary' }), two)
  unfinished.answer('persist')
  unfinished.from(promote(0, true), { ...two, generation: generation(3) })
  unfinished.answer('persist')
  t.ok(unfinished.waits('restoreGuest'), 'a primary without a guest')
  const serving = primary()
  serving.from(promote(0, true), two)
  t.match(serving.messages('promote-failed'), [{ reason: 'this host is primary, not backup' }])
  t.same(serving.ordered(), [])
  t.end()
})

void t.test('a restore that fails is told, and leaves log and image for another try', t => {
  const rig = protectedBackup()
  rig.from(promote(5), two)
  rig.answer('persist')
  rig.fail('restoreGuest', 'no memory')
  t.match(rig.messages('promote-failed'), [{ reason: 'no memory' }])
  t.notOk(rig.orders.some(order => order.startsWith('drop')))
  rig.from(promote(5), { ...two, generation: generation(3) })
  rig.answer('persist')
  t.ok(rig.waits('restoreGuest'))
  t.end()
})

void t.test('a network that does not open ends the guest', t => {
  const rig = protectedBackup()
  rig.from(promote(5), two)
  rig.answer('persist')
  rig.ok('restoreGuest', { endpoints: ['h:2'] })
  rig.from({ type: 'open-network' }, two)
  rig.fail('openNetwork', 'no bridge')
  t.match(rig.messages('promote-failed'), [{ reason: 'no bridge' }])
  t.ok(rig.waits('stopGuest'))
  t.end()
})

void t.test('nothing is opened or replayed before its time', t => {
  const rig = protectedBackup()
  rig.from({ type: 'open-network' })
  rig.from({ type: 'tail-credit', bytes: 10 })
  rig.from({ type: 'replayed' })
  t.same(rig.ordered(), [])
  rig.from(promote(5), two)
  rig.answer('persist')
  rig.from({ type: 'open-network' }, two)
  t.notOk(rig.waits('openNetwork'), 'the guest is not restored yet')
  rig.ok('restoreGuest', { endpoints: ['h:2'] })
  rig.from({ type: 'replayed' }, two)
  t.notOk(rig.orders.includes('attached'), 'its network is closed')
  t.end()
})

void t.test('a lease renews nothing while the network is closed', t => {
  const rig = protectedBackup()
  rig.from(promote(5), two)
  rig.answer('persist')
  rig.ok('restoreGuest', { endpoints: ['h:2'] })
  rig.advance(100)
  const n = rig.messages('heartbeat').at(-1)?.n ?? 0
  rig.from({ type: 'heartbeat-ack', n }, two)
  t.notOk(rig.orders.some(order => order.startsWith('renewLease')))
  rig.from({ type: 'open-network' }, two)
  rig.ok('openNetwork')
  t.ok(rig.orders.includes('renewLease 400'))
  t.end()
})

void t.test('messages wait for the generation, in their order', t => {
  const rig = protectedBackup()
  rig.from(promote(5), two)
  rig.from({ type: 'open-network' }, two)
  t.same(rig.ordered(), ['persist 2 backup'])
  rig.answer('persist')
  t.same(rig.ordered(), ['restoreGuest 7'], 'and the second was too early all the same')
  t.end()
})

void t.test('when the gateway is lost in the middle, the guest is not one to be served', t => {
  const rig = opened()
  rig.agent.linkDown(rig.now, gateway)
  rig.agent.linkUp(rig.now, 2)
  rig.from(assign({ role: 'primary', ...withPeer }), two, 2)
  t.match(rig.messages('guest'), [{ condition: 'absent' }])
  t.match(rig.messages('heartbeat').at(-1), { condition: 'absent' })
  rig.from({ type: 'heartbeat-ack', n: rig.messages('heartbeat').at(-1)?.n ?? 0 }, two, 2)
  t.notOk(rig.orders.some(order => order.startsWith('renewLease')))
  t.notOk(rig.orders.includes('connectPeer b'), 'and it makes no checkpoint')
  rig.from({ type: 'replayed' }, two, 2)
  rig.answer('persist')
  t.match(rig.messages('guest').at(-1), { condition: 'running' }, 'unless it says that all was replayed')
  t.ok(rig.orders.includes('connectPeer b'))
  t.end()
})

void t.test('...nor when it is lost while its order is made durable', t => {
  const rig = protectedBackup()
  rig.from(promote(5), two)
  rig.agent.linkDown(rig.now, gateway)
  rig.answer('persist')
  rig.ok('restoreGuest', { endpoints: ['h:1'] })
  rig.agent.linkUp(rig.now, 2)
  rig.from(assign({ role: 'primary', ...withPeer }), two, 2)
  t.match(rig.messages('guest').at(-1), { condition: 'absent', reason: /promotion was not finished/ })
  t.match(rig.messages('heartbeat').at(-1), { condition: 'absent' })
  t.end()
})

void t.test('the gateway that asks again gets the same answer, and the tail from its start', t => {
  const rig = opened()
  rig.from({ type: 'tail-credit', bytes: 10 }, two)
  rig.agent.linkDown(rig.now, gateway)
  rig.agent.linkUp(rig.now, 2)
  rig.from(assign({ role: 'backup' }), two, 2)
  rig.from(promote(5), two, 2)
  t.match(rig.messages('promoted'), [{ checkpoint: 7, link: 2 }])
  rig.ok('readTail', { piece: piece(0, 5) })
  t.same(rig.messages('tail'), [], 'a piece for the link that is gone is not sent')
  rig.ordered()
  rig.from({ type: 'tail-credit', bytes: 10 }, two, 2)
  t.same(rig.ordered(), ['readTail 1'])
  t.end()
})

void t.test('a newer generation restores anew, or ends the guest', t => {
  const again = opened()
  const three = { ...two, generation: generation(3) }
  again.from(promote(0, true), three)
  again.answer('persist')
  t.ok(again.waits('stopGuest'), 'what is left of the older promotion goes first')
  t.notOk(again.waits('restoreGuest'))
  again.answer('stopGuest')
  t.ok(again.waits('restoreGuest'))
  const fenced = opened()
  fenced.from(assign({ role: 'backup' }), three)
  fenced.answer('persist')
  t.same(fenced.messages('position'), [], 'no answer while the guest is there')
  fenced.answer('stopGuest')
  t.equal(fenced.messages('position').length, 1)
  t.end()
})

void t.test('a guest that fails during its promotion is told as failed', t => {
  const rig = opened()
  rig.agent.guestFailed(rig.now, 'panic')
  t.match(rig.messages('guest'), [{ condition: 'failed', reason: 'panic' }])
  rig.from({ type: 'replayed' }, two)
  t.notOk(rig.waits('persist'))
  t.end()
})

void t.test('a backup that became primary takes no epoch and no history', t => {
  const rig = opened()
  rig.from({ type: 'begin', firstLsn: lsn(9) }, { ...two, history: historyB })
  rig.from({ type: 'epoch', firstLsn: lsn(6), lastLsn: lsn(6), records: [] }, two)
  t.same(rig.ordered(), [])
  t.equal(rig.reported('refused').length, 2)
  t.end()
})

void t.test('peers are only names to a backup', t => {
  const rig = backup(1)
  rig.from(assign({ role: 'backup', peer: hostName('b'), peerAddress: 'b:1' }))
  append(rig, 2, 3)
  t.notOk(rig.orders.some(order => order.startsWith('connectPeer')))
  t.end()
})

/** An agent that finds a guest running whose last durable role was that of a backup. */
function foundHalfWay(): Rig {
  const rig = new Rig({
    state: { ...freshAgentState, ...life, generation: generation(2), role: 'backup' }, condition: 'running',
    endpoints: ['h:2'], images: protectedBackup().finished
  })
  rig.agent.linkUp(rig.now, gateway)
  return rig
}

void t.test('a guest whose agent died during its replay is not told as one to be served', t => {
  const rig = foundHalfWay()
  rig.from(assign({ role: 'idle' }), { generation: generation(1) })
  t.match(rig.messages('guest'), [{ condition: 'absent' }], 'a gateway that asks where the guest runs')
  rig.said()
  rig.from(assign({ role: 'primary' }), two)
  t.same(rig.ordered(), ['stopGuest'], 'and the role is not durable before it is gone')
  rig.answer('stopGuest')
  rig.answer('persist')
  t.match(rig.messages('guest').at(-1), { condition: 'absent', reason: /promotion was not finished/ })
  rig.said()
  rig.from(promote(0, true), { generation: generation(3), history: noHistory })
  rig.answer('persist')
  t.ok(rig.waits('restoreGuest'), 'what can be had is still there')
  t.end()
})

void t.test('...unless the gateway has served clients from it since', t => {
  const rig = foundHalfWay()
  rig.from(assign({ role: 'primary', served: true }), two)
  t.notOk(rig.waits('stopGuest'))
  rig.answer('persist')
  t.match(rig.messages('guest').at(-1), { condition: 'running', endpoints: ['h:2'] })
  t.end()
})
