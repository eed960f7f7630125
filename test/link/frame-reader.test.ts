import assert from 'node:assert/strict'
import fc from 'fast-check'
import { crc32 } from 'node:zlib'
import t from 'tap'
import { TailgateError } from '../../src/base/errors.ts'
import { lsn } from '../../src/core/ids.ts'
import { headBytes, protocolVersionMax as spoken } from '../../src/link/frame.ts'
import { epochPayloadBytesMax } from '../../src/link/limits.ts'
import { codecNumbered, messageNumbers } from '../../src/link/message-codec.ts'
import { anyEnvelope, anyMessage, comparable } from './arbitraries.ts'
import { frameOf, isGreeting, readerOf, type Framed } from './frames.ts'
import { envelope } from './peers.ts'

const framedOfOne = fc.record({ envelope: anyEnvelope, message: anyMessage.filter(m => !isGreeting(m)) })
const stream = fc.array(framedOfOne, { minLength: 1, maxLength: 6 })

function plain(framed: readonly Framed[]): unknown[] {
  return framed.map(({ envelope, message }) => ({ envelope, message: comparable(message) }))
}

/** What a reader makes of `bytes`: E_FRAME or E_VERSION, or nothing wrong; anything else is thrown. */
function verdict(bytes: Buffer, version: number): 'E_FRAME' | 'E_VERSION' | 'well' | 'unfinished' {
  const { reader } = readerOf(version)
  try {
    reader.push(bytes)
    return reader.inFrame ? 'unfinished' : 'well'
  } catch (error) {
    if (error instanceof TailgateError && (error.code === 'E_FRAME' || error.code === 'E_VERSION')) {
      return error.code
    }
    throw error
  }
}

/** Makes the checksum of a changed head right again, so that what lies behind it is reached. */
function resealed(frame: Buffer): Buffer {
  frame.writeUInt32LE(crc32(frame.subarray(headBytes)), 24)
  frame.writeUInt32LE(crc32(frame.subarray(0, 28)), 28)
  return frame
}

void t.test('it reads the same under every way of cutting', t => {
  fc.assert(fc.property(stream, fc.array(fc.nat({ max: 400 }), { maxLength: 30 }), (sent, lengths) => {
    const { reader, read } = readerOf(spoken)
    let rest = Buffer.concat(sent.map(each => frameOf(each)))
    for (const length of lengths) {
      reader.push(Buffer.from(rest.subarray(0, length)))
      rest = rest.subarray(length)
    }
    reader.push(rest)
    assert.deepEqual(plain(read), plain(sent))
    assert.equal(reader.inFrame, false)
  }), { numRuns: 150 })
  t.pass('in 150 cases')
  t.end()
})

void t.test('byte by byte, and cut in two at every place', t => {
  const [ack, records] = [lsn(70_000), [Buffer.from('abc'), Buffer.from('defg')]]
  const sent: Framed[] = [
    { envelope, message: { type: 'epoch', firstLsn: lsn(1), lastLsn: lsn(2), records } },
    { envelope, message: { type: 'stale' } },
    { envelope: { ...envelope, guest: '' }, message: { type: 'stale' } },
    { envelope, message: { type: 'ack', lsn: ack } }
  ]
  const bytes = Buffer.concat(sent.map(each => frameOf(each)))
  const single = readerOf(spoken)
  for (const byte of bytes) single.reader.push(Buffer.of(byte))
  t.strictSame(plain(single.read), plain(sent))
  for (let at = 0; at <= bytes.length; at++) {
    const { reader, read } = readerOf(spoken)
    reader.push(Buffer.from(bytes.subarray(0, at)))
    reader.push(Buffer.from(bytes.subarray(at)))
    t.strictSame(plain(read), plain(sent), `cut at ${at}`)
  }
  t.end()
})

void t.test('the bytes of a message stay as they are', t => {
  const { reader, read } = readerOf(spoken)
  const frames = ['first', 'second', 'third'].map(word => frameOf({
    envelope, message: { type: 'tail', firstLsn: lsn(1), records: Buffer.from(word.repeat(50)) }
  }))
  const bytes = Buffer.concat(frames)
  for (let at = 0; at < bytes.length; at += 70) reader.push(Buffer.from(bytes.subarray(at, at + 70)))
  const words = read.map(({ message }) => {
    return message.type === 'tail' ? Buffer.from(message.records).toString() : message.type
  })
  t.strictSame(words, ['first'.repeat(50), 'second'.repeat(50), 'third'.repeat(50)])
  t.end()
})

void t.test('random bytes are no frame', t => {
  fc.assert(fc.property(fc.uint8Array({ minLength: headBytes, maxLength: 500 }), bytes => {
    assert.equal(verdict(Buffer.from(bytes), spoken), 'E_FRAME')
  }), { numRuns: 300 })
  t.pass('in 300 cases')
  t.end()
})

