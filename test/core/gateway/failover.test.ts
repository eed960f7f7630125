import t from 'tap'
import type { FailoverPhase } from '../../../src/core/gateway/protection.ts'
import { checkpointId, generation, lsn, millis, noHistory } from '../../../src/core/ids.ts'
import { adopt, connected, open } from './log-text.ts'
import { b, first, host, type Rig } from './rig.ts'
import {
  failOver, guarded, mark, promoted, serving, started, sync, syncing, tail, tailEnd, two, withClient
} from './scenes.ts'

const phase = (rig: Rig): string | undefined => rig.gateway.failover?.phase

void t.test('a silent primary is taken for dead when its window is over, not before', t => {
  const rig = guarded()
  rig.pass(100, 'a', 'b')
  rig.pass(300, 'b')
  t.equal(rig.state, 'protected')
  rig.pass(1, 'b')
  t.equal(rig.state, 'failing-over')
  t.match(rig.reason, /no heartbeat from a for 301 ms/)
  t.end()
})

void t.test('what a primary says of its guest needs no silence', t => {
  const words = [['failed', /says its guest failed/], ['absent', /not on a any more/]] as const
  for (const [condition, why] of words) {
    const rig = guarded()
    rig.pass(100, 'a', 'b')
    rig.beat('a', { condition })
    rig.pass(100, 'b')
    t.equal(rig.state, 'failing-over')
    t.match(rig.reason, why)
  }
  t.end()
})

void t.test('without a fence, the lease and a hundredth of it must be over', t => {
  const rig = guarded()
  rig.pass(100, 'a', 'b')
  rig.pass(400, 'b')
  t.equal(rig.state, 'failing-over')
  t.equal(phase(rig), 'fence')
  t.equal(rig.blocked, 'the lease of a runs for 4 ms more', 'a clock may be slow by so much')
  rig.pass(4, 'b')
  t.equal(phase(rig), 'fence')
  t.notOk(rig.waits('cutPath'))
  rig.pass(1, 'b')
  t.equal(phase(rig), 'drain')
  t.ok(rig.waits('cutPath'))
  t.end()
})

void t.test('a fence that succeeds makes the lease needless, one that fails does not', t => {
  const fencing = { hosts: [host('a', { fence: true }), host('b')] }
  const fenced = guarded(fencing)
  fenced.pass(400, 'b')
  t.same(fenced.ordered(), ['fence a'])
  fenced.answer('fence', true)
  t.equal(phase(fenced), 'drain')

  const failed = guarded(fencing)
  failed.pass(100, 'a', 'b')
  failed.pass(301, 'b')
  failed.answer('fence', false)
  t.equal(phase(failed), 'fence')
  t.match(failed.blocked, /the lease of a runs for 103 ms more/)
  failed.pass(104, 'b')
  t.equal(phase(failed), 'drain')
  t.end()
})

void t.test('with neither fence nor lease only an operator lets it go on', t => {
  const rig = guarded({ leaseMs: 0 })
  rig.pass(400, 'b')
  rig.pass(60_000, 'b')
  t.equal(phase(rig), 'fence')
  t.match(rig.blocked, /neither a fence .* nor a lease; make sure that a is off, then run: tailgate failover/)
  t.same(rig.gateway.requestFailover(false, rig.now), { accepted: true })
  t.equal(phase(rig), 'drain')
  t.end()
})

void t.test('an operator who vouches is believed before the lease is over', t => {
  const rig = guarded()
  rig.pass(400, 'b')
  t.equal(phase(rig), 'fence')
  rig.gateway.requestFailover(false, rig.now)
  t.equal(phase(rig), 'drain')
  rig.gateway.requestFailover(false, rig.now)
  t.same(rig.ordered(), ['cutPath'], 'twice is as good as once')
  t.end()
})

void t.test('an operator may ask for the failover of a protected guest, and it waits for the lease', t => {
  const rig = guarded()
  rig.pass(100, 'a', 'b')
  t.same(rig.gateway.requestFailover(false, rig.now), { accepted: true })
  t.equal(phase(rig), 'fence')
  rig.pass(400, 'a', 'b')
  t.equal(phase(rig), 'fence', 'the guest still runs')
  rig.pass(5, 'a', 'b')
  t.equal(phase(rig), 'drain')
  t.end()
})

