import t from 'tap'
import { checkpointId, lsn, noHistory, noLsn } from '../../../src/core/ids.ts'
import type { ReleaseMode } from '../../../src/core/gateway/settings.ts'
import type { Rig } from './rig.ts'
import { counts, failOver, mark, protect, serving, sync, withClient } from './scenes.ts'

const mode = (release: ReleaseMode): { services: { name: string, release: ReleaseMode }[] } =>
  ({ services: [{ name: 'shop', release }] })

const ack = (rig: Rig, upTo: number): void => { rig.from('b', { type: 'ack', lsn: lsn(upTo) }) }

void t.test('epoch: output waits until everything logged before it was read is committed', t => {
  const { rig, pair: { client, guest } } = withClient()
  const { lastLsn } = rig.gateway.writer
  client.says('one')
  guest.says('first')
  client.says('two')
  guest.says('second')
  t.same(client.told, [])
  ack(rig, lastLsn + 1)
  t.same(client.told, ['first'], 'what was logged after it was read is not waited for')
  rig.acks()
  t.same(client.told, ['first', 'second'])
  t.end()
})

void t.test('epoch: input on other connections is waited for, too: the guest may have used it', t => {
  const rig = serving()
  const [mine, other] = [rig.joins(), rig.joins()]
  sync(rig)
  other.client.says('out')
  other.client.says('gathers')
  mine.guest.says('answer')
  ack(rig, rig.gateway.writer.lastLsn - 1)
  t.same(mine.client.told, [])
  rig.acks()
  t.same(mine.client.told, ['answer'])
  t.end()
})

void t.test('epoch: what was read when all is committed goes at once', t => {
  const { rig, pair: { client, guest } } = withClient()
  client.says('one')
  rig.acks()
  guest.says('first')
  guest.says('second')
  t.same(client.told, ['first', 'second'])
  t.end()
})

void t.test('epoch: input goes to the guest at once, whatever the backup has', t => {
  const { pair: { client, guest } } = withClient()
  client.says('one')
  client.says('two')
  client.ends()
  t.same(guest.told, ['one', 'two', '<end>'])
  t.end()
})

void t.test('epoch: the end and the reset of output are logged, and wait as its bytes do', t => {
  for (const [does, told, record] of [
    ['ends', '<end>', 'guest end 1 at 6'], ['resets', '<reset>', 'guest reset 1 at 6']
  ] as const) {
    const { rig, pair: { client, guest } } = withClient()
    guest.says('answer')
    t.same(client.told, ['answer'])
    rig.logged()
    guest[does]()
    t.same(rig.logged(), ['read 1 to 6', record])
    t.same(client.told, ['answer'])
    rig.acks()
    t.same(client.told, ['answer', told])
  }
  t.end()
})

void t.test('epoch: a client that is gone gets nothing of what was held for it', t => {
  const { rig, pair: { client, guest } } = withClient()
  client.says('one')
  guest.says('answer')
  client.resets()
  rig.acks()
  t.same(client.told, [])
  t.same(rig.logged().slice(-3), ['data 1 one', 'read 1 to 6', 'reset 1'])
  t.end()
})

void t.test('checkpoint: before the first mark nothing has to wait', t => {
  const rig = serving(mode('checkpoint'))
  const { client, guest } = rig.joins()
  sync(rig)
  client.says('one')
  guest.says('answer')
  t.same(client.told, ['answer'], 'and nothing for the backup')
  t.end()
})

void t.test('checkpoint: output waits for the first checkpoint whose mark came after it', t => {
  const { rig, pair: { client, guest } } = withClient(mode('checkpoint'))
  guest.says('early')
  t.same(client.told, [], 'after a mark everything waits')
  const eight = mark(rig, 8)
  guest.says('late')
  rig.acks()
  t.same(client.told, [], 'not for the commit')
  counts(rig, 8, eight)
  t.same(client.told, ['early'])
  const nine = mark(rig, 9)
  rig.acks()
  counts(rig, 9, nine)
  t.same(client.told, ['early', 'late'])
  t.end()
})

