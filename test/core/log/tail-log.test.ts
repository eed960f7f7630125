import t from 'tap'
import { checkpointId, generation, historyId, lsn } from '../../../src/core/ids.ts'
import { TailLog } from '../../../src/core/log/tail-log.ts'
import { encodeRecord } from '../../../src/core/record-codec.ts'
import { data, floor, mark, open } from '../../log/compliance.ts'

function begun(segmentBytes: number): TailLog {
  const log = new TailLog({ segmentBytes, logBytes: 1 << 26 })
  log.begin(historyId('00000000000000aa'), generation(1), lsn(1))
  log.append(lsn(1), lsn(1), [encodeRecord(open(1))])
  return log
}

void t.test('a long epoch that owns its memory is kept without a copy; a small view is copied', t => {
  const log = begun(4096)
  const owned = encodeRecord(data(1, new Uint8Array(300_000)))
  log.append(lsn(2), lsn(2), [owned])
  t.ok([...log.segments()].some(segment => segment.bytes?.buffer === owned.buffer))
  const large = new Uint8Array(1 << 20)
  const small = encodeRecord(data(1, 'x'))
  large.set(small)
  const before = log.memoryBytes
  log.append(lsn(3), lsn(3), [large.subarray(0, small.length)])
  t.ok(log.memoryBytes - before <= 4096, 'a few bytes do not hold a megabyte')
  large.fill(0)
  t.strictSame(Buffer.from([...log.tail(1 << 20)].at(-1)?.records ?? []), Buffer.from(small))
  t.end()
})

void t.test('memory is given back by a prune', t => {
  const log = begun(10_000)
  const chunk = new Uint8Array(1000)
  for (let n = 2; n < 500; n++) log.append(lsn(n), lsn(n), [encodeRecord(data(1, chunk))])
  t.ok(log.memoryBytes > 490_000 && log.recordBytes > 490_000)
  log.append(lsn(500), lsn(501), [encodeRecord(floor(1, 498_000)), encodeRecord(mark(1))])
  const job = log.prune({ checkpoint: checkpointId(1), lsn: lsn(501) })
  let slices = 0
  while (job.step(50) !== 'done') slices++
  t.ok(slices >= 10, 'in slices')
  t.ok(log.memoryBytes < 25_000 && log.recordBytes < 100, `${log.memoryBytes} bytes are left`)
  t.end()
})

void t.test('a slice ends early when it has copied much', t => {
  const log = begun(1 << 20)
  for (let n = 2; n < 12; n++) log.append(lsn(n), lsn(n), [encodeRecord(data(1, new Uint8Array(900_000)))])
  log.append(lsn(12), lsn(12), [encodeRecord(mark(1))])
  const job = log.prune({ checkpoint: checkpointId(1), lsn: lsn(12) })
  let slices = 0
  while (job.step(1_000_000) !== 'done') slices++
  t.ok(slices >= 5)
  t.end()
})

void t.test('a history that ends ends its prune; a prune that is given up leaves the log as it was', t => {
  const log = begun(4096)
  log.append(lsn(2), lsn(3), [encodeRecord(data(1, 'abc')), encodeRecord(mark(1))])
  const before = [...log.tail(1000)]
  const given = log.prune({ checkpoint: checkpointId(1), lsn: lsn(3) })
  given.step(1)
  log.cancelPrune()
  t.throws(() => given.step(1), { code: 'E_STALE' })
  t.strictSame([...log.tail(1000)], before)
  const ended = log.prune({ checkpoint: checkpointId(1), lsn: lsn(3) })
  log.begin(historyId('00000000000000bb'), generation(1), lsn(1))
  t.throws(() => ended.step(1), { code: 'E_STALE' })
  t.strictSame([...log.tail(1000)], [])
  t.equal(log.recordBytes, 0)
  t.end()
})