void t.test('a primary that is being left gets no lease any more, the host that takes over does', t => {
  const rig = guarded()
  failOver(rig, 'fence')
  const before = rig.messages('heartbeat-ack').length
  rig.beat('a')
  t.equal(rig.messages('heartbeat-ack').length, before)
  t.equal(phase(rig), 'fence', 'its word comes too late')
  failOver(rig, 'attach')
  rig.beat('b')
  t.match(rig.messages('heartbeat-ack').at(-1), { to: 'b', about: two })
  t.end()
})

void t.test('what the kernel held when the path was cut is read, logged and committed first', t => {
  const { rig, pair: { client, guest } } = withClient()
  client.says('question')
  rig.acks()
  failOver(rig, 'drain')
  rig.logged()
  rig.ordered()
  guest.says('answer')
  t.ok(client.paused, 'clients are not read')
  t.notOk(rig.waits('persist'))
  rig.answer('cutPath')
  t.same(rig.logged(), ['read 1 to 6'])
  t.equal(phase(rig), 'commit')
  t.same(guest.told, ['question', '<abandoned>'], 'neither an end nor a reset')
  t.same(rig.ordered(), [])
  rig.acks()
  t.same(rig.ordered(), ['persist 2 b'])
  t.end()
})

void t.test('nothing is promoted before everything is committed', t => {
  const { rig, pair: { client, guest } } = withClient()
  client.says('question')
  guest.says('answer')
  failOver(rig, 'drain')
  rig.answer('cutPath')
  t.equal(phase(rig), 'commit')
  rig.from('b', { type: 'ack', lsn: rig.gateway.writer.committed })
  t.same(rig.persisted.length, 0)
  t.same(client.told, [])
  rig.from('b', { type: 'ack', lsn: lsn(rig.gateway.writer.lastLsn - 1) })
  t.equal(phase(rig), 'commit', 'the question is committed, what was read of its answer is not yet')
  rig.acks()
  t.equal(phase(rig), 'persist')
  t.same(client.told, ['answer'], 'and then what was held is safe')
  t.end()
})

void t.test('the new generation is durable before anybody hears of it', t => {
  const rig = guarded()
  failOver(rig, 'persist')
  t.same(rig.persisted, [{ ...first, incarnation: 2, generation: 2, active: b }])
  t.equal(rig.gateway.generation, 1)
  t.equal(rig.gateway.active?.name, 'a')
  t.same(rig.messages('promote'), [])
  rig.ordered()
  rig.answer('persist')
  t.same(rig.ordered(), ['b: promote'])
  const { lastLsn } = rig.gateway.writer
  t.match(rig.messages('promote'), [{ to: 'b', acceptLoss: false, lastLsn, about: two }])
  t.equal(rig.gateway.active?.name, 'b')
  t.end()
})

void t.test('the network opens when the guest is restored, and connections are asked about after that', t => {
  const { rig } = withClient()
  failOver(rig, 'restore')
  rig.ordered()
  promoted(rig)
  t.same(rig.ordered(), ['openPath b:80', 'b: open-network'])
  rig.from('b', { type: 'network-open' })
  t.same(rig.ordered(), ['b: tail-credit'])
  t.equal(phase(rig), 'attach')
  t.end()
})

void t.test('connections are being joined until each was answered for, though the tail has come whole', t => {
  const { rig } = withClient()
  failOver(rig, 'attach')
  tail(rig, adopt(1, 0, ''))
  tailEnd(rig)
  t.equal(phase(rig), 'attach')
  rig.knows(1, 0, 0)
  t.match(rig.reported('failover-phase').slice(-2), [{ phase: 'attach' }, { phase: 'replay' }])
  t.equal(rig.state, 'unprotected')
  t.end()
})

void t.test('answers that come out of their order are not heard', t => {
  const rig = guarded()
  failOver(rig, 'restore')
  rig.from('b', { type: 'network-open' })
  tailEnd(rig)
  t.equal(phase(rig), 'restore')
  rig.from('a', { type: 'network-open' })
  promoted(rig)
  promoted(rig)
  t.equal(phase(rig), 'open-network')
  t.end()
})