void t.test('checkpoint: what was read between the request and the mark belongs to that checkpoint', t => {
  const { rig, pair: { client, guest } } = withClient(mode('checkpoint'))
  rig.from('a', { type: 'mark-request', checkpoint: checkpointId(8) })
  guest.says('last words')
  rig.answer('afterReads')
  rig.acks()
  counts(rig, 8, rig.messages('mark').at(-1)?.lsn ?? noLsn)
  t.same(client.told, ['last words'])
  t.end()
})

void t.test('checkpoint: a first checkpoint that failed lets go what waited for it', t => {
  const rig = serving(mode('checkpoint'))
  const { client, guest } = rig.joins()
  sync(rig)
  mark(rig, 7)
  guest.says('answer')
  t.same(client.told, [])
  rig.from('a', { type: 'checkpoint-failed', checkpoint: checkpointId(7), reason: 'torn' })
  t.same(client.told, ['answer'], 'the guest is not protected: nothing is promised')
  t.end()
})

void t.test('checkpoint: one that failed lets nothing go while the one before it may still count', t => {
  const rig = serving(mode('checkpoint'))
  const { client, guest } = rig.joins()
  sync(rig)
  guest.says('early')
  const seven = mark(rig, 7)
  guest.says('late')
  mark(rig, 8)
  rig.acks()
  rig.from('a', { type: 'checkpoint-failed', checkpoint: checkpointId(8), reason: 'torn' })
  t.same(client.told, ['early'], 'said before the first mark, when no checkpoint could count')
  counts(rig, 7, seven)
  t.equal(rig.state, 'protected')
  t.same(client.told, ['early'], 'the checkpoint that counts lacks what was said after its mark')
  const nine = mark(rig, 9)
  rig.acks()
  counts(rig, 9, nine)
  t.same(client.told, ['early', 'late'])
  t.end()
})

void t.test('checkpoint: a later one that failed lets nothing go', t => {
  const { rig, pair: { client, guest } } = withClient(mode('checkpoint'))
  guest.says('answer')
  mark(rig, 8)
  rig.from('a', { type: 'checkpoint-failed', checkpoint: checkpointId(8), reason: 'torn' })
  t.same(client.told, [])
  t.end()
})

void t.test('checkpoint: when the one that counted is lost, only one that has its mark is waited for', t => {
  const log = {
    lastLsn: noLsn, checkpoint: checkpointId(0), mark: noLsn, checkpointBytes: 0, tailBytes: 0,
    tailRecords: 0, connections: 0, memoryBytes: 0, diskBytes: 0
  }
  for (const marked of [false, true]) {
    const { rig, pair: { client, guest } } = withClient(mode('checkpoint'))
    guest.says('held')
    t.same(client.told, [])
    const at = marked ? mark(rig, 8) : undefined
    const states: string[] = []
    const write = client.write.bind(client)
    client.write = bytes => {
      states.push(rig.state)
      write(bytes)
    }
    rig.beat('b', { log })
    t.same(client.told, marked ? [] : ['held'], 'nothing could take it back now')
    if (at !== undefined) {
      rig.acks()
      counts(rig, 8, at)
    }
    t.same(client.told, ['held'])
    t.same(states, [marked ? 'protected' : 'syncing'])
  }
  t.end()
})

void t.test('checkpoint: in a new history nothing waits for a checkpoint of the old one', t => {
  const { rig, pair: { client, guest } } = withClient(mode('checkpoint'))
  guest.says('answer')
  rig.linkDown('b')
  rig.linkUp('b')
  t.same(client.told, [])
  rig.from('b', { type: 'position', canRestore: true, lastLsn: noLsn }, { history: noHistory })
  t.equal(rig.state, 'syncing')
  t.same(client.told, ['answer'])
  guest.says('more')
  t.same(client.told, ['answer', 'more'])
  t.end()
})

void t.test('checkpoint: input after the mark is logged and kept like any other', t => {
  const { rig, pair: { client } } = withClient(mode('checkpoint'))
  client.says('one')
  t.same(rig.logged().slice(-1), ['data 1 one'])
  t.end()
})

