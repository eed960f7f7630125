import { crc32 } from 'node:zlib'
import t from 'tap'
import { checkpointId, generation, hostName, lsn } from '../../../src/core/ids.ts'
import {
  assign, beginning, gateway, historyA, historyB, peer, primary, Rig, standing, withPeer
} from './rig.ts'

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
  t.match(rig.messages('checkpoint-begin'), [{ checkpoint: id, link: peer }])
  t.match(rig.messages('checkpoint-data'), [{ bytes: someBytes }])
  t.match(rig.messages('checkpoint-end'), [
    { mark: 42, bytes: 3, crc: crc32(someBytes), about: { history: historyA } }
  ])
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

/** ...and which a first checkpoint was taken from; the next is asked for. */
function second(rig: Rig): { readonly builds: boolean, readonly periodMs: number } {
  rig.advance(5000)
  return rig.begun().request
}

/** The first checkpoint of {@link standing} is whole at the backup. */
function storedFirst(): Rig {
  const rig = standing()
  const { id, events } = rig.begun()
  rig.from({ type: 'mark', checkpoint: id, lsn: lsn(42) }, { history: historyA })
  events.ended(rig.now)
  rig.fromPeer({ type: 'checkpoint-stored', checkpoint: id })
  return rig
}

void t.test('a checkpoint may build on the one before when that is whole at the same backup', t => {
  t.same(standing().begun().request, { builds: false, periodMs: 5000 }, 'the first stands alone')
  const rig = storedFirst()
  t.same(second(rig), { builds: true, periodMs: 5000 })
  const away = storedFirst()
  away.agent.peerDown(away.now, peer)
  away.agent.peerUp(away.now, peer + 1)
  t.equal(second(away).builds, true, 'a link that went away while idle is no failure')
  const again = storedFirst()
  again.from(assign({ role: 'primary', ...withPeer }), { history: historyB })
  t.equal(second(again).builds, true, 'nor is another history, if the backup is the same')
  t.end()
})

void t.test('...and stands alone after anything that went wrong, and for another backup', t => {
  const causes: Record<string, (rig: Rig) => void> = {
    'a failure': rig => {
      rig.advance(5000)
      rig.begun().events.failed(rig.now, 'busy')
    },
    'a refusal': rig => {
      rig.advance(5000)
      const { id, events } = rig.begun()
      events.standing(rig.now)
      rig.from({ type: 'mark', checkpoint: id, lsn: lsn(43) }, { history: historyA })
      events.ended(rig.now)
      rig.fromPeer({ type: 'checkpoint-refused', checkpoint: id, reason: 'full' })
    },
    'an abort': rig => {
      rig.advance(5000)
      const { id, events } = rig.begun()
      events.standing(rig.now)
      rig.from({ type: 'mark-refused', checkpoint: id, reason: 'no' })
      events.failed(rig.now, 'aborted')
    },
    'another address': rig => {
      rig.from(assign({ role: 'primary', ...withPeer, peerAddress: 'b:2' }), { history: historyA })
      rig.agent.peerUp(rig.now, peer)
    },
    'another backup': rig => {
      rig.from(assign({ role: 'primary', peer: hostName('c'), peerAddress: 'c:1' }), { history: historyA })
      rig.agent.peerUp(rig.now, peer)
    },
    'a guest that was started anew': rig => {
      rig.agent.guestFailed(rig.now, 'died')
      rig.from(assign({ role: 'idle' }), { generation: generation(2), history: historyA })
      rig.answer('persist')
      rig.answer('stopGuest')
      rig.from(assign({ role: 'primary', boot: true, ...withPeer }), {
        generation: generation(2), history: historyA
      })
      rig.answer('persist')
      rig.ok('startGuest', { endpoints: ['h:1'] })
      rig.agent.peerUp(rig.now, peer)
    }
  }
  for (const [name, cause] of Object.entries(causes)) {
    const rig = storedFirst()
    const before = rig.begun().id
    cause(rig)
    t.equal(second(rig).builds, false, name)
    t.ok(rig.begun().id > before, name)
  }
  t.end()
})

void t.test('what is copied while the guest runs goes to the backup at once', t => {
  const rig = beginning()
  const { id, events } = rig.begun()
  events.piece(rig.now, someBytes)
  t.same(rig.said(), ['checkpoint-begin', 'checkpoint-data'], 'it begins with its first piece')
  events.piece(rig.now, someBytes)
  events.standing(rig.now)
  t.same(rig.said(), ['checkpoint-data', 'mark-request'])
  t.throws(() => { events.piece(rig.now, someBytes) }, { name: 'InvariantError' }, 'only the mark passes')
  rig.from({ type: 'mark', checkpoint: id, lsn: lsn(42) }, { history: historyB })
  events.piece(rig.now, someBytes)
  events.ended(rig.now)
  const bytes = Buffer.concat([someBytes, someBytes, someBytes])
  t.match(rig.messages('checkpoint-end'), [
    { mark: 42, bytes: 9, crc: crc32(bytes), about: { history: historyB } }
  ], 'with the history of its mark')
  t.same(rig.said(), ['checkpoint-data', 'checkpoint-end'], 'and it begins once')
  t.end()
})

void t.test('a checkpoint that copies for long is given up an interval after its last piece', t => {
  const rig = beginning()
  rig.ordered()
  const { id, events } = rig.begun()
  rig.advance(34_000)
  events.piece(rig.now, someBytes)
  rig.advance(34_999)
  t.notOk(rig.ordered().includes('abortCheckpoint'))
  rig.advance(1)
  t.ok(rig.ordered().includes('abortCheckpoint'), '30 s for the engine, and its interval')
  t.match(rig.messages('checkpoint-abort'), [{ checkpoint: id, link: peer }], 'the backup has some of it')
  t.end()
})

void t.test('a backup may refuse what comes before the mark', t => {
  for (const stands of [false, true]) {
    const rig = beginning()
    const { id, events } = rig.begun()
    events.piece(rig.now, someBytes)
    if (stands) events.standing(rig.now)
    rig.ordered()
    rig.fromPeer({ type: 'checkpoint-refused', checkpoint: id, reason: 'full' })
    t.same(rig.ordered(), ['abortCheckpoint'])
    t.match(rig.messages('checkpoint-failed'), [{ checkpoint: id, reason: 'full' }])
  }
  t.end()
})

void t.test('a gateway that is back before the guest stands still was not missed', t => {
  const rig = beginning()
  const { id, events } = rig.begun()
  events.piece(rig.now, someBytes)
  rig.ordered()
  rig.agent.linkDown(rig.now, gateway)
  t.same(rig.ordered(), [])
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'primary', ...withPeer }), { history: historyA })
  events.standing(rig.now)
  t.match(rig.messages('mark-request'), [{ checkpoint: id }])
  const alone = beginning()
  alone.agent.linkDown(alone.now, gateway)
  alone.ordered()
  alone.begun().events.standing(alone.now)
  t.same(alone.ordered(), ['abortCheckpoint'], 'nobody is there to give the mark')
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
