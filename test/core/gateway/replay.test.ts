import t from 'tap'
import { checkpointId, inputOffset } from '../../../src/core/ids.ts'
import {
  adopt, connected, data, end, floor, guestEnd, guestReset, open, read, reset
} from './log-text.ts'
import type { Rig } from './rig.ts'
import {
  counts, failOver, guarded, mark, promoted, protect, serving, sync, tail, tailEnd, withClient
} from './scenes.ts'
import type { Pair } from './sides.ts'

/**
 * A client whose connection is in the checkpoint has asked and was answered since, all of it committed.
 * The path to the restored guest is open.
 */
function asked(said = 'answer'): { rig: Rig, pair: Pair } {
  const { rig, pair } = withClient()
  pair.client.says('question')
  rig.acks()
  pair.guest.says(said)
  failOver(rig, 'attach')
  return { rig, pair }
}

const tailOfAsked = [adopt(1, 0, ''), data(1, 'question'), read(1, 'answer')] as const

void t.test('input since the mark is sent again, and what was released is made again, but given once', t => {
  const { rig, pair: { client } } = asked()
  rig.ordered()
  tail(rig, ...tailOfAsked)
  t.same(rig.ordered().slice(0, 1), ['attach 1 from 0'])
  const restored = rig.knows(1, 0, 0)
  t.same(restored.told, ['question'])
  tailEnd(rig)
  t.equal(rig.state, 'failing-over')
  restored.says('ans')
  t.equal(rig.state, 'failing-over')
  restored.says('wer, and more')
  t.equal(rig.state, 'unprotected')
  t.same(client.told, ['answer', ', and more'])
  t.match(rig.gateway.lastFailover, { kept: 1, reset: 0, diverged: 0, unverifiedBytes: 0, tailBytes: 8 })
  t.end()
})

void t.test('after it the connection goes on in no history, so nothing waits for a commit', t => {
  const { rig, pair: { client } } = asked()
  tail(rig, ...tailOfAsked)
  const restored = rig.knows(1, 0, 0)
  restored.says('answer')
  tailEnd(rig)
  t.notOk(client.paused)
  client.says('two')
  restored.says('second')
  t.same(restored.told, ['question', 'two'])
  t.same(client.told, ['answer', 'second'])
  t.equal(rig.gateway.writer.committed, rig.gateway.writer.lastLsn)
  t.end()
})

void t.test('...also what the restored guest says while it is joined', t => {
  const { rig, pair: { client } } = asked()
  tail(rig, ...tailOfAsked)
  const restored = rig.knows(1, 0, 0)
  restored.says('answer, and the last')
  restored.ends()
  tailEnd(rig)
  t.same(client.told, ['answer', ', and the last', '<end>'])
  t.end()
})

void t.test('connections that are joined are not counted as replayed', t => {
  const { rig } = asked()
  tail(rig, ...tailOfAsked)
  rig.knows(1, 0, 0).says('answer')
  tailEnd(rig)
  t.equal(rig.gateway.lastFailover?.tailRecords, 2)
  t.end()
})

void t.test('no input is sent before the output that had been received before it is there again', t => {
  const { rig } = asked()
  tail(rig, ...tailOfAsked, data(1, 'two'), read(1, 'answerthen'))
  const restored = rig.knows(1, 0, 0)
  t.same(restored.told, ['question'])
  restored.says('answer')
  t.same(restored.told, ['question', 'two'])
  t.end()
})

void t.test('...nor on another connection', t => {
  const rig = serving()
  rig.joins()
  rig.joins()
  sync(rig)
  protect(rig)
  failOver(rig, 'attach')
  tail(rig, adopt(1, 0, ''), adopt(2, 0, ''), data(1, 'one'), read(1, 'first'), data(2, 'two'))
  const restored = rig.knows(1, 0, 0)
  t.same(restored.told, [], 'not before it is known where all of them stand')
  const other = rig.knows(2, 0, 0)
  t.same(restored.told, ['one'])
  t.same(other.told, [])
  // Client 1 was given nothing of it, so nothing of it has to be there.
  tailEnd(rig)
  t.same(other.told, ['two'])
  t.end()
})