void t.test('when all is replayed, the host is told that it serves, and what came of it is reported', t => {
  const rig = guarded()
  const { checkpoint, mark } = rig.gateway.replication.lastCounted ?? {}
  rig.linkDown('a')
  failOver(rig, 'attach')
  const client = rig.comes()
  rig.ordered()
  tailEnd(rig)
  t.same(rig.ordered(), ['b: replayed', 'b: assign primary', 'open 1'])
  t.match(rig.messages('assign').at(-1), { role: 'primary', served: true, boot: false, peer: '', about: two })
  t.equal(rig.state, 'unprotected')
  t.match(rig.reported('failover-done'), [{ summary: {
    from: 'a', to: 'b', generation: 2, checkpoint, mark, kept: 0, reset: 0, tailRecords: 0
  } }])
  const guest = rig.takes(1)
  client.says('question')
  guest.says('answer')
  t.same(client.told, ['answer'], 'without a history nothing is held')
  t.end()
})

void t.test('the old primary comes back as the backup of the new one', t => {
  const rig = guarded()
  rig.linkDown('a')
  failOver(rig, 'attach')
  tailEnd(rig)
  rig.linkUp('a')
  t.match(rig.messages('assign').at(-1), { to: 'a', role: 'backup', served: false, about: two })
  const { lastLsn } = rig.gateway.writer
  rig.from('a', { type: 'position', canRestore: true, lastLsn }, { history: noHistory })
  t.equal(rig.state, 'syncing')
  t.match(rig.messages('begin').at(-1), { to: 'a', about: two })
  t.match(rig.messages('assign').at(-1), { to: 'b', peer: 'a', peerAddress: 'a:1' })
  t.end()
})

void t.test('what ends a failover', t => {
  const ends: [FailoverPhase, (rig: Rig) => void, RegExp][] = [
    ['commit', rig => { rig.pass(2100, 'b') }, /b did not finish the step "commit" in time/],
    ['restore', rig => { rig.pass(2100, 'b') }, /b did not finish the step "restore" in time/],
    ['open-network', rig => { rig.pass(2100, 'b') }, /b did not finish the step "open-network" in time/],
    ['restore', rig => { rig.from('b', { type: 'promote-failed', reason: 'bad image' }) }, /bad image/],
    ['restore', rig => { rig.linkDown('b') }, /the link to b was lost during the step "restore"/],
    ['attach', rig => { rig.linkDown('b') }, /the link to b was lost during the step "attach"/],
    ['attach', rig => { rig.pass(400) }, /no heartbeat from b for 400 ms, during the step "attach"/],
    ['attach', rig => { rig.pass(2100, 'b') }, /b did not send its log in time, though it can be reached/],
    ['attach', rig => { rig.beat('b', { condition: 'failed' }); rig.pass(100) }, /the agent on b says its/]
  ]
  for (const [until, what, reason] of ends) {
    const { rig, pair: { client } } = withClient()
    client.says('question')
    failOver(rig, 'fence')
    const waiting = rig.comes()
    failOver(rig, until)
    what(rig)
    t.equal(rig.state, 'lost', until)
    t.match(rig.reason, reason)
    t.same(client.told, ['<reset>'])
    t.same(waiting.told, ['<reset>'], 'nor does it wait for ever')
    rig.beat('b')
    rig.pass(1000, 'a', 'b')
    t.equal(rig.state, 'lost', 'a heartbeat does not bring it back')
  }
  t.end()
})

void t.test('a tail that comes slowly is a sign of life, as the heartbeats behind it would be', t => {
  const rig = guarded()
  failOver(rig, 'attach')
  for (let n = 0; n < 10; n++) {
    rig.pass(250)
    tail(rig, open(5 + n), connected(5 + n))
  }
  t.equal(rig.state, 'failing-over')
  tailEnd(rig)
  rig.pass(400)
  t.match([rig.state, rig.reason], ['lost', /no heartbeat from b for 400 ms/], 'and nothing is none')
  t.end()
})

void t.test('a gateway that was away does not take its own time for the backup\'s', t => {
  for (const until of ['restore', 'attach'] as const) {
    const rig = guarded()
    failOver(rig, until)
    rig.now = millis(rig.now + 10_000)
    rig.gateway.tick(rig.now)
    t.equal(rig.state, 'failing-over', until)
  }
  t.end()
})

void t.test('before the promotion the link to the backup may come and go', t => {
  const { rig, pair: { client } } = withClient()
  client.says('one')
  rig.acks()
  client.says('two')
  failOver(rig, 'commit')
  rig.linkDown('b')
  t.equal(phase(rig), 'commit')
  rig.linkUp('b')
  t.match(rig.messages('assign').at(-1), { to: 'b', role: 'backup' })
  const before = rig.messages('epoch').length
  rig.from('b', { type: 'position', canRestore: true, lastLsn: rig.gateway.writer.committed })
  t.equal(rig.messages('epoch').length, before + 1, 'what it had not acknowledged is sent again')
  rig.acks()
  t.equal(phase(rig), 'persist')
  t.end()
})

