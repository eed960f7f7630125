import t from 'tap'
import { HoldQueue, type Held } from '../../../src/core/gateway/hold-queue.ts'
import { lsn, outputHash } from '../../../src/core/ids.ts'

const held = (owner: string, barrier: number, length = 3): Held<string> => ({
  owner, sign: 'data', bytes: new Uint8Array(length), hash: outputHash(0), barrier: lsn(barrier)
})

void t.test('nothing passes its barrier, and order holds over all connections', t => {
  const queue = new HoldQueue<string>()
  for (const item of [held('a', 1), held('b', 2), held('a', 2), held('c', 5)]) queue.push(item)
  t.equal(queue.bytes, 12)
  t.equal(queue.shift(lsn(0)), undefined)
  t.same([1, 2, 3].map(() => queue.shift(lsn(2))?.owner), ['a', 'b', 'a'])
  t.equal(queue.shift(lsn(4)), undefined)
  t.equal(queue.bytes, 3)
  t.equal(queue.length, 1)
  t.end()
})

void t.test('it stays small though much passes through it', t => {
  const queue = new HoldQueue<number>()
  for (let n = 0; n < 10_000; n++) {
    queue.push({ ...held('', n), owner: n })
    if (n % 3 !== 0) t.ok((queue.shift(lsn(n))?.owner ?? -1) >= 0)
  }
  const rest = queue.takeAll()
  t.equal(rest.length, 3334)
  const owners = rest.map(({ owner }) => owner)
  t.same(owners, owners.toSorted((a, b) => a - b))
  t.match(queue, { bytes: 0, length: 0 })
  t.end()
})