void t.test('a connection that diverged is sent its input all the same, for others may know of it', t => {
  const { rig, pair } = asked()
  tail(rig, ...tailOfAsked, data(1, 'again'), read(1, 'answeranswer'), data(1, 'last'))
  const restored = rig.knows(1, 0, 0)
  restored.says('ANSWER')
  t.same(pair.client.told, ['answer', '<reset>'])
  t.same(restored.told, ['question', 'again'], 'it has not been reset')
  restored.says('shrt')
  t.same(restored.told, ['question', 'again'], 'more is awaited of it')
  tailEnd(rig)
  t.same(restored.told, ['question', 'again'])
  rig.pass(20, 'b')
  rig.pass(80, 'b')
  t.same(restored.told, ['question', 'again', 'last'], 'but not for ever')
  t.equal(rig.state, 'failing-over', 'it is given time for what it was sent last')
  rig.pass(20, 'b')
  rig.pass(80, 'b')
  t.equal(rig.state, 'unprotected')
  t.same(restored.told, ['question', 'again', 'last', '<reset>'])
  t.same(pair.client.told, ['answer', '<reset>'], 'of which its client hears nothing')
  t.match(rig.gateway.lastFailover, { kept: 0, reset: 1, diverged: 1 })
  t.end()
})

void t.test('input that the restored guest has already is not sent twice', t => {
  const { rig } = asked()
  tail(rig, adopt(1, 0, ''), data(1, 'question'), data(1, 'two'), end(1))
  const restored = rig.knows(1, 4, 0)
  tailEnd(rig)
  t.same(restored.told, ['tion', 'two', '<end>'])
  t.end()
})

/** Mode checkpoint: the client was told nothing since checkpoint 7, in which the guest had said `early`. */
function heldForCheckpoint(client: 'there' | 'gone' = 'there'): { rig: Rig, pair: Pair } {
  const rig = serving({ services: [{ name: 'shop', release: 'checkpoint' }], heldBytes: 8 })
  const pair = rig.joins()
  sync(rig)
  protect(rig)
  pair.guest.says('early')
  const at = mark(rig, 8)
  pair.client.says('question')
  pair.guest.says('late')
  rig.acks()
  counts(rig, 8, at)
  t.same(pair.client.told, ['early'])
  if (client === 'gone') {
    pair.client.resets()
    rig.acks()
  }
  failOver(rig, 'attach')
  return { rig, pair }
}

void t.test('held output from after the checkpoint is dropped: the guest may say something else now', t => {
  const { rig, pair: { client } } = heldForCheckpoint()
  tail(rig, adopt(1, 0, 'early'), data(1, 'question'), read(1, 'earlylate'))
  const restored = rig.knows(1, 0, 7, 5)
  t.same(client.told, ['early'], 'though it has said two bytes more by now')
  tailEnd(rig)
  rig.from('a', { type: 'position', canRestore: true, lastLsn: rig.gateway.writer.committed })
  restored.says('soon')
  t.same(client.told, ['early', 'soon'])
  t.equal(rig.gateway.diverged, undefined)
  t.end()
})

void t.test('...and if the client is gone, it is compared with nothing, for it had not been given', t => {
  const { rig } = heldForCheckpoint('gone')
  tail(rig, adopt(1, 0, 'early'), data(1, 'question'), read(1, 'earlylate'), reset(1))
  const restored = rig.knows(1, 0, 5)
  restored.says('soon')
  tailEnd(rig)
  rig.pass(20, 'b')
  t.same(restored.told, ['question', '<reset>'])
  t.match(rig.gateway.lastFailover, { diverged: 0 })
  t.equal(rig.gateway.diverged, undefined)
  t.end()
})