void t.test('one changed byte anywhere is noticed', t => {
  const flip = fc.integer({ min: 1, max: 255 })
  fc.assert(fc.property(framedOfOne, fc.nat(), flip, (framed, place, change) => {
    const frame = frameOf(framed)
    const at = place % frame.length
    frame[at] = (frame[at] ?? 0) ^ change
    assert.equal(verdict(frame, spoken), 'E_FRAME')
  }), { numRuns: 500 })
  t.pass('in 500 cases')
  t.end()
})

void t.test('a stream with a hole, or without its end, is not well', t => {
  const two = fc.tuple(framedOfOne, framedOfOne)
  fc.assert(fc.property(two, fc.nat(), fc.nat(), ([first, second], from, length) => {
    const frames = [frameOf(first), frameOf(second)]
    const bytes = Buffer.concat(frames)
    const start = from % (bytes.length - 1)
    const end = start + 1 + length % (bytes.length - 1 - start)
    const left = Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)])
    const whole = left.length === 0 || frames.some(frame => frame.equals(left))
    assert.equal(verdict(left, spoken) === 'well', whole)
  }), { numRuns: 300 })
  t.pass('in 300 cases')
  t.end()
})

void t.test('whatever stands behind right checksums, it is a message or E_FRAME', t => {
  const body = fc.uint8Array({ maxLength: 200 })
  fc.assert(fc.property(framedOfOne, fc.nat({ max: 255 }), body, (framed, type, payload) => {
    const frame = Buffer.concat([frameOf({ ...framed, message: { type: 'stale' } }), payload])
    frame.writeUInt8(type, 5)
    frame.writeUInt32LE(payload.length, 8)
    const got = verdict(resealed(frame), spoken)
    if (codecNumbered(type) === undefined || type <= 2) assert.equal(got, 'E_FRAME')
    else assert.ok(got === 'E_FRAME' || got === 'well', got)
  }), { numRuns: 1000 })
  t.pass('in 1000 cases')
  t.end()
})

void t.test('a length beyond the limit of its type is refused before anything is stored', t => {
  for (const [type, number] of messageNumbers()) {
    const codec = codecNumbered(number)
    const version = number <= 2 ? 0 : spoken
    const head = frameOf({ envelope: { ...envelope, guest: '' }, message: { type: 'stale' } })
    head.writeUInt8(version, 4)
    head.writeUInt8(number, 5)
    const limit = codec?.payloadBytesMax ?? 0
    head.writeUInt32LE(limit + 1, 8)
    t.equal(verdict(resealed(Buffer.from(head)), version), 'E_FRAME', `${type} above its limit`)
    t.ok(limit <= epochPayloadBytesMax)
  }
  t.end()
})

void t.test('greetings and the rest have their places', t => {
  const hello = frameOf({
    envelope, message: { type: 'hello', versionMin: 1, versionMax: 1, role: 'agent', name: 'a1' }
  })
  const stale = frameOf({ envelope, message: { type: 'stale' } })
  t.equal(verdict(hello, 0), 'well')
  t.equal(verdict(hello, spoken), 'well', 'a refusal may come late; a second hello is for the link to judge')
  const versioned = Buffer.from(hello)
  versioned.writeUInt8(spoken, 4)
  t.equal(verdict(resealed(versioned), spoken), 'E_FRAME', 'a greeting that says it has a version')
  t.equal(verdict(stale, 0), 'E_VERSION', 'a message before the greeting')
  t.equal(verdict(stale, spoken + 1), 'E_VERSION', 'a message of another version')
  const disguised = Buffer.from(stale)
  disguised.writeUInt8(0, 4)
  t.equal(verdict(resealed(disguised), 0), 'E_FRAME', 'a message in the version of greetings')
  const flagged = Buffer.from(stale)
  flagged.writeUInt8(1, 6)
  t.equal(verdict(resealed(flagged), spoken), 'E_FRAME', 'flags that nobody knows')
  t.end()
})

void t.test('what is no frame is named where it can be', t => {
  const { reader } = readerOf(0)
  const clientHello = Buffer.concat([Buffer.from('160301020001', 'hex'), Buffer.alloc(40)])
  t.throws(() => reader.push(clientHello), { code: 'E_FRAME', message: /looks like TLS/ })
  t.throws(() => readerOf(0).reader.push(Buffer.from('GET / HTTP/1.1\r\nHost: example\r\n\r\n')), {
    code: 'E_FRAME', message: /something else than tailgate/
  })
  t.end()
})

void t.test('nothing is delivered after stop', t => {
  const { reader, read } = readerOf(spoken)
  const stale = frameOf({ envelope, message: { type: 'stale' } })
  reader.push(stale)
  reader.stop()
  reader.push(stale)
  t.equal(read.length, 1)
  t.end()
})
