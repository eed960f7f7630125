import t from 'tap'
import { checkpointId, inputOffset, lsn, noHistory, noLsn } from '../../../src/core/ids.ts'
import type { LogPosition } from '../../../src/core/message.ts'
import { nthHistory, type Rig } from './rig.ts'
import { counts, guarded, mark, protect, serving, sync, syncing, withClient } from './scenes.ts'

/** What the backup says that it holds, if `checkpoint` is the one that counts there. */
function holding(rig: Rig, checkpoint: number): { readonly log: LogPosition } {
  return {
    log: {
      lastLsn: rig.gateway.writer.committed, checkpoint: checkpointId(checkpoint), mark: noLsn,
      checkpointBytes: 0, tailBytes: 0, tailRecords: 0, connections: 0, memoryBytes: 0, diskBytes: 0
    }
  }
}

const stalled = (rig: Rig): boolean | undefined => {
  const { protection } = rig.gateway
  return protection.state === 'protected' ? protection.stalled : undefined
}

void t.test('a backup that holds nothing gets a history, which begins with where everybody stands', t => {
  const rig = serving()
  const { client, guest } = rig.joins()
  client.says('four')
  guest.says('three')
  rig.linkUp('b')
  t.same(rig.ordered().slice(-1), ['b: assign backup'])
  rig.from('b', { type: 'position', canRestore: true, lastLsn: noLsn }, { history: noHistory })
  t.equal(rig.state, 'syncing')
  t.same(rig.ordered(), ['b: begin', 'a: assign primary'])
  t.match(rig.messages('begin'), [{ firstLsn: 4, about: { history: nthHistory(1) } }])
  t.match(rig.messages('assign').at(-1), { peer: 'b', peerAddress: 'b:1', served: true })
  t.same(rig.logged().slice(-1), ['adopt 1 in 4 out 5'])
  t.end()
})

void t.test('a connection that the guest has not taken is adopted as such', t => {
  const rig = serving()
  rig.comes()
  rig.linkUp('b')
  rig.from('b', { type: 'position', canRestore: true, lastLsn: noLsn }, { history: noHistory })
  t.same(rig.logged(), ['adopt 1 in 0 out 0 not connected'])
  rig.takes(1)
  rig.acks()
  t.same(rig.logged(), ['connected 1'])
  t.end()
})

void t.test('a link that comes back goes on in the same history, with what the backup lacks', t => {
  const { rig, pair: { client, guest } } = withClient()
  client.says('one')
  rig.acks()
  rig.logged()
  client.says('two')
  guest.says('answer')
  rig.linkDown('b')
  client.says('three')
  rig.pass(200, 'a')
  rig.linkUp('b')
  const { committed } = rig.gateway.writer
  rig.from('b', { type: 'position', canRestore: true, lastLsn: committed })
  t.match(rig.reported('link-resumed'), [{ host: 'b', lsn: committed }])
  t.equal(stalled(rig), false)
  t.same(client.told, [])
  rig.from('b', { type: 'ack', lsn: lsn(committed + 1) })
  t.same(client.told, ['answer'])
  t.same(rig.logged(), ['data 1 two', 'read 1 to 6', 'data 1 three'])
  t.equal(rig.messages('begin').length, 1)
  t.equal(rig.messages('epoch').at(-1)?.about.history, nthHistory(1))
  t.end()
})

void t.test('what a backup says it holds is as good as its acknowledgement', t => {
  const { rig, pair: { client, guest } } = withClient()
  client.says('one')
  guest.says('answer')
  rig.linkDown('b')
  rig.linkUp('b')
  rig.from('b', { type: 'position', canRestore: true, lastLsn: rig.gateway.writer.lastLsn })
  t.same(client.told, ['answer'])
  t.end()
})

void t.test('a backup that lost its memory gets a new history, in which no checkpoint counts yet', t => {
  const { rig, pair: { client, guest, id } } = withClient()
  client.says('one')
  guest.says('answer')
  rig.linkDown('b')
  rig.linkUp('b')
  rig.from('b', { type: 'position', canRestore: true, lastLsn: noLsn }, { history: noHistory })
  t.equal(rig.state, 'syncing')
  t.same(rig.reported('history').map(({ history }) => history), [nthHistory(1), nthHistory(2)])
  t.same(rig.logged().slice(-1), ['adopt 1 in 3 out 6'])
  rig.acks()
  t.same(client.told, ['answer'])
  rig.gateway.noteFloor(id, inputOffset(3))
  protect(rig)
  t.equal(rig.state, 'protected')
  t.end()
})

