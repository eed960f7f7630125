import { crc32 } from 'node:zlib'
import t from 'tap'
import { checkpointId, generation, lsn, noHistory } from '../../../src/core/ids.ts'
import type { ImageInfo } from '../../../src/core/agent/port.ts'
import type { CheckpointMessage } from '../../../src/core/message.ts'
import {
  append, assign, backup, epoch, gateway, historyA, historyB, peer, protectedBackup, receive, Rig
} from './rig.ts'

const whole = (checkpoint: number, mark: number, history = historyA, gen = 1): ImageInfo => ({
  checkpoint: checkpointId(checkpoint), mark: lsn(mark), history, generation: generation(gen),
  bytes: 3, crc: 1
})

void t.test('a backup says what it holds, once its log is open', t => {
  const rig = new Rig()
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'backup' }))
  t.same(rig.ordered(), ['persist 1 backup'])
  rig.answer('persist')
  t.same(rig.said(), ['guest'])
  rig.ok('openLog', { log: { history: historyA, lastLsn: 12, base: undefined } })
  t.match(rig.messages('position'), [{ lastLsn: 12, about: { history: historyA } }])
  t.end()
})

void t.test('a log that cannot be read holds nothing, and a begin makes it anew', t => {
  const rig = new Rig()
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'backup' }))
  rig.answer('persist')
  rig.fail('openLog', 'damaged')
  t.match(rig.messages('position'), [{ lastLsn: 0, about: { history: noHistory } }])
  t.match(rig.reported('log-failed'), [{ reason: 'damaged' }])
  rig.from({ type: 'begin', firstLsn: lsn(9) }, { history: historyB })
  rig.ok('beginLog')
  append(rig, 9, 10, historyB)
  t.match(rig.messages('ack'), [{ lsn: 10 }])
  t.end()
})

void t.test('an epoch is acknowledged when it is stored, and one answer tells all', t => {
  const rig = backup()
  epoch(rig, 1, 3)
  epoch(rig, 4, 6)
  t.same(rig.messages('ack'), [], 'received is not stored')
  rig.ok('append', { lsn: 6 })
  rig.ok('append', { lsn: 6 })
  t.match(rig.messages('ack'), [{ lsn: 6, about: { history: historyA } }])
  t.equal(rig.messages('ack').length, 1)
  t.end()
})

void t.test('an epoch that does not fit is refused loudly, once', t => {
  for (const [first, history] of [[5, historyA], [1, historyA], [4, historyB]] as const) {
    const rig = backup(3)
    epoch(rig, first, 9, history)
    t.match(rig.messages('position'), [{ lastLsn: 3, about: { history: historyA } }])
    t.notOk(rig.waits('append'))
    epoch(rig, 10, 11, history)
    t.equal(rig.messages('position').length, 1, 'what was on its way is dropped without a further word')
    append(rig, 4, 5)
    epoch(rig, 9, 9)
    t.equal(rig.messages('position').length, 2, 'a later gap is told again')
    t.equal(rig.reported('log-gap').length, 2)
  }
  t.end()
})

void t.test('a position waits until nothing is on its way to the store', t => {
  const rig = backup(3)
  epoch(rig, 4, 5)
  rig.agent.linkDown(rig.now, gateway)
  rig.agent.linkUp(rig.now, 2)
  rig.from(assign({ role: 'backup' }), {}, 2)
  t.same(rig.messages('position'), [])
  rig.ok('append', { lsn: 5 })
  t.match(rig.messages('position'), [{ lastLsn: 5, link: 2 }])
  t.end()
})

void t.test('after a failed append nothing is acknowledged until a history begins', t => {
  const rig = backup(3)
  epoch(rig, 4, 5)
  epoch(rig, 6, 7)
  rig.fail('append', 'the log is full')
  rig.ok('append', { lsn: 7 })
  t.match(rig.messages('log-failed'), [{ reason: 'the log is full' }])
  epoch(rig, 8, 9)
  t.notOk(rig.waits('append'))
  t.same(rig.messages('ack'), [])
  rig.from({ type: 'begin', firstLsn: lsn(20) }, { history: historyB })
  rig.ok('beginLog')
  append(rig, 20, 21, historyB)
  t.match(rig.messages('ack'), [{ lsn: 21 }])
  t.end()
})

