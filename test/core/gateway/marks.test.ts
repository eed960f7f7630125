import t from 'tap'
import {
  checkpointId, generation, inputOffset, lsn, noHistory, noLsn, type ConnectionId
} from '../../../src/core/ids.ts'
import { nthHistory, type Rig } from './rig.ts'
import { counts, guarded, mark, protect, serving, sync, syncing, withClient } from './scenes.ts'

function asks(rig: Rig, id: number, history = rig.gateway.writer.history): void {
  rig.from('a', { type: 'mark-request', checkpoint: checkpointId(id) }, { history })
  rig.answer('afterReads')
}

const refusals = (rig: Rig): string[] => rig.messages('mark-refused').map(({ reason }) => reason)
const floor = (rig: Rig, id: ConnectionId, input: number): void => {
  rig.gateway.noteFloor(id, inputOffset(input))
}

void t.test('the mark is the place in the log where the guest stands still', t => {
  const { rig, pair: { client } } = withClient()
  client.says('before')
  rig.acks()
  const at = mark(rig, 8)
  rig.acks()
  client.says('after')
  t.same(rig.logged().slice(-3), ['data 1 before', 'mark 8', 'data 1 after'])
  t.equal(at, rig.gateway.writer.lastLsn - 1)
  t.match(rig.reported('mark').at(-1), { checkpoint: 8, lsn: at })
  t.end()
})

void t.test('what the guest said before it stood still is read before its mark is logged', t => {
  const { rig, pair: { client, guest } } = withClient()
  client.says('question')
  rig.acks()
  rig.from('a', { type: 'mark-request', checkpoint: checkpointId(8) })
  rig.logged()
  guest.says('answer')
  t.notOk(rig.messages('mark').some(({ checkpoint }) => checkpoint === 8), 'it waits for the kernel')
  rig.answer('afterReads')
  t.same(rig.logged(), ['read 1 to 6', 'mark 8'])
  t.end()
})

void t.test('a mark leaves at once, also while epochs are out', t => {
  const { rig, pair: { client } } = withClient()
  client.says('one')
  mark(rig, 8)
  t.equal(rig.gateway.writer.epochsInFlight, 1)
  rig.acks()
  t.same(rig.logged().slice(-2), ['data 1 one', 'mark 8'])
  t.end()
})

void t.test('floors that have moved are logged before the mark', t => {
  const { rig, pair: { client, id } } = withClient()
  client.says('question')
  rig.acks()
  floor(rig, id, 4)
  floor(rig, id, 6)
  rig.logged()
  mark(rig, 8)
  t.same(rig.logged(), ['floor 1 at 6', 'mark 8'])
  t.end()
})

void t.test('floors are logged now and then without a mark, so that a mark has few to log', t => {
  const { rig, pair: { client, id } } = withClient()
  client.says('question')
  rig.acks()
  floor(rig, id, 8)
  rig.logged()
  rig.pass(100, 'a', 'b')
  t.same(rig.logged(), ['floor 1 at 8'])
  t.end()
})

void t.test('a floor never lies beyond what was logged, nor goes back', t => {
  const { rig, pair: { client, id } } = withClient()
  client.says('question')
  rig.acks()
  floor(rig, id, 100)
  floor(rig, id, 3)
  rig.logged()
  mark(rig, 8)
  t.same(rig.logged(), ['floor 1 at 8', 'mark 8'])
  t.end()
})

void t.test('without a history there is no mark', t => {
  const rig = serving()
  asks(rig, 7, noHistory)
  t.same(refusals(rig), ['no history is running'])
  t.match(rig.reported('mark-refused'), [{ checkpoint: 7 }])
  t.end()
})

void t.test('a checkpoint begun in another history gets none', t => {
  const rig = syncing()
  asks(rig, 7, nthHistory(9))
  t.same(refusals(rig), [`the history is ${nthHistory(1)}`])
  t.same(rig.messages('mark'), [])
  t.end()
})

