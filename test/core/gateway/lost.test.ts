import t from 'tap'
import { checkpointId, lsn, type CheckpointId } from '../../../src/core/ids.ts'
import type { LogPosition } from '../../../src/core/message.ts'
import { adopt, data, read } from './log-text.ts'
import { host, Rig } from './rig.ts'
import {
  failOver, guarded, promoted, protect, serving, sync, syncing, tail, tailEnd
} from './scenes.ts'
import type { Pair } from './sides.ts'

const threeHosts = { hosts: [host('a'), host('b'), host('c')] }

/** What a host with an image tells in its heartbeats. */
function holds(checkpoint: CheckpointId): LogPosition {
  return {
    lastLsn: lsn(1), checkpoint, mark: lsn(1), checkpointBytes: 1, tailBytes: 0, tailRecords: 0,
    connections: 0, memoryBytes: 0, diskBytes: 0
  }
}

const acceptLoss = (rig: Rig): unknown => rig.gateway.requestFailover(true, rig.now)

/** Goes through a failover with loss up to where the host has been told to restore. */
function restoring(rig: Rig): void {
  rig.answer('cutPath')
  rig.answer('persist')
}

void t.test('a primary that dies while syncing is lost, and its clients wait', t => {
  const rig = serving()
  const { client, guest } = rig.joins()
  sync(rig)
  rig.pass(400, 'b')
  t.equal(rig.state, 'lost')
  t.match(rig.reason, /no heartbeat from a for .* ms, while syncing/)
  t.ok(client.paused)
  t.same(client.told, [], 'perhaps it was only silent')
  t.same(guest.told, [])
  t.throws(() => rig.comes(), /turned away/)
  t.end()
})

void t.test('...and is served on if it was only silent', t => {
  const rig = serving()
  const { client, guest } = rig.joins()
  sync(rig)
  rig.pass(400, 'b')
  rig.beat('a')
  t.equal(rig.state, 'syncing')
  t.notOk(client.paused)
  client.says('one')
  t.same(guest.told, ['one'])
  t.same(rig.logged().slice(-1), ['data 1 one'])
  t.doesNotThrow(() => rig.comes())
  t.end()
})

void t.test('...but not if its agent is back without the guest', t => {
  const rig = syncing()
  rig.pass(400, 'b')
  rig.beat('a', { condition: 'absent' })
  t.equal(rig.state, 'lost')
  t.end()
})

void t.test('a primary whose guest is gone after a restart of its host is lost', t => {
  const rig = syncing()
  rig.beat('a', { condition: 'absent' })
  rig.pass(100)
  t.equal(rig.state, 'lost')
  t.match(rig.reason, /the guest is not on a any more, while syncing/)
  t.end()
})

void t.test('a client that resets while the guest is lost is told to the guest when it is back', t => {
  const rig = serving()
  const { client, guest } = rig.joins()
  sync(rig)
  rig.pass(400, 'b')
  client.resets()
  t.same(guest.told, [])
  rig.beat('a')
  t.same(guest.told, ['<reset>'])
  t.same(rig.logged(), ['adopt 1 in 0 out 0', 'reset 1'])
  t.end()
})

void t.test('the loss of its backup does not hide that a guest is lost', t => {
  const rig = syncing()
  rig.pass(400, 'b')
  t.equal(rig.state, 'lost')
  rig.reports = []
  rig.linkDown('b')
  rig.pass(1000)
  t.match(rig.reported('history'), [{ backup: '' }], 'its history is over')
  t.same(rig.reported('protection'), [], 'which is of no interest now')
  t.throws(() => rig.comes(), /turned away/)
  t.end()
})

void t.test('a loss is accepted only where there is somebody who could restore', t => {
  const rig = serving()
  rig.pass(400)
  t.same(rig.gateway.requestFailover(false, rig.now), {
    accepted: false, reason: 'the guest is lost; --accept-loss restores what there is'
  })
  t.same(acceptLoss(rig), { accepted: false, reason: 'no host is linked that could restore it' })
  t.end()
})