void t.test('answers that belong to an ended history are not heard', t => {
  const rig = backup(3)
  epoch(rig, 4, 5)
  rig.from({ type: 'begin', firstLsn: lsn(5) }, { history: historyB })
  rig.fail('append', 'too late')
  t.same(rig.messages('log-failed'), [])
  epoch(rig, 5, 6, historyB)
  rig.ok('append', { lsn: 6 })
  rig.ok('beginLog')
  t.match(rig.messages('ack'), [{ lsn: 6, about: { history: historyB } }])
  t.end()
})

void t.test('a begin that the disk refuses is told', t => {
  const rig = backup(3)
  rig.from({ type: 'begin', firstLsn: lsn(9) }, { history: historyB })
  rig.fail('beginLog', 'no space')
  t.match(rig.messages('log-failed'), [{ reason: 'no space' }])
  epoch(rig, 9, 9, historyB)
  t.notOk(rig.waits('append'))
  t.end()
})

void t.test('a checkpoint counts when it is whole, durable, and its MARK is stored', t => {
  const rig = backup(5)
  rig.marks.set(checkpointId(7), lsn(3))
  receive(rig, 7, 3)
  t.same(rig.said(), [], 'whole, but not durable')
  rig.ok('finishImage')
  t.match(rig.messages('counted'), [{ checkpoint: 7, mark: 3, bytes: 3, about: { history: historyA } }])
  t.match(rig.messages('checkpoint-stored'), [{ checkpoint: 7, link: peer }])
  t.same(rig.ordered().slice(-2), ['finishImage 7', 'pruneLog 7 3'])
  t.end()
})

void t.test('...or when its MARK has arrived', t => {
  const rig = backup(5)
  receive(rig, 7, 6)
  t.notOk(rig.waits('finishImage'), 'nothing is stored that may never count')
  epoch(rig, 6, 8)
  rig.marks.set(checkpointId(7), lsn(6))
  t.notOk(rig.waits('finishImage'), 'in the log, but not stored')
  rig.ok('append', { lsn: 8 })
  rig.ok('finishImage')
  t.same(rig.said(), ['ack', 'counted', 'checkpoint-stored'])
  t.end()
})

void t.test('a log without its MARK refuses it', t => {
  const rig = backup(5)
  receive(rig, 7, 4)
  t.notOk(rig.waits('finishImage'), 'nor stores it')
  t.match(rig.messages('checkpoint-refused'), [{ checkpoint: 7 }])
  t.ok(rig.ordered().includes('dropImage 7'))
  t.end()
})

void t.test('a torn image never counts', t => {
  const bytes = new Uint8Array([1, 2, 3])
  const checkpoint = checkpointId(7)
  const ends = (length: number, crc = crc32(bytes)): CheckpointMessage => (
    { type: 'checkpoint-end', checkpoint, mark: lsn(3), bytes: length, crc })
  const torn: Record<string, (rig: Rig) => void> = {
    'too short': rig => { rig.fromPeer(ends(4)) },
    'a wrong CRC': rig => { rig.fromPeer(ends(3, 1)) },
    'the link went': rig => { rig.agent.peerDown(rig.now, peer) },
    'given up': rig => { rig.fromPeer({ type: 'checkpoint-abort', checkpoint, reason: 'no' }) },
    'too long': rig => { rig.fromPeer({ type: 'checkpoint-data', checkpoint, bytes: new Uint8Array(998) }) },
    'another begins': rig => {
      const other = checkpointId(8)
      rig.fromPeer({ type: 'checkpoint-begin', checkpoint: other })
    }
  }
  for (const [name, tear] of Object.entries(torn)) {
    const rig = backup(5)
    rig.marks.set(checkpoint, lsn(3))
    rig.fromPeer({ type: 'checkpoint-begin', checkpoint })
    rig.fromPeer({ type: 'checkpoint-data', checkpoint, bytes })
    tear(rig)
    rig.fromPeer(ends(3), { history: historyA })
    t.ok(rig.orders.includes('dropImage 7'), name)
    t.same(rig.finished, [], name)
    t.same(rig.messages('counted'), [], name)
  }
  t.end()
})