void t.test('only the primary is given a mark', t => {
  const rig = syncing()
  rig.from('b', { type: 'mark-request', checkpoint: checkpointId(7) })
  rig.answer('afterReads')
  rig.from('a', { type: 'mark-request', checkpoint: checkpointId(7) }, { generation: generation(0) })
  t.notOk(rig.waits('afterReads'), 'and not one of an older generation')
  t.same(rig.messages('mark'), [])
  t.end()
})

void t.test('input from before the history must have reached the guest, for no log holds it', t => {
  const rig = serving()
  const { client, id } = rig.joins()
  client.says('early')
  sync(rig)
  asks(rig, 7)
  t.match(refusals(rig), [/connection 1 has input from before this history/])
  floor(rig, id, 4)
  asks(rig, 8)
  t.equal(refusals(rig).length, 2, 'most of it is not all')
  floor(rig, id, 5)
  protect(rig)
  t.equal(rig.state, 'protected')
  t.end()
})

void t.test('a floor from before the history is not logged: the log has begun beyond it', t => {
  const rig = serving()
  const { client, id } = rig.joins()
  client.says('early')
  sync(rig)
  rig.logged()
  floor(rig, id, 3)
  rig.pass(100, 'a', 'b')
  t.same(rig.logged(), [])
  floor(rig, id, 5)
  rig.pass(100, 'a', 'b')
  t.same(rig.logged(), ['floor 1 at 5'])
  t.end()
})

/** A client that said something before the history began, and is through. */
function earlyAndOver(rig: Rig): ReturnType<Rig['joins']> {
  const pair = rig.joins()
  pair.client.says('early')
  pair.guest.says('answer')
  pair.client.ends()
  pair.guest.ends()
  return pair
}

void t.test('a finished connection is waited for, too, until the guest has all of its input', t => {
  const rig = serving()
  const { id, client } = earlyAndOver(rig)
  t.same(client.told, ['answer', '<end>'])
  t.equal(rig.gateway.dataPath.connections.size, 0)
  sync(rig)
  asks(rig, 7)
  t.match(refusals(rig), [/connection 1 has input/])
  floor(rig, id, 6)
  protect(rig)
  t.equal(rig.state, 'protected')
  t.same([...rig.gateway.dataPath.floors.lingering], [], 'and then it is forgotten')
  t.end()
})

void t.test('...and one of which the guest has all when the history begins is in no log', t => {
  const rig = serving()
  const { id } = earlyAndOver(rig)
  floor(rig, id, 6)
  sync(rig)
  t.same(rig.logged(), [])
  protect(rig)
  t.equal(rig.state, 'protected')
  t.end()
})

void t.test('...but not for ever: its last acknowledgement may never come', t => {
  const rig = serving()
  earlyAndOver(rig)
  sync(rig)
  for (let id = 1; id <= 20; id++) asks(rig, id)
  t.equal(refusals(rig).length, 20)
  protect(rig)
  t.equal(rig.state, 'protected')
  t.end()
})

void t.test('...and not if the guest has reset it', t => {
  const rig = serving()
  const { guest, client } = earlyAndOver(rig)
  sync(rig)
  guest.resets()
  protect(rig)
  t.equal(rig.state, 'protected')
  t.same(client.told, ['answer', '<end>'], 'its client is through with it')
  t.end()
})

void t.test('a live connection that the guest has reset is not waited for', t => {
  const rig = serving()
  const { client, guest } = rig.joins()
  client.says('early')
  rig.linkUp('b')
  rig.from('b', { type: 'position', canRestore: true, lastLsn: noLsn }, { history: noHistory })
  guest.resets()
  t.same(client.told, [], 'its reset is held')
  mark(rig, 7)
  t.same(refusals(rig), [])
  t.end()
})