void t.test('a backup that holds more than it was sent, or the end of no epoch, gets a new history', t => {
  for (const off of [5, -1]) {
    const { rig, pair: { client } } = withClient()
    client.says('one')
    rig.acks()
    rig.linkDown('b')
    rig.linkUp('b')
    rig.from('b', { type: 'position', canRestore: true, lastLsn: lsn(rig.gateway.writer.committed + off) })
    t.equal(rig.messages('begin').length, 2)
    t.equal(rig.state, 'syncing')
  }
  t.end()
})

void t.test('on_link_loss continue: after a window clients are served on, and what was held goes out', t => {
  const { rig, pair: { client, guest } } = withClient()
  client.says('one')
  guest.says('answer')
  rig.linkDown('b')
  rig.pass(300, 'a')
  t.same(client.told, [], 'the link may come back')
  rig.pass(100, 'a')
  t.equal(rig.state, 'unprotected')
  t.equal(rig.reason, 'the link to the backup b is lost')
  t.same(client.told, ['answer'])
  t.match(rig.messages('assign').at(-1), { to: 'a', role: 'primary', peer: '' }, 'no checkpoints for now')
  client.says('two')
  guest.says('more')
  t.same(client.told, ['answer', 'more'])
  t.end()
})

void t.test('...which is said before the first byte goes out that no backup holds', t => {
  const { rig, pair: { client, guest } } = withClient()
  client.says('one')
  guest.says('answer')
  rig.linkDown('b')
  const said: string[] = []
  const write = client.write.bind(client)
  client.write = bytes => {
    said.push(rig.state)
    write(bytes)
  }
  rig.pass(400, 'a')
  t.same(said, ['unprotected'])
  t.end()
})

void t.test('...and the next backup begins a new history', t => {
  const { rig } = withClient()
  rig.linkDown('b')
  rig.pass(400, 'a')
  rig.linkUp('b')
  const { lastLsn } = rig.gateway.writer
  rig.from('b', { type: 'position', canRestore: true, lastLsn }, { history: nthHistory(1) })
  t.equal(rig.state, 'syncing')
  t.match(rig.messages('begin').at(-1), { about: { history: nthHistory(2) } })
  t.end()
})

void t.test('on_link_loss stall: nothing goes out until the backup is back', t => {
  const { rig, pair: { client, guest } } = withClient({ onLinkLoss: 'stall' })
  client.says('one')
  guest.says('answer')
  rig.linkDown('b')
  rig.pass(60_000, 'a')
  t.equal(rig.state, 'protected')
  t.equal(stalled(rig), true)
  t.same(client.told, [])
  rig.linkUp('b')
  rig.from('b', { type: 'position', canRestore: true, lastLsn: rig.gateway.writer.committed })
  rig.acks()
  t.equal(stalled(rig), false)
  t.same(client.told, ['answer'])
  t.end()
})

void t.test('a stalled backup does not hide that the guest is lost, nor freezes its clients for good', t => {
  const rig = serving({ onLinkLoss: 'stall' })
  const { client, guest } = rig.joins()
  sync(rig)
  rig.linkDown('b')
  rig.pass(100, 'a')
  rig.pass(400)
  t.equal(rig.state, 'lost')
  rig.pass(1000)
  t.equal(rig.state, 'lost')
  rig.beat('a')
  t.equal(rig.state, 'syncing', 'the primary is back, and the history goes on')
  t.notOk(client.paused)
  client.says('one')
  t.same(guest.told, ['one'])
  t.end()
})

void t.test('a new backup does not hide that the guest is lost', t => {
  const rig = serving({ onLinkLoss: 'stall' })
  rig.pass(400)
  t.equal(rig.state, 'lost')
  rig.linkUp('b')
  rig.from('b', { type: 'position', canRestore: true, lastLsn: noLsn }, { history: noHistory })
  t.equal(rig.state, 'lost')
  rig.pass(1000, 'b')
  t.equal(rig.state, 'lost')
  t.end()
})

