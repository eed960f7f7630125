import { Writable } from 'node:stream'
import t from 'tap'
import { writeDrained } from '../../src/engine/write-drained.ts'

const bytes = Buffer.alloc(10)

void t.test('waits until there is room', async (t) => {
  let take: () => void = () => undefined
  const stream = new Writable({ highWaterMark: 5, write: (_bytes, _encoding, done) => { take = done } })
  const written = writeDrained(stream, bytes, 'a reader')
  take()
  await written
  t.equal(stream.writableLength, 0)
  await writeDrained(new Writable({ write: (_bytes, _encoding, done) => { done() } }), bytes, 'a reader')
})

void t.test('a stream that is gone takes everything', async () => {
  const stream = new Writable({ highWaterMark: 5, write: () => undefined })
  const written = writeDrained(stream, bytes, 'a reader')
  stream.destroy()
  await written
  await writeDrained(stream, bytes, 'a reader')
})

void t.test('one that nobody reads is told', async (t) => {
  const stream = new Writable({ highWaterMark: 5, write: () => undefined })
  await t.rejects(writeDrained(stream, bytes, 'a reader', 1), {
    code: 'E_ENGINE', message: 'a reader has made no headway for 0.001 s'
  })
})
