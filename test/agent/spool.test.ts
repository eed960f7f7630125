import t from 'tap'
import { Spool } from '../../src/agent/spool.ts'

const piece = (length: number) => new Uint8Array(length)

void t.test('pieces come out in order, and the end after them', async t => {
  const spool = new Spool(100)
  t.ok(await spool.put(piece(1)))
  t.ok(await spool.put(piece(2)))
  t.equal(spool.bytes, 3)
  spool.end()
  t.equal((await spool.take())?.length, 1)
  t.equal((await spool.take())?.length, 2)
  t.equal(await spool.take(), undefined)
})

void t.test('who puts waits while it is full', async t => {
  const spool = new Spool(10)
  await spool.put(piece(8))
  let done = false
  const waiting = spool.put(piece(3)).then(ok => { done = ok })
  await new Promise(setImmediate)
  t.notOk(done)
  await spool.take()
  await waiting
  t.ok(done)
  t.equal(spool.bytes, 3)
})

void t.test('one piece fits however long it is', async t => {
  const spool = new Spool(10)
  t.ok(await spool.put(piece(1000)))
})

void t.test('who takes waits while it is empty', async t => {
  const spool = new Spool(10)
  const waiting = spool.take()
  await spool.put(piece(4))
  t.equal((await waiting)?.length, 4)
})

void t.test('dropping it lets everybody go', async t => {
  const spool = new Spool(10)
  await spool.put(piece(8))
  const putting = spool.put(piece(8))
  spool.drop()
  t.notOk(await putting)
  t.equal(await spool.take(), undefined)
  t.notOk(await spool.put(piece(1)))
  t.equal(spool.bytes, 0)
})

void t.test('who waits for room goes on when there is to be more of it', async t => {
  const spool = new Spool(10)
  await spool.put(piece(8))
  const waiting = spool.put(piece(8))
  spool.widen(16)
  t.ok(await waiting)
  t.equal(spool.bytes, 16)
})
