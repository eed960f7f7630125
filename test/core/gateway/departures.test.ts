import t from 'tap'
import { connectionId, inputOffset } from '../../../src/core/ids.ts'
import { adopt, data, end, guestEnd, read, reset } from './log-text.ts'
import type { Rig } from './rig.ts'
import { failOver, replaying, tail, tailEnd, wait, withClient } from './scenes.ts'
import type { Peer } from './sides.ts'

const acknowledges = (rig: Rig, id: number, floor: number): void => {
  rig.gateway.noteFloor(connectionId(id), inputOffset(floor))
}

/** A side of the restored guest whose kernel acknowledges nothing before the test says so. */
function unacknowledging(side: Peer | undefined): Peer {
  if (side === undefined) throw new Error('the guest knows the connection')
  side.acknowledges = false
  return side
}

/** Its client sent a request, and reset before an answer was read. */
function resetUnanswered(settings: Parameters<typeof replaying>[2] = {}): { rig: Rig, side: Peer } {
  const { rig, sides } = replaying(1, [], { replayOrder: 'arrival', ...settings })
  const side = unacknowledging(sides[0])
  tail(rig, data(1, 'request'), reset(1))
  tailEnd(rig)
  return { rig, side }
}

void t.test('a side is reset when its guest has taken what it was sent before, and is silent', t => {
  const { rig, side } = resetUnanswered()
  wait(rig, 400)
  t.same(side.told, ['request'], 'a reset might drop what was not sent, or not read')
  acknowledges(rig, 1, 3)
  wait(rig, 400)
  t.same(side.told, ['request'])
  acknowledges(rig, 1, 7)
  wait(rig, 60)
  t.same(side.told, ['request'], 'it lies in the guest\'s kernel')
  t.equal(rig.state, 'failing-over', 'what comes after the replay would be in another history')
  wait(rig, 40)
  t.same(side.told, ['request', '<reset>'])
  t.equal(rig.state, 'unprotected')
  t.match(rig.gateway.lastFailover, { diverged: 0, reordered: 0 })
  t.end()
})

void t.test('...at once when it has said something since, which is nobody\'s', t => {
  const { rig, side } = resetUnanswered()
  acknowledges(rig, 1, 7)
  side.says('answer')
  wait(rig, 20)
  t.same(side.told, ['request', '<reset>'])
  t.equal(rig.state, 'unprotected')
  t.end()
})

void t.test('...and is read until then, so that its guest can say more than is kept', t => {
  const { side } = resetUnanswered({ connectionBytes: 4 })
  side.says('a long answer')
  t.notOk(side.paused)
  t.end()
})

void t.test('...when it resets the connection itself, nothing is left to be done', t => {
  const { rig, side } = resetUnanswered()
  side.resets()
  wait(rig, 20)
  t.same(side.told, ['request'])
  t.equal(rig.state, 'unprotected')
  t.end()
})

void t.test('a guest that does not take its input is not waited for without end', t => {
  const { rig, side } = resetUnanswered()
  wait(rig, 800)
  acknowledges(rig, 1, 3)
  wait(rig, 800)
  t.same(side.told, ['request'], 'it takes some')
  wait(rig, 300)
  t.same(side.told, ['request', '<reset>'])
  t.equal(rig.state, 'unprotected')
  t.match(rig.gateway.lastFailover, { diverged: 0 }, 'nobody was told anything else')
  t.end()
})

void t.test('a guest that tells of resets has all input before it acts on one', t => {
  const { rig, side } = resetUnanswered({ resetsTold: true })
  t.same(side.told, ['request', '<reset>'])
  t.equal(rig.state, 'unprotected')
  t.end()
})

void t.test('what was sent last to a connection without a client is taken before the guest serves', t => {
  const { rig, sides } = replaying(1, [data(1, 'ask'), read(1, 'said'), guestEnd(1, 4), data(1, 'more')])
  const side = unacknowledging(sides[0])
  side.says('said')
  side.ends()
  tailEnd(rig)
  t.same(side.told, ['ask', 'more'])
  wait(rig, 400)
  t.same(side.told, ['ask', 'more'])
  acknowledges(rig, 1, 7)
  wait(rig, 100)
  t.same(side.told, ['ask', 'more', '<reset>'])
  t.equal(rig.state, 'unprotected')
  t.end()
})

void t.test('...but one that is over for both sides delays nothing', t => {
  const { rig, sides } = replaying(1, [data(1, 'ask'), read(1, 'said'), guestEnd(1, 4), end(1)])
  const side = unacknowledging(sides[0])
  side.says('said')
  side.ends()
  tailEnd(rig)
  t.same(side.told, ['ask', '<end>', '<reset>'])
  t.equal(rig.state, 'unprotected')
  t.end()
})

void t.test('a client that goes during the failover is told to a guest that has taken its input', t => {
  const { rig, pair: { client } } = withClient()
  client.says('request')
  rig.acks()
  failOver(rig, 'attach')
  tail(rig, adopt(1, 0, ''), data(1, 'request'))
  const side = unacknowledging(rig.knows(1, 0, 0))
  client.resets()
  tailEnd(rig)
  t.same(side.told, ['request'])
  wait(rig, 400)
  t.same(side.told, ['request'])
  acknowledges(rig, 1, 7)
  wait(rig, 100)
  t.same(side.told, ['request', '<reset>'])
  t.equal(rig.state, 'unprotected')
  t.end()
})

void t.test('a guest that ended before it had said all it was to is sent its input before it is reset', t => {
  const { rig, sides } = replaying(1, [], { replayOrder: 'arrival' })
  const side = unacknowledging(sides[0])
  side.ends()
  tail(rig, data(1, 'request'), read(1, 'answer'))
  t.same(side.told, ['request'])
  t.match(rig.gateway.diverged, /it ended before/)
  acknowledges(rig, 1, 7)
  wait(rig, 100)
  t.same(side.told, ['request', '<reset>'])
  t.end()
})
