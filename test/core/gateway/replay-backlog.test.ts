import t from 'tap'
import { backlogMax, ReplayBacklog } from '../../../src/core/gateway/replay-backlog.ts'
import { connectionId, millis } from '../../../src/core/ids.ts'
import { RecordKind, type LogRecord } from '../../../src/core/record.ts'
import { replaying, tail, tailEnd, wait } from './scenes.ts'
import { Peer } from './sides.ts'
import type { Rig } from './rig.ts'

/** Of a client's upload. */
const piece = {
  kind: RecordKind.data, connection: connectionId(1), bytes: new Uint8Array(64 << 10)
} as const

const hasAsked = (rig: Rig): boolean => rig.ordered().includes('b: tail-credit')

/** The tail brings more than a guest takes that reads nothing. */
function overfull(): { readonly rig: Rig, readonly side: Peer } {
  const { rig, sides: [side] } = replaying(1, [], { replayOrder: 'arrival' })
  if (side === undefined) throw new Error('the guest knows the connection')
  side.backlog = backlogMax + 2
  rig.ordered()
  tail(rig, ...Array<LogRecord>(backlogMax / piece.bytes.length + 1).fill(piece))
  return { rig, side }
}

void t.test('no more of the tail is asked for while the guest does not take what it was sent', t => {
  const { rig, side } = overfull()
  wait(rig, 400)
  t.notOk(hasAsked(rig))
  side.backlog = 1
  wait(rig, 20)
  t.ok(hasAsked(rig), 'there is room again')
  tail(rig, piece)
  t.ok(hasAsked(rig), 'and still is')
  t.end()
})

void t.test('...but one that takes nothing does not stop the replay for ever', t => {
  const { rig, side } = overfull()
  wait(rig, 480)
  side.backlog--
  wait(rig, 480)
  t.notOk(hasAsked(rig), 'it takes some')
  wait(rig, 40)
  t.ok(hasAsked(rig))
  tailEnd(rig)
  wait(rig, 100)
  t.equal(rig.state, 'unprotected')
  t.end()
})

void t.test('what waits is in the queue, or the sides had it at the last look or were given it since', t => {
  const side = new Peer(act => { act() })
  const stream = { side, state: 'joined' as const }
  const backlog = new ReplayBacklog(millis(0), 100)
  backlog.sent(stream, backlogMax)
  t.notOk(backlog.isFull(0))
  t.ok(backlog.isFull(1))
  side.backlog = 10
  backlog.tick(millis(1), 0)
  t.ok(backlog.isFull(1), 'what fits is not looked at')
  backlog.tick(millis(2), 1)
  t.notOk(backlog.isFull(backlogMax - 10))
  t.ok(backlog.isFull(backlogMax - 9))
  t.end()
})

void t.test('where nothing moves, as much again is let in each time', t => {
  const backlog = new ReplayBacklog(millis(0), 100)
  const waiting = backlogMax + 1
  backlog.tick(millis(50), waiting)
  t.ok(backlog.isFull(waiting))
  backlog.tick(millis(100), waiting)
  t.notOk(backlog.isFull(waiting + backlogMax))
  t.ok(backlog.isFull(waiting + backlogMax + 1))
  backlog.tick(millis(110), backlogMax)
  t.ok(backlog.isFull(waiting), 'it has moved: the limit is as before')
  t.end()
})

void t.test('a connection that is live has a limit of its own', t => {
  const side = new Peer(act => { act() })
  side.backlog = backlogMax
  const backlog = new ReplayBacklog(millis(0), 100)
  backlog.sent({ side, state: 'live' }, backlogMax)
  backlog.tick(millis(1), 1)
  t.notOk(backlog.isFull(backlogMax))
  t.end()
})
