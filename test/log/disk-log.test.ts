import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { checkpointId, generation, lsn } from '../../src/core/ids.ts'
import { DiskLog } from '../../src/log/disk-log.ts'
import { complies, data, end, floor, guestEnd, history, mark, open, put, read, tailOf } from './compliance.ts'

async function temporary(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'tailgate-log-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  return directory
}

void t.test('disk', t => {
  complies(t, {
    name: 'disk',
    open: async (t, logBytes) => {
      const log = await DiskLog.open({ directory: await temporary(t), logBytes })
      t.teardown(() => log.close())
      return log
    }
  })
  t.end()
})

void t.test('disk with files so small that it rotates at every append', t => {
  complies(t, {
    name: 'disk, rotating',
    open: async (t, logBytes) => {
      const log = await DiskLog.open({ directory: await temporary(t), logBytes, fileBytes: 100 })
      t.teardown(() => log.close())
      return log
    }
  })
  t.end()
})

void t.test('a log that is opened again knows what it knew', async t => {
  const directory = await temporary(t)
  const options = { directory, logBytes: 1 << 20, fileBytes: 200 }
  const log = await DiskLog.open(options)
  await log.begin(history, generation(3), lsn(1))
  await put(log, [open(1), data(1, 'abcdef'), floor(1, 4)])
  await put(log, [open(2), data(2, 'x'), end(2), floor(2, 2), mark(7)])
  await put(log, [data(1, 'gh'), guestEnd(2, 0), mark(8), read(1, 9)])
  const seen = async (log: DiskLog): Promise<unknown> => ({
    tail: await tailOf(t, log), base: log.base, last: log.lastLsn, history: log.history,
    generation: log.generation, figures: [log.tailBytes, log.tailRecords, log.connections],
    marks: [7, 8].map(checkpoint => log.markOf(checkpointId(checkpoint)))
  })
  const before = await seen(log)
  await log.close()
  const second = await DiskLog.open(options)
  t.same(second.recovery, { lastLsn: 12, torn: undefined, removed: [] })
  t.same(await seen(second), before)
  await second.prune({ checkpoint: checkpointId(7), lsn: lsn(8) })
  const pruned = await seen(second)
  await second.close()
  const third = await DiskLog.open(options)
  t.same(await seen(third), pruned)
  await third.prune({ checkpoint: checkpointId(8), lsn: lsn(11) })
  t.equal(third.connections, 1, 'the connection whose end had been acknowledged before is finished now')
  await put(third, [data(1, 'more')])
  t.equal(third.lastLsn, 13)
  await third.close()
  t.equal((await readdir(directory)).filter(name => name.endsWith('.base')).length, 1)
})
