import { crc32 } from 'node:zlib'
import t from 'tap'
import { checkpointId, generation, hostName, lsn } from '../../../src/core/ids.ts'
import { assign, gateway, historyA, historyB, peer, primary, Rig, standing, withPeer } from './rig.ts'

const someBytes = new Uint8Array([9, 8, 7])

void t.test('a guest starts on boot, after the role is durable, and only when it is absent', t => {
  const rig = new Rig()
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'primary', boot: true }))
  t.same(rig.ordered(), ['persist 1 primary'], 'nothing is started before the generation is on disk')
  t.same(rig.said(), [])
  rig.answer('persist')
  t.ok(rig.waits('startGuest'))
  rig.from(assign({ role: 'primary', boot: true }))
  rig.ok('startGuest', { endpoints: ['h:1'] })
  t.notOk(rig.waits('startGuest'), 'a second assign does not start it twice')
  const told = rig.messages('guest')
  t.match(told, [{ condition: 'running', endpoints: ['h:1'], about: { generation: 1 } }])
  rig.said()
  rig.from(assign({ role: 'primary', boot: true }))
  t.notOk(rig.waits('startGuest'), 'a running guest is not started')
  t.same(rig.said(), ['guest'])
  t.end()
})

void t.test('without boot an absent guest stays absent', t => {
  const rig = new Rig()
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'primary', boot: false }))
  rig.answer('persist')
  t.notOk(rig.waits('startGuest'))
  t.match(rig.messages('guest'), [{ condition: 'absent' }])
  t.end()
})

void t.test('a start that fails is told with its reason', t => {
  const rig = new Rig()
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'primary', boot: true }))
  rig.answer('persist')
  rig.fail('startGuest', 'no such program')
  t.match(rig.messages('guest'), [{ condition: 'absent', reason: 'no such program' }])
  t.end()
})

void t.test('heartbeats come at their interval, and the lease runs from when they were sent', t => {
  const rig = primary({ peerAddress: '' })
  const first = rig.agent.nextDeadline()
  t.equal(first, 1100)
  rig.advance(99)
  t.same(rig.messages('heartbeat'), [])
  rig.advance(1)
  const [beat] = rig.messages('heartbeat')
  t.match(beat, { n: 2, role: 'primary', condition: 'running', log: undefined })
  rig.advance(60)
  rig.from({ type: 'heartbeat-ack', n: 2 })
  t.same(rig.ordered(), ['renewLease 340'], '400 ms from the moment it was sent')
  rig.from({ type: 'heartbeat-ack', n: 1 })
  t.same(rig.ordered(), [], 'an older acknowledgement says nothing new')
  rig.from({ type: 'heartbeat-ack', n: 77 })
  t.same(rig.ordered(), [], 'nor does one of a heartbeat that was not sent')
  t.end()
})

void t.test('a late acknowledgement renews nothing', t => {
  const rig = primary({ peerAddress: '' })
  rig.advance(500)
  rig.ordered()
  rig.from({ type: 'heartbeat-ack', n: 1 })
  t.same(rig.ordered().filter(order => order.startsWith('renewLease')), [])
  t.end()
})

void t.test('a checkpoint: stand still, mark, run on, ship, stored', t => {
  const rig = primary()
  rig.advance(0)
  t.same(rig.ordered(), ['persist 1 primary'], 'its number is durable before it is used')
  rig.answer('persist')
  rig.advance(0)
  t.same(rig.ordered(), ['beginCheckpoint'])
  const { id, events } = rig.begun()
  t.equal(id, 2 ** 32)
  t.same(rig.messages('mark-request'), [], 'not before the guest stands still')
  events.standing(rig.now)
  t.match(rig.messages('mark-request'), [{ checkpoint: id, about: { history: historyA } }])
  t.same(rig.ordered(), [], 'the guest does not run on before the mark')
  rig.from({ type: 'mark', checkpoint: id, lsn: lsn(42) }, { history: historyA })
  t.same(rig.ordered(), ['runOn'])
  events.piece(rig.now, someBytes)
  events.ended(rig.now)
  t.match(rig.messages('checkpoint-begin'), [
    { checkpoint: id, mark: 42, about: { history: historyA }, link: peer }
  ])
  t.match(rig.messages('checkpoint-data'), [{ bytes: someBytes }])
  t.match(rig.messages('checkpoint-end'), [{ bytes: 3, crc: crc32(someBytes) }])
  rig.fromPeer({ type: 'checkpoint-stored', checkpoint: id })
  t.equal(rig.reported('checkpoint-stored').length, 1)
  rig.advance(4999)
  t.same(rig.ordered(), [], 'the next begins an interval after this one began')
  rig.advance(1)
  t.same(rig.ordered(), ['beginCheckpoint'])
  t.equal(rig.checkpoint?.id, 2 ** 32 + 1)
  t.end()
})