void t.test('an accepted loss: the host is made a backup, then told to restore what it has', t => {
  const rig = serving()
  const { client, guest } = rig.joins()
  sync(rig)
  rig.linkDown('a')
  rig.pass(1000, 'b')
  rig.ordered()
  t.same(acceptLoss(rig), { accepted: true })
  t.same(rig.ordered(), ['b: assign backup', 'cutPath'], 'the lease is over: nobody has to vouch')
  rig.answer('cutPath')
  t.same(rig.ordered(), ['persist 2 b'], 'nothing has to be committed')
  rig.answer('persist')
  t.same(rig.ordered(), ['b: promote'])
  t.match(rig.messages('promote'), [{ to: 'b', acceptLoss: true, about: { generation: 2 } }])
  const waiting = rig.comes()
  promoted(rig)
  rig.ordered()
  rig.from('b', { type: 'network-open' })
  t.same(rig.ordered(), ['b: replayed', 'b: assign primary', 'open 2'], 'no tail is asked for')
  t.same(client.told, ['<reset>'], 'what it was told the guest may not know')
  t.same(guest.told, ['<abandoned>'])
  t.match(rig.reported('failover-done'), [{ summary: { kept: 0, reset: 1 } }])
  t.equal(rig.state, 'unprotected')
  rig.takes(2).says('hello')
  t.same(waiting.told, ['hello'], 'who came meanwhile is served')
  t.end()
})

void t.test('an accepted loss waits for the lease while the primary may still serve', t => {
  const rig = syncing()
  rig.pass(100, 'a', 'b')
  rig.pass(301, 'b')
  t.equal(rig.state, 'lost')
  acceptLoss(rig)
  t.match(rig.blocked, /the lease of a runs for 103 ms more/)
  t.notOk(rig.waits('cutPath'))
  rig.pass(104, 'b')
  t.ok(rig.waits('cutPath'))
  t.end()
})

void t.test('the host that holds an image is asked first', t => {
  const rig = serving(threeHosts)
  rig.linkUp('b')
  rig.linkUp('c')
  rig.beat('c', { role: 'idle', log: holds(checkpointId(3)) })
  rig.pass(1000, 'b')
  t.same(acceptLoss(rig), { accepted: true })
  t.equal(rig.gateway.failover?.to.name, 'c')
  t.end()
})

void t.test('a host that could not is asked again only after the others', t => {
  const rig = serving(threeHosts)
  rig.linkUp('b')
  rig.linkUp('c')
  rig.linkDown('a')
  const asked: string[] = []
  for (let n = 2; n < 6; n++) {
    rig.pass(1000)
    acceptLoss(rig)
    const to = rig.gateway.failover?.to.name ?? ''
    asked.push(to)
    restoring(rig)
    t.equal(rig.gateway.generation, n)
    rig.from(to, { type: 'promote-failed', reason: 'there is no whole checkpoint here' })
    rig.beat(to, { condition: 'absent' })
    t.equal(rig.state, 'lost')
  }
  t.same(asked, ['b', 'c', 'b', 'c'])
  t.end()
})

void t.test('also the active host is asked, if its guest is not there', t => {
  const rig = guarded()
  failOver(rig, 'restore')
  rig.from('b', { type: 'promote-failed', reason: 'no memory' })
  t.equal(rig.state, 'lost')
  rig.beat('b', { condition: 'running' })
  t.same(acceptLoss(rig), { accepted: true })
  t.equal(rig.gateway.failover?.to.name, 'a', 'not where a guest may run')

  const other = guarded()
  other.linkDown('a')
  failOver(other, 'restore')
  other.from('b', { type: 'promote-failed', reason: 'no memory' })
  other.beat('b', { condition: 'absent' })
  other.ordered()
  t.same(acceptLoss(other), { accepted: true })
  t.same(other.ordered(), ['b: assign backup', 'cutPath'], 'and nothing has to be waited for')
  restoring(other)
  t.match(other.messages('promote').at(-1), { to: 'b', acceptLoss: true, about: { generation: 3 } })
  t.end()
})

void t.test('a replay that is given up sends nothing more to the guest', t => {
  const rig = guarded()
  failOver(rig, 'attach')
  tail(rig, adopt(1, 0, ''), adopt(2, 0, ''), data(1, 'one'), read(1, 'first'), data(2, 'two'), read(2, 'x'))
  const [restored, other] = [rig.knows(1, 0, 0), rig.knows(2, 0, 0)]
  rig.linkDown('b')
  t.equal(rig.state, 'lost')
  restored.says('first')
  t.same(other.told, [])
  t.end()
})

void t.test('a guest restored after a loss is as good as new', t => {
  const rig = guarded()
  failOver(rig, 'restore')
  rig.from('b', { type: 'promote-failed', reason: 'no memory' })
  rig.beat('b', { condition: 'absent' })
  rig.linkDown('a')
  acceptLoss(rig)
  restoring(rig)
  promoted(rig)
  rig.from('b', { type: 'network-open' })
  t.equal(rig.state, 'unprotected')
  rig.pass(400)
  t.equal(rig.state, 'lost')
  rig.beat('b')
  t.equal(rig.state, 'unprotected', 'a silence is once more only a silence')
  t.end()
})