void t.test('an image that the disk refuses is refused', t => {
  const rig = backup(5)
  rig.marks.set(checkpointId(7), lsn(3))
  receive(rig, 7, 3)
  rig.fail('finishImage', 'no space')
  t.match(rig.messages('checkpoint-refused'), [{ reason: 'no space' }])
  t.same(rig.messages('counted'), [])
  t.end()
})

void t.test('the older image goes only when the newer one counts', t => {
  const rig = protectedBackup()
  receive(rig, 8, 5)
  t.notOk(rig.ordered().includes('dropImage 7'), 'its MARK is not here yet... and lsn 5 is')
  t.same(rig.said(), ['checkpoint-refused'])
  rig.marks.set(checkpointId(9), lsn(5))
  receive(rig, 9, 5)
  rig.ok('finishImage')
  t.same(rig.ordered().slice(-2), ['pruneLog 9 5', 'dropImage 7'])
  t.end()
})

void t.test('a new history keeps the image for accept-loss, until one counts in it', t => {
  const rig = protectedBackup()
  rig.from({ type: 'begin', firstLsn: lsn(6) }, { history: historyB })
  rig.ok('beginLog')
  append(rig, 6, 8, historyB)
  rig.advance(100)
  t.match(rig.messages('heartbeat').at(-1)?.log, { checkpoint: 0, mark: 0, lastLsn: 8 }, 'it counts no more')
  t.notOk(rig.ordered().includes('dropImage 7'))
  rig.marks.set(checkpointId(8), lsn(7))
  receive(rig, 8, 7, historyB)
  rig.ok('finishImage')
  t.ok(rig.ordered().includes('dropImage 7'))
  t.match(rig.messages('counted'), [{ checkpoint: 8, about: { history: historyB } }])
  t.end()
})

void t.test('a whole image of a history that has just ended replaces an older one without counting', t => {
  const rig = protectedBackup()
  rig.marks.set(checkpointId(8), lsn(4))
  receive(rig, 8, 4)
  rig.from({ type: 'begin', firstLsn: lsn(6) }, { history: historyB })
  rig.ok('finishImage')
  rig.ok('beginLog')
  t.same(rig.messages('counted'), [])
  t.match(rig.messages('checkpoint-refused'), [{ checkpoint: 8 }])
  t.ok(rig.ordered().includes('dropImage 7'))
  t.end()
})

void t.test('only a backup of the same generation takes a checkpoint', t => {
  const rig = backup(5)
  receive(rig, 7, 3)
  rig.ordered()
  for (const other of [0, 2]) {
    rig.fromPeer(
      { type: 'checkpoint-begin', checkpoint: checkpointId(8) },
      { history: historyA, generation: generation(other) })
    t.match(rig.messages('checkpoint-refused').at(-1), { checkpoint: 8, about: { generation: 1 } })
  }
  const idle = new Rig()
  receive(idle, 7, 3)
  t.equal(idle.messages('checkpoint-refused').length, 1)
  t.same(idle.ordered(), [])
  t.end()
})

void t.test('heartbeats of a backup tell its log', t => {
  const rig = protectedBackup()
  rig.advance(100)
  t.match(rig.messages('heartbeat').at(-1), {
    role: 'backup', condition: 'absent', about: { history: historyA },
    log: {
      lastLsn: 5, checkpoint: 7, mark: 3, checkpointBytes: 3, tailBytes: 5, tailRecords: 4, connections: 3,
      memoryBytes: 2, diskBytes: 1
    }
  })
  t.end()
})

void t.test('after a restart the images found are judged by the log', t => {
  const rig = new Rig({ images: [whole(7, 3), whole(8, 5), whole(9, 9), whole(2, 2, historyB)] })
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'backup' }))
  rig.answer('persist')
  rig.marks.set(checkpointId(8), lsn(5))
  const base = { checkpoint: checkpointId(7), lsn: lsn(3) }
  rig.ok('openLog', { log: { history: historyA, lastLsn: 6, base } })
  t.match(rig.messages('counted'), [{ checkpoint: 8, mark: 5 }], 'stored before, counted now')
  t.same(rig.ordered().slice(2), ['dropImage 9', 'dropImage 7', 'dropImage 2', 'pruneLog 8 5'])
  t.end()
})