void t.test('a mark for another checkpoint, or one that comes too late, lets nothing count', t => {
  const rig = standing()
  rig.ordered()
  rig.from({ type: 'mark', checkpoint: checkpointId(5), lsn: lsn(42) }, { history: historyA })
  t.same(rig.ordered(), [])
  const id = rig.begun().id
  rig.advance(1001)
  t.same(rig.ordered(), ['abortCheckpoint'], 'it stood still for too long')
  t.match(rig.messages('checkpoint-failed'), [{ checkpoint: id }])
  rig.from({ type: 'mark', checkpoint: id, lsn: lsn(42) }, { history: historyA })
  t.same(rig.ordered(), [], 'no runOn, and nothing goes to the backup')
  t.same(rig.messages('checkpoint-begin'), [])
  t.end()
})

void t.test('what ends a checkpoint before its mark', t => {
  const causes: Record<string, (rig: Rig) => void> = {
    'mark-refused': rig => {
      rig.from({ type: 'mark-refused', checkpoint: rig.begun().id, reason: 'no' })
    },
    'the gateway is gone': rig => { rig.agent.linkDown(rig.now, gateway) },
    'the backup is gone': rig => { rig.agent.peerDown(rig.now, peer) },
    'the guest failed': rig => { rig.agent.guestFailed(rig.now, 'died') },
    'another backup': rig => {
      rig.from(assign({ role: 'primary', peer: hostName('c'), peerAddress: 'c:1' }), { history: historyA })
    },
    'a newer generation': rig => {
      rig.from(assign({ role: 'primary', ...withPeer }), { generation: generation(2), history: historyA })
      rig.answer('persist')
    }
  }
  for (const [name, cause] of Object.entries(causes)) {
    const rig = standing()
    rig.ordered()
    cause(rig)
    t.equal(rig.ordered().filter(order => order === 'abortCheckpoint').length, 1, name)
    t.notOk(rig.reported('checkpoint-stored').length, name)
    rig.checkpoint?.events.failed(rig.now, 'aborted')
    const expected = name === 'the gateway is gone' ? 0 : 1
    t.equal(rig.messages('checkpoint-failed').length, expected, `${name}: told once, if anybody is there`)
  }
  t.end()
})

void t.test('a new checkpoint waits for the engine to be done with the one given up', t => {
  const rig = standing()
  rig.from({ type: 'mark-refused', checkpoint: rig.begun().id, reason: 'syncing' })
  rig.ordered()
  rig.advance(250)
  t.same(rig.ordered(), [])
  rig.checkpoint?.events.failed(rig.now, 'aborted')
  rig.advance(0)
  t.same(rig.ordered(), ['beginCheckpoint'], 'after a failure it is tried again sooner than the interval')
  t.end()
})

void t.test('an engine that cannot is tried less and less often, up to the interval', t => {
  const rig = primary()
  rig.advance(0)
  rig.answer('persist')
  const waits: number[] = []
  for (let attempt = 0; attempt < 8; attempt++) {
    const due = rig.agent.nextDeadline() ?? rig.now
    let waited = 0
    while (!rig.ordered().includes('beginCheckpoint')) {
      rig.advance(50)
      waited += 50
      if (waited > 6000) t.fail(`nothing was begun; it was due at ${due}`)
    }
    waits.push(waited)
    rig.checkpoint?.events.failed(rig.now, 'busy')
  }
  t.same(waits, [50, 250, 500, 1000, 2000, 4000, 5000, 5000])
  t.end()
})

void t.test('after the mark the gateway may go, but not the backup', t => {
  const rig = standing()
  const { id, events } = rig.begun()
  rig.from({ type: 'mark', checkpoint: id, lsn: lsn(42) }, { history: historyA })
  rig.agent.linkDown(rig.now, gateway)
  events.piece(rig.now, someBytes)
  t.equal(rig.messages('checkpoint-data').length, 1)
  rig.ordered()
  rig.agent.peerDown(rig.now, peer)
  t.same(rig.ordered(), ['abortCheckpoint'])
  events.piece(rig.now, someBytes)
  t.equal(rig.messages('checkpoint-data').length, 1, 'what still comes of it goes nowhere')
  t.end()
})

