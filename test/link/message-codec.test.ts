import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { lsn } from '../../src/core/ids.ts'
import { FrameEncoder, protocolVersionMax as spoken } from '../../src/link/frame.ts'
import { epochPayloadBytesMax, textBytesMax } from '../../src/link/limits.ts'
import { messageNumbers, type WireMessage } from '../../src/link/message-codec.ts'
import { anyEnvelope, anyMessage, comparable, messages } from './arbitraries.ts'
import { framesIn, frameOf, isGreeting, versionOf } from './frames.ts'
import { envelope } from './peers.ts'

for (const [type, arbitrary] of Object.entries(messages) as [string, fc.Arbitrary<WireMessage>][]) {
  void t.test(`${type} arrives as it was sent`, t => {
    fc.assert(fc.property(anyEnvelope, arbitrary, (envelope, message) => {
      const [framed, ...others] = framesIn(frameOf({ envelope, message }), versionOf(message))
      if (framed === undefined) throw new Error('nothing arrived')
      assert.deepEqual(framed.envelope, envelope)
      assert.deepEqual(comparable(framed.message), comparable(message))
      assert.equal(others.length, 0)
    }), { numRuns: 30 })
    t.pass('in 30 cases')
    t.end()
  })
}

void t.test('every type has a number of its own', t => {
  const numbers = messageNumbers()
  t.strictSame([...numbers.keys()].sort(), Object.keys(messages).sort())
  t.equal(new Set(numbers.values()).size, numbers.size)
  t.end()
})

void t.test('a long reason is cut between two characters', t => {
  const reason = `x${'é'.repeat(textBytesMax)}`
  const [framed] = framesIn(frameOf({ envelope, message: { type: 'log-failed', reason } }), spoken)
  const arrived = framed?.message.type === 'log-failed' ? framed.message.reason : ''
  t.equal(arrived, `x${'é'.repeat(textBytesMax / 2 - 1)}`)
  t.end()
})

void t.test('the bytes of records are not copied', t => {
  const records = [Buffer.alloc(10), Buffer.alloc(0), Buffer.alloc(100_000)]
  const epoch: WireMessage = { type: 'epoch', firstLsn: lsn(1), lastLsn: lsn(3), records }
  const { slices } = new FrameEncoder().encode(1, envelope, epoch)
  t.equal(slices.length, 3)
  t.ok(slices.every((slice, place) => slice === records[place]))
  t.end()
})

void t.test('durations are rounded to whole milliseconds', t => {
  const sent: WireMessage = {
    type: 'promoted', checkpoint: 1 as never, mark: lsn(2), endpoints: ['h:1'], restoreMs: 12.6
  }
  t.match(framesIn(frameOf({ envelope, message: sent }), spoken)[0]?.message, { restoreMs: 13 })
  t.end()
})

void t.test('a message that cannot be is a fault of the program', t => {
  const records = [Buffer.alloc(epochPayloadBytesMax + 1)]
  const faults: WireMessage[] = [
    { type: 'epoch', firstLsn: lsn(1), lastLsn: lsn(1), records },
    { type: 'epoch', firstLsn: lsn(2), lastLsn: lsn(1), records: [] },
    { type: 'ack', lsn: lsn(-1) },
    { type: 'ack', lsn: lsn(0.5) },
    { type: 'ack', lsn: lsn(2 ** 53) },
    { type: 'guest', condition: 'running', endpoints: new Array<string>(257).fill('h:1'), reason: '' }
  ]
  for (const message of faults) {
    t.throws(() => frameOf({ envelope, message }), { name: 'InvariantError' }, message.type)
  }
  const named = { ...envelope, guest: 'x'.repeat(256) }
  t.throws(() => frameOf({ envelope: named, message: { type: 'stale' } }), { name: 'InvariantError' })
  t.end()
})

void t.test('messages in one stream do not disturb each other', t => {
  const message = anyMessage.filter(each => !isGreeting(each))
  const framed = fc.record({ envelope: anyEnvelope, message })
  fc.assert(fc.property(fc.array(framed, { maxLength: 10 }), sent => {
    const bytes = Buffer.concat(sent.map(each => frameOf(each)))
    const arrived = framesIn(bytes, spoken)
    assert.deepEqual(arrived.map(each => each.envelope), sent.map(each => each.envelope))
    assert.deepEqual(
      arrived.map(each => comparable(each.message)), sent.map(each => comparable(each.message)))
  }), { numRuns: 50 })
  t.pass('in 50 cases')
  t.end()
})