void t.test('a backup whose log failed is tried again after a while', t => {
  const { rig, pair: { client, guest } } = withClient()
  client.says('one')
  guest.says('answer')
  rig.from('b', { type: 'log-failed', reason: 'disk full' })
  t.equal(rig.state, 'unprotected')
  t.equal(rig.reason, "the backup's log failed: disk full")
  t.same(client.told, ['answer'])
  rig.ordered()
  rig.pass(2900, 'a')
  t.same(rig.ordered(), [])
  rig.pass(100, 'a')
  t.same(rig.ordered(), ['b: assign backup'])
  rig.from('b', { type: 'position', canRestore: true, lastLsn: noLsn }, { history: noHistory })
  t.equal(rig.state, 'syncing')
  t.end()
})

void t.test('...and with on_link_loss stall nothing goes out meanwhile', t => {
  const { rig, pair: { client, guest } } = withClient({ onLinkLoss: 'stall' })
  client.says('one')
  guest.says('answer')
  rig.from('b', { type: 'log-failed', reason: 'disk full' })
  t.equal(stalled(rig), true)
  rig.beat('b', holding(rig, 0))
  t.equal(stalled(rig), true, 'a log that failed has lost no checkpoint')
  rig.ordered()
  rig.pass(3000, 'a')
  t.same(client.told, [])
  t.same(rig.ordered(), ['b: assign backup'])
  t.end()
})

void t.test('during a long loss of the link, epochs are closed at their size', t => {
  const { rig, pair: { client } } = withClient({ onLinkLoss: 'stall', epochBytes: 100 })
  rig.linkDown('b')
  for (let i = 0; i < 10; i++) client.says('x'.repeat(60))
  const before = rig.messages('epoch').length
  rig.linkUp('b')
  rig.from('b', { type: 'position', canRestore: true, lastLsn: rig.gateway.writer.committed })
  t.equal(rig.messages('epoch').length - before, 5)
  t.end()
})

void t.test('a primary is not told to send checkpoints to a backup that is given up', t => {
  const rig = syncing()
  rig.linkDown('b')
  rig.pass(400, 'a')
  rig.linkDown('a')
  rig.linkUp('a')
  t.match(rig.messages('assign').at(-1), { to: 'a', peer: '', served: true })
  t.end()
})

void t.test('a backup that has lost the checkpoint that counted: the guest is syncing again', t => {
  const rig = guarded()
  rig.beat('b', holding(rig, 7))
  t.equal(rig.state, 'protected')
  rig.beat('b', holding(rig, 0))
  t.equal(rig.state, 'syncing')
  t.match(rig.reported('checkpoint-lost'), [{ checkpoint: 7, reason: 'b cannot restore it any more' }])
  t.equal(rig.gateway.replication.lastCounted, undefined)
  rig.beat('b', holding(rig, 0))
  t.equal(rig.reported('checkpoint-lost').length, 1, 'told once')
  t.equal(rig.messages('begin').length, 1, 'the history goes on')
  counts(rig, 7, lsn(1))
  t.equal(rig.state, 'syncing', 'the same one cannot count again')
  const at = mark(rig, 8)
  rig.acks()
  counts(rig, 8, at)
  t.equal(rig.state, 'protected')
  t.end()
})

void t.test('...and nothing is promoted meanwhile', t => {
  const rig = guarded()
  rig.beat('b', holding(rig, 0))
  rig.pass(400, 'b')
  t.equal(rig.state, 'lost')
  t.equal(rig.gateway.failover, undefined)
  t.end()
})

void t.test('a heartbeat of another history, or without a log, takes no checkpoint away', t => {
  const rig = guarded()
  rig.beat('b', holding(rig, 0), { history: nthHistory(9) })
  rig.beat('b')
  rig.beat('a', holding(rig, 0))
  t.equal(rig.state, 'protected')
  t.same(rig.reported('checkpoint-lost'), [])
  t.end()
})

void t.test('acknowledgements of another history commit nothing', t => {
  const { rig, pair: { client, guest } } = withClient()
  client.says('one')
  guest.says('answer')
  rig.from('b', { type: 'ack', lsn: rig.gateway.writer.lastLsn }, { history: nthHistory(9) })
  rig.from('a', { type: 'ack', lsn: rig.gateway.writer.lastLsn })
  t.same(client.told, [])
  t.end()
})