void t.test('immediate: nothing waits for anything', t => {
  const { rig, pair: { client, guest } } = withClient(mode('immediate'))
  client.says('one')
  guest.says('answer')
  guest.ends()
  t.same(client.told, ['answer', '<end>'])
  t.ok(rig.gateway.writer.committed < rig.gateway.writer.lastLsn)
  t.end()
})

void t.test('too much held: the guest is not read until half of it has gone', t => {
  const { rig, pair: { client, guest } } = withClient({ heldBytes: 100, inFlightBytes: 1 << 20 })
  client.says('one')
  guest.says('x'.repeat(60))
  t.notOk(guest.paused)
  client.says('two')
  guest.says('y'.repeat(60))
  t.ok(guest.paused)
  rig.from('b', { type: 'ack', lsn: lsn(rig.gateway.writer.committed + 1) })
  t.ok(guest.paused, 'sixty of a hundred are held')
  rig.acks()
  t.notOk(guest.paused)
  t.end()
})

void t.test('...and one whose client has reset meanwhile is left alone', t => {
  const rig = serving({ heldBytes: 100 })
  const [mine, other] = [rig.joins(), rig.joins()]
  sync(rig)
  mine.client.says('one')
  mine.guest.says('x'.repeat(200))
  other.client.says('two')
  t.ok(mine.guest.paused)
  mine.client.resets()
  t.same(mine.guest.told, ['one', '<reset>'])
  t.doesNotThrow(() => { rig.acks() }, 'nothing may be called on a side that was reset')
  t.notOk(other.guest.paused)
  t.end()
})

void t.test('...and one that has finished when its path is cut', t => {
  const rig = serving({ heldBytes: 100, epochBytes: 1 })
  const [mine, other, third] = [rig.joins(), rig.joins(), rig.joins()]
  sync(rig)
  protect(rig)
  mine.client.ends()
  mine.guest.says('x'.repeat(200))
  failOver(rig, 'drain')
  mine.guest.ends()
  const { lastLsn } = rig.gateway.writer
  third.guest.ends()
  other.guest.says('y'.repeat(60))
  ack(rig, lastLsn)
  t.equal(mine.client.told.at(-1), '<end>')
  t.equal(rig.gateway.dataPath.heldBytes, 60, 'still more than half of what may be held')
  rig.answer('cutPath')
  rig.acks()
  t.equal(rig.gateway.dataPath.heldBytes, 0)
  t.ok(mine.guest.paused, 'there is nobody to be read any more')
  t.end()
})

void t.test('a client that does not take its output: its guest is not read, and looked at again', t => {
  const { rig, pair: { client, guest } } = withClient({ connectionBytes: 100 })
  client.says('one')
  client.backlog = 90
  guest.says('x'.repeat(20))
  t.ok(guest.paused)
  rig.acks()
  t.ok(guest.paused)
  client.backlog = 0
  rig.pass(100, 'a', 'b')
  t.notOk(guest.paused, 'its socket never was full, so it told of no drain')
  client.backlog = 200
  guest.says('more')
  t.ok(guest.paused)
  client.backlog = 0
  client.drains()
  t.notOk(guest.paused)
  t.end()
})

void t.test('a guest that does not take its input: its client is not read until it does', t => {
  const { rig, pair: { client, guest } } = withClient({ connectionBytes: 100 })
  guest.backlog = 101
  client.says('one')
  t.ok(client.paused)
  guest.backlog = 60
  rig.pass(100, 'a', 'b')
  t.ok(client.paused)
  guest.backlog = 0
  guest.drains()
  t.notOk(client.paused)
  t.end()
})

void t.test('a log at its limit: clients that speak are not read until it has room', t => {
  const { rig, pair: { client } } = withClient({ inFlightBytes: 50 })
  client.says('x'.repeat(60))
  t.ok(client.paused)
  rig.acks()
  t.notOk(client.paused)
  t.end()
})
