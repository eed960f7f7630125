import t from 'tap'
import { generation } from '../../../src/core/ids.ts'
import type { ReleaseMode } from '../../../src/core/gateway/settings.ts'
import { adopt } from './log-text.ts'
import type { Rig } from './rig.ts'
import { failOver, serving, started, tail, tailEnd, withClient } from './scenes.ts'

const mode = (release: ReleaseMode): { services: { name: string, release: ReleaseMode }[] } =>
  ({ services: [{ name: 'shop', release }] })
const acceptLoss = (rig: Rig): unknown => rig.gateway.requestFailover(true, rig.now)
function restoring(rig: Rig): void {
  rig.answer('cutPath')
  rig.answer('persist')
}

/** A gateway that found its guest absent, and whose attempt to restore it was given up. */
function givenUp(): Rig {
  const rig = started()
  rig.linkUp('a')
  rig.linkUp('b')
  rig.from('a', { type: 'guest', condition: 'absent', endpoints: [], reason: '' })
  rig.pass(1000, 'b')
  acceptLoss(rig)
  restoring(rig)
  rig.pass(2100, 'b')
  return rig
}

void t.test('a guest that runs too late, after its failover was given up, is not served', t => {
  const rig = givenUp()
  t.match(rig.reason, /b did not finish the step "restore" in time/)
  rig.ordered()
  rig.running('b')
  t.equal(rig.state, 'lost')
  t.same(rig.ordered(), [])
  t.end()
})

void t.test('a gateway that another one has replaced stays out of it', t => {
  const rig = serving()
  const { client } = rig.joins()
  rig.linkUp('b')
  rig.from('b', { type: 'stale' }, { generation: generation(5) })
  const before = rig.messages('heartbeat-ack').length
  rig.beat('a')
  t.equal(rig.state, 'lost', 'though the old primary does not know it yet')
  t.ok(client.paused)
  t.equal(rig.messages('heartbeat-ack').length, before, 'which gets no lease any more')
  t.end()
})

void t.test('checkpoint: after a failover without a next backup nothing has to wait', t => {
  const { rig, pair: { client, guest } } = withClient(mode('checkpoint'))
  guest.says('early')
  rig.linkDown('a')
  failOver(rig, 'attach')
  tail(rig, adopt(1, 0, ''))
  const restored = rig.knows(1, 0, 0)
  tailEnd(rig)
  t.equal(rig.state, 'unprotected')
  restored.says('soon')
  t.same(client.told, ['soon'], 'no checkpoint is to come')
  t.end()
})