void t.test('a backup that already has everything says so when its link is back', t => {
  const { rig, pair: { client } } = withClient()
  client.says('one')
  failOver(rig, 'commit')
  rig.linkDown('b')
  rig.linkUp('b')
  rig.from('b', { type: 'position', canRestore: true, lastLsn: rig.gateway.writer.lastLsn })
  t.equal(phase(rig), 'persist')
  t.end()
})

void t.test('nobody is ordered to promote over a link that is not there', t => {
  const { rig } = withClient()
  rig.linkDown('b')
  failOver(rig, 'commit')
  t.notOk(rig.gateway.writer.lastLsn > rig.gateway.writer.committed, 'though everything is committed')
  rig.linkUp('b')
  t.equal(phase(rig), 'persist')
  rig.answer('persist')
  t.match(rig.messages('promote'), [{ to: 'b' }])
  t.end()
})

void t.test('a checkpoint that counts or stands still during a failover changes nothing', t => {
  const rig = guarded()
  const at = mark(rig, 8)
  rig.acks()
  failOver(rig, 'fence')
  const { lastLsn } = rig.gateway.writer
  rig.from('b', { type: 'counted', checkpoint: checkpointId(8), mark: at, bytes: 1 })
  rig.from('a', { type: 'mark-request', checkpoint: checkpointId(9) })
  if (rig.waits('afterReads')) rig.answer('afterReads')
  t.equal(rig.gateway.replication.lastCounted?.checkpoint, 7)
  t.equal(rig.gateway.writer.lastLsn, lastLsn)
  t.end()
})

void t.test('a mark asked for just before a failover is not given in it', t => {
  const rig = guarded()
  rig.from('a', { type: 'mark-request', checkpoint: checkpointId(8) })
  failOver(rig, 'fence')
  rig.answer('afterReads')
  t.notOk(rig.messages('mark').some(({ checkpoint }) => checkpoint === 8))
  t.end()
})

void t.test('a gateway that was away itself blames nobody', t => {
  const rig = guarded()
  rig.pass(100, 'a', 'b')
  rig.now = millis(rig.now + 5000)
  rig.turn(() => { rig.gateway.tick(rig.now) })
  t.same(rig.reported('clock-jump').map(({ ms }) => ms), [5000])
  t.equal(rig.state, 'protected')
  rig.pass(300, 'b')
  t.equal(rig.state, 'protected', 'a whole window from then on')
  rig.pass(1, 'b')
  t.equal(rig.state, 'failing-over')
  t.end()
})

void t.test('a gateway that has just started reckons with a lease of the one before', t => {
  const rig = started()
  rig.linkUp('a')
  rig.running('a')
  sync(rig)
  rig.from('a', { type: 'guest', condition: 'failed', endpoints: [], reason: '' })
  rig.pass(100, 'b')
  t.equal(rig.state, 'lost')
  t.same(rig.gateway.requestFailover(true, rig.now), { accepted: true })
  t.equal(phase(rig), 'fence', 'it has never acknowledged a heartbeat itself')
  rig.pass(310, 'b')
  t.equal(phase(rig), 'drain')
  t.end()
})

void t.test('a guest that is not protected is not failed over', t => {
  const reasons = { syncing: syncing(), unprotected: serving() }
  for (const [state, rig] of Object.entries(reasons)) {
    t.equal(rig.state, state)
    t.same(rig.gateway.requestFailover(false, rig.now), {
      accepted: false, reason: `the guest is ${state}; --accept-loss restores what there is`
    })
    rig.pass(400, 'b')
    t.equal(rig.state, 'lost')
    t.match(rig.reason, new RegExp(`^no heartbeat from a for .* ms, while ${state}$`))
    t.notOk(rig.gateway.failover)
  }
  t.end()
})

void t.test('a tail that comes too late is not looked at', t => {
  const rig = guarded()
  failOver(rig, 'attach')
  rig.from('b', { type: 'promote-failed', reason: 'its guest ended' })
  t.equal(rig.state, 'lost')
  t.doesNotThrow(() => { tail(rig); tailEnd(rig) })
  t.equal(rig.state, 'lost')
  t.same(rig.reported('failover-done'), [])
  t.equal(rig.gateway.generation, generation(2))
  t.end()
})