void t.test('output is asked for from what had been read when the guest stood still', t => {
  const { rig } = heldForCheckpoint()
  rig.ordered()
  tail(rig, adopt(1, 0, 'early'))
  t.same(rig.ordered().slice(0, 1), ['attach 1 from 5'])
  t.end()
})

void t.test('...also if the client has been given more since: what is made again is compared', t => {
  const { rig, pair: { client } } = asked()
  rig.ordered()
  tail(rig, ...tailOfAsked)
  t.same(rig.ordered().slice(0, 1), ['attach 1 from 0'])
  rig.knows(1, 0, 3, 0).says('banana')
  t.same(client.told, ['answer', '<reset>'])
  t.match(rig.gateway.diverged, /it said something else than before/)
  t.end()
})

void t.test('...but for what the guest takes for received and nobody had read: that is reported', t => {
  const { rig, pair: { client } } = asked()
  tail(rig, ...tailOfAsked)
  const guest = rig.knows(1, 0, 2)
  guest.says('swer')
  tailEnd(rig)
  t.same(rig.reported('unverified'), [{ type: 'unverified', connection: 1, bytes: 4 }])
  t.match(rig.gateway.lastFailover, { kept: 1, diverged: 0, unverifiedBytes: 4 })
  guest.says(', and more')
  t.same(client.told, ['answer', ', and more'])
  t.end()
})

void t.test('a guest side that was paused for held output is read again in the new generation', t => {
  const { rig, pair: { client, guest } } = withClient({ connectionBytes: 10 })
  client.says('question')
  guest.says('x'.repeat(20))
  t.ok(guest.paused)
  client.backlog = 20
  failOver(rig, 'attach')
  tail(rig, adopt(1, 0, ''), data(1, 'question'), read(1, 'x'.repeat(20)))
  const restored = rig.knows(1, 0, 0)
  restored.says('x'.repeat(20))
  tailEnd(rig)
  t.equal(rig.state, 'unprotected')
  t.notOk(restored.paused)
  t.end()
})

void t.test('what is made again is acknowledged as it comes, or the guest would stop at its limit', t => {
  const { rig } = asked()
  tail(rig, ...tailOfAsked, data(1, 'two'))
  rig.acknowledged.clear()
  const restored = rig.knows(1, 0, 0)
  restored.says('ans')
  t.equal(rig.acknowledged.get(rig.newestConnection()), 3)
  restored.says('wer')
  t.equal(rig.acknowledged.get(rig.newestConnection()), 6)
  t.end()
})

void t.test('floors count from where the restored guest stands, so that a mark can be given', t => {
  const { rig } = asked()
  rig.linkDown('a')
  tail(rig, ...tailOfAsked)
  rig.knows(1, 8, 0).says('answer')
  tailEnd(rig)
  rig.linkUp('a')
  rig.from('a', { type: 'position', canRestore: true, lastLsn: rig.gateway.writer.committed })
  rig.acks()
  rig.from('b', { type: 'mark-request', checkpoint: checkpointId(1) })
  rig.answer('afterReads')
  t.equal(rig.messages('mark').at(-1)?.to, 'b', 'it has all input in its checkpoint')
  t.end()
})

void t.test('what its guest acknowledges during the replay is not forgotten', t => {
  const { rig } = asked()
  tail(rig, ...tailOfAsked)
  const restored = rig.knows(1, 0, 0)
  rig.gateway.noteFloor(rig.newestConnection(), inputOffset(8))
  restored.says('answer')
  tailEnd(rig)
  rig.from('a', { type: 'position', canRestore: true, lastLsn: rig.gateway.writer.committed })
  rig.acks()
  rig.from('b', { type: 'mark-request', checkpoint: checkpointId(1) })
  rig.answer('afterReads')
  t.equal(rig.messages('mark').at(-1)?.to, 'b')
  t.end()
})