void t.test('after a restart the image that the log was pruned to counts', t => {
  const rig = new Rig({ images: [whole(7, 3), whole(8, 5)] })
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'backup' }))
  rig.answer('persist')
  const base = { checkpoint: checkpointId(7), lsn: lsn(3) }
  rig.ok('openLog', { log: { history: historyA, lastLsn: 6, base } })
  t.match(rig.messages('counted'), [{ checkpoint: 7 }])
  t.notOk(rig.waits('pruneLog'))
  t.end()
})

// ---- engines that absorb their images, of which only the one absorbed last can be restored

const absorbs = { absorbs: true }

void t.test('what is not in the present history is absorbed only while nothing counts', t => {
  const rig = protectedBackup(absorbs)
  receive(rig, 8, 4, historyB)
  t.notOk(rig.waits('finishImage'), 'it would take the place of the one that counts')
  t.match(rig.messages('checkpoint-refused'), [{ checkpoint: 8, about: { history: historyB } }])
  const other = backup(5, absorbs)
  receive(other, 8, 4, historyB)
  other.ok('finishImage')
  t.match(other.messages('checkpoint-refused'), [{ checkpoint: 8 }], 'it does not count')
  other.from({ type: 'promote', lastLsn: lsn(5), acceptLoss: true }, { generation: generation(2) })
  other.answer('persist')
  t.ok(other.waits('restoreGuest'), 'and is all there is')
  t.end()
})

void t.test('an image that is being absorbed is settled, whatever its primary says meanwhile', t => {
  const rig = protectedBackup(absorbs)
  rig.marks.set(checkpointId(8), lsn(5))
  receive(rig, 8, 5)
  rig.fromPeer({ type: 'checkpoint-abort', checkpoint: checkpointId(8), reason: 'no answer in time' })
  rig.agent.peerDown(rig.now, peer)
  rig.fromPeer({ type: 'checkpoint-begin', checkpoint: checkpointId(9) })
  t.notOk(rig.ordered().includes('dropImage 8'))
  rig.ok('finishImage')
  t.match(rig.messages('counted'), [{ checkpoint: 8 }])
  t.match(rig.messages('checkpoint-refused'), [], 'the next comes in already')
  t.ok(rig.ordered().includes('dropImage 7'))
  t.end()
})

void t.test('the next whole one waits until the one before it is absorbed', t => {
  const rig = protectedBackup(absorbs)
  for (const id of [8, 9]) {
    rig.marks.set(checkpointId(id), lsn(id - 4))
    receive(rig, id, id - 4)
  }
  t.same(rig.finished.map(({ checkpoint }) => checkpoint), [7, 8])
  rig.ok('finishImage')
  t.same(rig.finished.map(({ checkpoint }) => checkpoint), [7, 8, 9])
  t.end()
})

void t.test('a promotion waits for what is being absorbed, and restores that', t => {
  const outcomes = { 'it is absorbed': 8, 'it does not follow': 7 }
  for (const [outcome, restored] of Object.entries(outcomes)) {
    const rig = protectedBackup(absorbs)
    rig.marks.set(checkpointId(8), lsn(5))
    receive(rig, 8, 5)
    rig.from({ type: 'promote', lastLsn: lsn(5), acceptLoss: false }, {
      generation: generation(2), history: historyA
    })
    rig.answer('persist')
    t.notOk(rig.waits('restoreGuest'), outcome)
    if (restored === 8) {
      rig.ok('finishImage')
      rig.ok('pruneLog')
    } else rig.fail('finishImage', 'it does not follow')
    t.ok(rig.ordered().includes(`restoreGuest ${restored}`), outcome)
  }
  t.end()
})

void t.test('...but not where every image can be restored', t => {
  const rig = protectedBackup()
  rig.marks.set(checkpointId(8), lsn(5))
  receive(rig, 8, 5)
  rig.from({ type: 'promote', lastLsn: lsn(5), acceptLoss: false }, {
    generation: generation(2), history: historyA
  })
  rig.answer('persist')
  const orders = rig.ordered()
  t.ok(orders.includes('restoreGuest 7'))
  t.ok(orders.includes('dropImage 8'))
  t.end()
})