void t.test('a connection that its client has reset keeps no checkpoint from counting for long', t => {
  const rig = serving()
  const { client, guest } = rig.joins()
  client.says('early')
  client.resets()
  t.same(guest.told, ['early', '<reset>'])
  sync(rig)
  asks(rig, 7)
  mark(rig, 8)
  t.equal(rig.messages('mark').at(-1)?.checkpoint, 8)
  t.end()
})

void t.test('a checkpoint counts with the mark it was given, in its history, at the backup', t => {
  const rig = syncing()
  const at = mark(rig, 7)
  rig.acks()
  const message = { type: 'counted', checkpoint: checkpointId(7), mark: at, bytes: 100 } as const
  rig.from('a', message)
  rig.from('b', message, { history: nthHistory(9) })
  rig.from('b', { ...message, checkpoint: checkpointId(6) })
  t.equal(rig.state, 'syncing', 'none of these counts')
  rig.from('b', message)
  t.match(rig.gateway.protection, { state: 'protected', backup: 'b', checkpoint: 7, mark: at })
  rig.from('b', message)
  t.same(rig.reported('checkpoint-counted').map(({ checkpoint }) => checkpoint), [7], 'once')
  t.end()
})

void t.test('a checkpoint that counts with another mark stops the process', t => {
  const rig = syncing()
  const at = mark(rig, 7)
  rig.acks()
  t.throws(() => { counts(rig, 7, lsn(at + 1)) }, /counts with the mark .* which was never given/)
  t.end()
})

void t.test('an older checkpoint does not count after a newer one', t => {
  const rig = syncing()
  const [seven, eight] = [mark(rig, 7), mark(rig, 8)]
  rig.acks()
  counts(rig, 8, eight)
  counts(rig, 7, seven)
  t.match(rig.gateway.protection, { state: 'protected', checkpoint: 8 })
  t.end()
})

void t.test('a checkpoint that failed leaves what there was', t => {
  const rig = guarded()
  mark(rig, 8)
  rig.from('a', { type: 'checkpoint-failed', checkpoint: checkpointId(8), reason: 'torn' })
  t.match(rig.gateway.protection, { state: 'protected', checkpoint: 7 })
  t.match(rig.reported('checkpoint-failed'), [{ checkpoint: 8, reason: 'torn' }])
  rig.from('b', { type: 'checkpoint-failed', checkpoint: checkpointId(8), reason: 'torn' })
  t.equal(rig.reported('checkpoint-failed').length, 1, 'only the primary knows')
  t.end()
})

void t.test('a guest that nothing can restore is never called protected', t => {
  const rig = syncing()
  rig.from('b', { type: 'position', canRestore: false, lastLsn: rig.gateway.writer.committed })
  t.equal(rig.state, 'unprotected')
  t.match(rig.reason, /its input is replicated to b, but no engine can restore it/)
  const at = mark(rig, 7)
  rig.acks()
  counts(rig, 7, at)
  t.equal(rig.state, 'unprotected')
  rig.from('b', { type: 'position', canRestore: true, lastLsn: rig.gateway.writer.committed })
  t.equal(rig.state, 'protected', 'its agent came back with an engine that can')
  t.end()
})

void t.test('a guest whose connections cannot be joined is never called protected, nor failed over', t => {
  const rig = syncing({ floorsFromBacklog: true })
  t.equal(rig.state, 'unprotected')
  t.match(rig.reason, /its input is replicated to b, but its connections could not be joined again/)
  const at = mark(rig, 7)
  rig.acks()
  counts(rig, 7, at)
  t.equal(rig.state, 'unprotected')
  rig.pass(400, 'b')
  t.equal(rig.state, 'lost')
  t.end()
})

void t.test('for such a guest, what the kernel has taken counts as acknowledged', t => {
  const rig = serving({ floorsFromBacklog: true })
  const { client, guest } = rig.joins()
  client.says('early')
  guest.backlog = 2
  sync(rig)
  asks(rig, 7)
  t.match(refusals(rig), [/connection 1 has input/])
  guest.backlog = 0
  mark(rig, 8)
  t.equal(rig.messages('mark').length, 1)
  t.end()
})