void t.test('...but what the old guest had acknowledged is', t => {
  const { rig, pair: { client, id } } = withClient()
  client.says('question')
  rig.gateway.noteFloor(id, inputOffset(8))
  rig.acks()
  failOver(rig, 'attach')
  tail(rig, adopt(1, 0, ''), data(1, 'question'))
  rig.knows(1, 0, 0).acknowledges = false
  tailEnd(rig)
  rig.from('a', { type: 'position', canRestore: true, lastLsn: rig.gateway.writer.committed })
  rig.acks()
  rig.from('b', { type: 'mark-request', checkpoint: checkpointId(1) })
  rig.answer('afterReads')
  t.match(rig.messages('mark-refused').at(-1), { to: 'b', reason: /has not acknowledged/ })
  t.end()
})

void t.test('a client that resets during the replay is told to the restored guest afterwards', t => {
  const { rig, pair: { client } } = asked()
  tail(rig, ...tailOfAsked)
  const restored = rig.knows(1, 0, 0)
  client.resets()
  restored.says('answer')
  t.same(restored.told, ['question'])
  tailEnd(rig)
  t.same(restored.told, ['question', '<reset>'])
  t.equal(rig.gateway.dataPath.connections.size, 0)
  t.end()
})

void t.test('a client that ends during the replay is heard afterwards', t => {
  const { rig, pair: { client } } = asked()
  tail(rig, ...tailOfAsked)
  const restored = rig.knows(1, 0, 0)
  client.ends()
  restored.says('answer')
  tailEnd(rig)
  t.same(restored.told, ['question', '<end>'])
  t.end()
})

void t.test('a connection whose client had gone is replayed for what it did, and then let go', t => {
  const { rig, pair: { client } } = withClient()
  client.says('question')
  client.resets()
  rig.acks()
  failOver(rig, 'attach')
  tail(rig, adopt(1, 0, ''), data(1, 'question'), read(1, 'answer'), reset(1))
  const restored = rig.knows(1, 0, 0)
  t.same(restored.told, ['question'])
  restored.says('answer')
  t.same(restored.told, ['question', '<reset>'])
  tailEnd(rig)
  t.match(rig.gateway.lastFailover, { kept: 0, reset: 0, diverged: 0 })
  t.end()
})

void t.test('a connection that finished after the mark is replayed to its end', t => {
  const rig = guarded()
  failOver(rig, 'attach')
  tail(rig, adopt(1, 0, ''), data(1, 'bye'), end(1), read(1, 'ok'), guestEnd(1, 2), floor(1, 4))
  const restored = rig.knows(1, 0, 0)
  t.same(restored.told, ['bye', '<end>'])
  tailEnd(rig)
  restored.says('ok')
  t.equal(rig.state, 'failing-over')
  restored.ends()
  t.equal(rig.state, 'unprotected')
  t.match(rig.gateway.lastFailover, { diverged: 0 })
  t.end()
})

void t.test('a stream that a later record shows to have been reset need not end first', t => {
  const rig = guarded()
  failOver(rig, 'attach')
  tail(rig, adopt(1, 0, ''), data(1, 'bye'), guestReset(1, 0))
  const restored = rig.knows(1, 0, 0)
  tailEnd(rig)
  t.equal(rig.state, 'failing-over')
  restored.resets()
  t.equal(rig.state, 'unprotected')
  t.end()
})

void t.test('more of the tail is asked for as it is used up', t => {
  const rig = guarded()
  failOver(rig, 'attach')
  const [first] = rig.messages('tail-credit')
  t.match(first, { to: 'b', bytes: 16 << 10 })
  tail(rig, open(5), connected(5))
  const credit = rig.messages('tail-credit').at(-1)?.bytes ?? 0
  t.ok(credit > 0 && credit < 20, 'as much as came')
  t.end()
})

void t.test('a promotion that is told twice restores once', t => {
  const { rig } = asked()
  rig.ordered()
  promoted(rig)
  t.same(rig.ordered(), [])
  t.end()
})