void t.test('a standby that is lost takes its images along, and the gateway is told at once', t => {
  const rig = protectedBackup(absorbs)
  rig.agent.imagesLost(rig.now, 'the receiver ended')
  t.same(rig.ordered(), ['dropImage 7'])
  t.match(rig.reported('image-lost'), [{ checkpoint: 7, reason: 'the receiver ended' }])
  t.match(rig.messages('heartbeat').at(-1), {
    about: { history: historyA }, log: { lastLsn: 5, checkpoint: 0 }
  })
  rig.agent.imagesLost(rig.now, 'again')
  t.equal(rig.reported('image-lost').length, 1, 'there was nothing more to lose')
  rig.from({ type: 'promote', lastLsn: lsn(5), acceptLoss: true }, { generation: generation(2) })
  rig.answer('persist')
  t.match(rig.messages('promote-failed'), [{ reason: 'there is no whole checkpoint here' }])
  t.end()
})

void t.test('a standby that is replaced: nothing can be restored until the new one is there', t => {
  const rig = protectedBackup(absorbs)
  rig.marks.set(checkpointId(8), lsn(5))
  receive(rig, 8, 5)
  rig.agent.imagesLost(rig.now, 'another stream replaces it')
  t.notOk(rig.ordered().includes('dropImage 8'), 'it is the one that is being absorbed')
  t.match(rig.messages('heartbeat').at(-1)?.log, { checkpoint: 0 })
  rig.ok('finishImage')
  t.match(rig.messages('counted'), [{ checkpoint: 8 }])
  rig.advance(100)
  t.match(rig.messages('heartbeat').at(-1)?.log, { checkpoint: 8 })
  const failing = protectedBackup(absorbs)
  failing.marks.set(checkpointId(8), lsn(5))
  receive(failing, 8, 5)
  failing.agent.imagesLost(failing.now, 'another stream replaces it')
  failing.fail('finishImage', 'the receiver ended')
  t.match(failing.messages('checkpoint-refused'), [{ checkpoint: 8, reason: 'the receiver ended' }])
  failing.advance(100)
  t.match(failing.messages('heartbeat').at(-1)?.log, { checkpoint: 0 })
  t.end()
})

void t.test('a history that begins while one is absorbed: it is kept without counting', t => {
  const rig = protectedBackup(absorbs)
  rig.marks.set(checkpointId(8), lsn(5))
  receive(rig, 8, 5)
  rig.from({ type: 'begin', firstLsn: lsn(6) }, { history: historyB })
  rig.ok('beginLog')
  rig.ok('finishImage')
  t.same(rig.messages('counted'), [])
  t.match(rig.messages('checkpoint-refused'), [{ checkpoint: 8 }])
  t.ok(rig.ordered().includes('dropImage 7'), 'which can be restored no more')
  t.end()
})

void t.test('a prune that fails ends what the log can be used for', t => {
  const rig = backup(5)
  rig.marks.set(checkpointId(7), lsn(3))
  receive(rig, 7, 3)
  rig.ok('finishImage')
  rig.fail('pruneLog', 'i/o error')
  t.match(rig.messages('log-failed'), [{ reason: 'i/o error' }])
  t.end()
})

void t.test('while the log is pruned, only the newest checkpoint that counts waits to be pruned to', t => {
  const rig = protectedBackup()
  for (const [id, mark] of [[8, 4], [9, 5], [10, 5]] as const) {
    rig.marks.set(checkpointId(id), lsn(mark))
    receive(rig, id, mark)
    rig.ok('finishImage')
  }
  t.equal(rig.messages('counted').length, 3, 'none of them waits for a prune to count')
  const prunes = (): string[] => rig.ordered().filter(order => order.startsWith('pruneLog'))
  t.same(prunes(), ['pruneLog 8 4'])
  rig.ok('pruneLog')
  t.same(prunes(), ['pruneLog 10 5'])
  rig.ok('pruneLog')
  t.notOk(rig.waits('pruneLog'))
  t.end()
})