void t.test('a guest whose failover came to nothing takes no backup', t => {
  const rig = guarded(threeHosts)
  failOver(rig, 'restore')
  rig.from('b', { type: 'promote-failed', reason: 'no memory' })
  rig.ordered()
  rig.linkUp('c')
  t.same(rig.ordered(), [])
  t.end()
})

/** A failover in which the restored guest says something else than the client was told. */
function diverging(onDivergence: 'reset' | 'reset-all' | 'stop'): { rig: Rig, pair: Pair, other: Pair } {
  const rig = serving({ onDivergence })
  const [pair, other] = [rig.joins(), rig.joins()]
  sync(rig)
  const at = protect(rig)
  pair.client.says('question')
  pair.guest.says('answer')
  other.client.says('more')
  rig.acks()
  failOver(rig, 'attach')
  tail(rig, adopt(1, 0, ''), adopt(2, 0, ''), ...rig.after(at))
  const restored = rig.knows(1, 0, 0)
  rig.knows(2, 0, 0)
  restored.says('banana')
  return { rig, pair, other }
}

void t.test('on_divergence reset: that connection is reset, the rest goes on, and the guest is marked', t => {
  const { rig, pair, other } = diverging('reset')
  t.same(pair.client.told, ['answer', '<reset>'])
  tailEnd(rig)
  t.equal(rig.state, 'unprotected')
  t.same(other.client.told, [])
  t.notOk(other.client.paused)
  t.equal(rig.gateway.diverged, 'it said something else than before')
  const state = rig.persisted.at(-1)
  t.match(state, { generation: 2, diverged: 'it said something else than before' })
  const next = new Rig()
  next.gateway.start(state)
  t.equal(next.gateway.diverged, state?.diverged, 'also in its next life')
  t.match(rig.gateway.lastFailover, { kept: 1, reset: 1, diverged: 1 })
  t.end()
})

void t.test('a divergence is told once, whatever else the tail says of the connection', t => {
  const { rig } = diverging('reset')
  tail(rig, read(1, 'answer and more'), data(1, 'late'), read(1, 'answer and more, and more'))
  tailEnd(rig)
  t.match(rig.reported('diverged'), [{ connection: 1, alive: true }])
  t.equal(rig.reported('diverged').length, 1)
  t.end()
})

void t.test('on_divergence reset-all: every connection is reset, for others may have been told of it', t => {
  const { rig, pair, other } = diverging('reset-all')
  const waiting = rig.comes()
  t.same(other.client.told, [])
  tailEnd(rig)
  t.same(pair.client.told, ['answer', '<reset>'])
  t.same(other.client.told, [], 'the guest is given the time to act on what it had sent')
  rig.pass(200, 'b')
  t.same(other.client.told, ['<reset>'])
  t.equal(rig.state, 'unprotected')
  t.match(rig.reported('failover-done'), [{ summary: { kept: 0, reset: 2, diverged: 1 } }])
  t.match(rig.gateway.lastFailover, { kept: 0, reset: 2 })
  rig.takes(3).says('hello')
  t.same(waiting.told, ['hello'], 'who came meanwhile was told of nothing')
  t.end()
})

void t.test('...and one whose client has gone meanwhile ends as that', t => {
  const { rig, other } = diverging('reset-all')
  other.client.resets()
  tailEnd(rig)
  // The guest is given the time to act on what its client had sent.
  rig.pass(200, 'b')
  t.match(rig.reported('connection-end').at(-1), { connection: { id: other.id }, ending: 'client-reset' })
  t.match(rig.gateway.lastFailover, { reset: 1 })
  t.end()
})

void t.test('on_divergence stop: the guest is lost, for good', t => {
  const { rig, pair, other } = diverging('stop')
  t.equal(rig.state, 'lost')
  t.equal(rig.reason, 'the guest diverged: it said something else than before')
  t.same(pair.client.told, ['answer', '<reset>'])
  t.same(other.client.told, ['<reset>'])
  rig.beat('b')
  rig.running('b')
  t.equal(rig.state, 'lost', 'though its agent says that it runs')
  tail(rig, data(2, 'late'))
  tailEnd(rig)
  t.equal(rig.state, 'lost', 'and the replay does not go on')
  t.same(rig.reported('failover-done'), [])
  t.end()
})
