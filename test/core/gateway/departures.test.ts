import t from 'tap'
import { connectionId, inputOffset } from '../../../src/core/ids.ts'
import {
  adopt, connected, data, end, guestEnd, guestReset, open, read, reset
} from './log-text.ts'
import type { Rig } from './rig.ts'
import {
  failOver, protect, replaying, serving, sync, tail, tailEnd, wait, withClient
} from './scenes.ts'
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
  tail(rig, data(1, ', more'))
  t.same(side.told, ['request', ', more'], 'it may still read')
  tailEnd(rig)
  wait(rig, 400)
  t.same(side.told, ['request', ', more'])
  acknowledges(rig, 1, 13)
  wait(rig, 100)
  t.same(side.told, ['request', ', more', '<reset>'])
  t.equal(rig.state, 'unprotected')
  t.end()
})

void t.test('what follows a reset in the tail waits for it, for it may need what that frees', t => {
  const { rig, sides } = replaying(3, [], { replayOrder: 'arrival' })
  const [one, two, three] = sides.map(unacknowledging)
  tail(rig, data(1, 'pop'), reset(1), data(2, 'hold'), reset(2), data(3, 'push'), read(3, 'pushed'))
  acknowledges(rig, 1, 3)
  t.same([one?.told, two?.told], [['pop'], []])
  wait(rig, 100)
  t.same([one?.told, two?.told, three?.told], [['pop', '<reset>'], ['hold'], []])
  two?.says('held')
  t.same(three?.told, [], 'it may have said so of what came before')
  acknowledges(rig, 2, 4)
  t.same([two?.told, three?.told], [['hold', '<reset>'], ['push']], 'at once')
  t.end()
})

void t.test('...but not another reset, so that many take no longer than one', t => {
  const { rig, sides } = replaying(3, [
    data(1, 'one'), data(2, 'two'), reset(1), reset(2), data(3, 'more')
  ], { replayOrder: 'arrival' })
  wait(rig, 100)
  t.same(sides.map(({ told }) => told), [['one', '<reset>'], ['two', '<reset>'], ['more']])
  t.end()
})

void t.test('...nor for longer than anything is waited for, of all of them together', t => {
  const { rig, sides } = replaying(3, [], { replayOrder: 'arrival' })
  const [one, two, three] = sides.map(unacknowledging)
  tail(rig, data(1, 'one'), reset(1), data(2, 'two'), reset(2), data(3, 'three'), read(3, 'third'))
  wait(rig, 800)
  acknowledges(rig, 1, 1)
  t.same(two?.told, [])
  wait(rig, 200)
  t.same([one?.told, two?.told, three?.told], [['one'], ['two'], ['three']], 'the reset comes later')
  wait(rig, 1000)
  t.same([one?.told, two?.told], [['one', '<reset>'], ['two', '<reset>']])
  t.end()
})

void t.test('...and a connection that comes after it is not opened before: its port may be the same', t => {
  const { rig, sides: [one] } = replaying(1, [
    data(1, 'request'), reset(1), open(2), connected(2), data(2, 'again')
  ], { replayOrder: 'arrival' })
  t.notOk(rig.waits('open 2'))
  wait(rig, 100)
  t.same(one?.told, ['request', '<reset>'])
  t.ok(rig.waits('open 2'))
  t.end()
})

void t.test('...nor an input whose turn comes after it, though it was logged before', t => {
  const { rig, sides } = replaying(2, [
    data(2, 'late'), data(1, 'request'), reset(1), read(2, 'answer')
  ])
  const [one, two] = sides.map(unacknowledging)
  t.same([one?.told, two?.told], [['request'], []])
  acknowledges(rig, 1, 7)
  wait(rig, 100)
  t.same([one?.told, two?.told], [['request', '<reset>'], ['late']])
  t.end()
})

void t.test('a guest that talks on and takes nothing is not waited for without end', t => {
  const { rig, side } = resetUnanswered()
  for (let times = 0; times < 60; times++) {
    if (side.told.length > 1) break
    side.says('tick')
    wait(rig, 20)
  }
  t.same(side.told, ['request', '<reset>'])
  t.equal(rig.state, 'unprotected')
  t.end()
})

void t.test('an end is taken, too: a guest may act on it', t => {
  const { rig, sides } = replaying(1, [data(1, 'ask'), read(1, 'said'), end(1), reset(1)])
  const side = unacknowledging(sides[0])
  side.says('said')
  tailEnd(rig)
  acknowledges(rig, 1, 3)
  wait(rig, 400)
  t.same(side.told, ['ask', '<end>'])
  acknowledges(rig, 1, 4)
  wait(rig, 100)
  t.same(side.told, ['ask', '<end>', '<reset>'])
  t.end()
})

void t.test('a client that goes while another departure is waited for is seen off, too', t => {
  const rig = serving()
  const pairs = [rig.joins(), rig.joins()]
  sync(rig)
  protect(rig)
  for (const { client } of pairs) client.says('request')
  rig.acks()
  failOver(rig, 'attach')
  tail(rig, adopt(1, 0, ''), adopt(2, 0, ''), data(1, 'request'), data(2, 'request'))
  const [one, two] = [unacknowledging(rig.knows(1, 0, 0)), unacknowledging(rig.knows(2, 0, 0))]
  pairs[0]?.client.resets()
  tailEnd(rig)
  pairs[1]?.client.resets()
  acknowledges(rig, 1, 7)
  wait(rig, 400)
  t.same([one.told, two.told], [['request'], ['request']])
  acknowledges(rig, 2, 7)
  wait(rig, 100)
  t.same([one.told, two.told], [['request', '<reset>'], ['request', '<reset>']])
  t.equal(rig.state, 'unprotected')
  t.end()
})

void t.test('the guest\'s own reset of a connection without a client comes when it has its input', t => {
  const { rig, sides } = replaying(1, [
    data(1, 'ask'), read(1, 'said'), guestEnd(1, 4), data(1, 'more'), guestReset(1, 5)
  ])
  const side = unacknowledging(sides[0])
  side.says('said')
  side.ends()
  tailEnd(rig)
  wait(rig, 400)
  t.same(side.told, ['ask', 'more'])
  acknowledges(rig, 1, 7)
  wait(rig, 100)
  t.same(side.told, ['ask', 'more', '<reset>'])
  t.end()
})