void t.test('an image that ended is not called failed unless the backup says so', t => {
  const rig = standing()
  const { id, events } = rig.begun()
  rig.from({ type: 'mark', checkpoint: id, lsn: lsn(42) }, { history: historyA })
  events.ended(rig.now)
  rig.said()
  rig.agent.guestFailed(rig.now, 'died')
  t.same(rig.said(), ['guest'], 'it may count, and be what is restored')
  rig.agent.peerDown(rig.now, peer)
  t.notOk(rig.said().includes('checkpoint-failed'))
  t.end()
})

void t.test('a refusal by the backup is passed on', t => {
  const rig = standing()
  const { id, events } = rig.begun()
  rig.from({ type: 'mark', checkpoint: id, lsn: lsn(42) }, { history: historyA })
  events.ended(rig.now)
  rig.fromPeer({ type: 'checkpoint-refused', checkpoint: id, reason: 'full' })
  t.match(rig.messages('checkpoint-failed'), [{ checkpoint: id, reason: 'full' }])
  t.end()
})

void t.test('a new history makes the next checkpoint due at once', t => {
  const rig = standing()
  const { id, events } = rig.begun()
  rig.from({ type: 'mark', checkpoint: id, lsn: lsn(42) }, { history: historyA })
  events.ended(rig.now)
  rig.fromPeer({ type: 'checkpoint-stored', checkpoint: id })
  rig.ordered()
  rig.from(assign({ role: 'primary', ...withPeer }), { history: historyB })
  rig.advance(0)
  t.equal(rig.ordered().at(-1), 'beginCheckpoint')
  rig.checkpoint?.events.standing(rig.now)
  t.match(rig.messages('mark-request').at(-1), { about: { history: historyB } })
  t.end()
})

void t.test('no checkpoint without a peer, an interval, or a gateway', t => {
  const nowhere = primary({ peerAddress: '' })
  nowhere.advance(10_000)
  const never = primary({ checkpointMs: 0 })
  never.advance(10_000)
  const alone = primary()
  alone.agent.linkDown(alone.now, gateway)
  alone.advance(10_000)
  for (const rig of [nowhere, never, alone]) t.notOk(rig.orders.includes('beginCheckpoint'))
  t.equal(alone.agent.nextDeadline(), undefined)
  t.end()
})

void t.test('checkpoint numbers are never used again by another life of the agent', t => {
  const rig = standing()
  const reserved = rig.persisted.at(-1)
  t.ok((reserved?.checkpoints ?? 0) > 1)
  if (reserved === undefined) return
  const again = new Rig({ state: reserved, condition: 'running', endpoints: ['h:1'] })
  again.agent.linkUp(again.now, gateway)
  again.from(assign({ role: 'primary', ...withPeer }), { history: historyA })
  again.agent.peerUp(again.now, peer)
  again.advance(0)
  again.answer('persist')
  again.advance(0)
  t.equal(again.checkpoint?.id, 2 ** 32 + reserved.checkpoints)
  t.end()
})

void t.test('a guest is shut until its first lease comes in time', t => {
  const rig = new Rig()
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'primary', boot: true }))
  rig.answer('persist')
  rig.ok('startGuest', { endpoints: ['127.0.0.1:5000'] })
  const leases = () => rig.ordered().filter(order => order.startsWith('renewLease'))
  t.same(leases(), ['renewLease 0'])
  rig.advance(401)
  rig.from({ type: 'heartbeat-ack', n: 1 })
  t.same(leases(), [], 'the answer came after the lease that it would have granted')
  rig.from({ type: 'heartbeat-ack', n: 2 })
  t.same(leases(), ['renewLease 400'])
  t.end()
})

void t.test('...and where no lease is configured it is never shut', t => {
  const rig = new Rig()
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'primary', boot: true, leaseMs: 0 }))
  rig.answer('persist')
  rig.ok('startGuest', { endpoints: ['127.0.0.1:5000'] })
  rig.advance(0)
  rig.from({ type: 'heartbeat-ack', n: 1 })
  t.same(rig.ordered().filter(order => order.startsWith('renewLease')), [])
  t.end()
})
