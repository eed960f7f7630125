import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { LogKeeper } from '../../src/agent/log-keeper.ts'
import { checkpointId, connectionId, generation, historyId, lsn } from '../../src/core/ids.ts'
import { encodeRecord } from '../../src/core/record-codec.ts'
import { RecordKind } from '../../src/core/record.ts'

const history = historyId('aaaaaaaaaaaaaaaa')
const settings = { durability: 'disk', memoryBytes: 1 << 20, totalBytes: 1 << 22 } as const
const open = encodeRecord({ kind: RecordKind.open, connection: connectionId(1), service: 0, client: 'c:1' })
const end = encodeRecord({ kind: RecordKind.end, connection: connectionId(1) })
const mark = encodeRecord({ kind: RecordKind.mark, checkpoint: checkpointId(5) })

function keeper(t: Test, directory = t.testdir({})): LogKeeper {
  const log = new LogKeeper(directory)
  t.teardown(() => log.close())
  return log
}

void t.test('appends that follow a begin at once wait for it', async t => {
  const log = keeper(t)
  await log.open(settings)
  const begun = log.begin(history, generation(1), lsn(1))
  const appended = log.append(lsn(1), lsn(2), [open, mark])
  t.equal(await appended, 2)
  await begun
  t.equal(log.markOf(checkpointId(5)), 2)
  await log.prune(checkpointId(5), lsn(2))
  t.equal(await log.append(lsn(3), lsn(3), [end]), 3)
  t.match(log.figures(), { tailRecords: 1 })
})

void t.test('another begin forgets, and a reopened log remembers', async t => {
  const directory = t.testdir({})
  const log = keeper(t, directory)
  await log.open(settings)
  await log.begin(history, generation(1), lsn(1))
  await log.append(lsn(1), lsn(1), [open])
  t.match(await log.open({ ...settings, totalBytes: 1 << 23 }), { history, lastLsn: 1 })
  await log.begin(historyId('bbbbbbbbbbbbbbbb'), generation(1), lsn(9))
  await log.close()
  t.match(await keeper(t, directory).open(settings), { history: 'bbbbbbbbbbbbbbbb', lastLsn: 0 })
})

void t.test('a log that cannot be read is put aside when a history begins', async t => {
  const directory = t.testdir({})
  const first = keeper(t, directory)
  await first.open(settings)
  await first.begin(history, generation(1), lsn(1))
  await first.append(lsn(1), lsn(1), [open])
  await first.close()
  for (const name of readdirSync(join(directory, 'log-disk'))) {
    writeFileSync(join(directory, 'log-disk', name), Buffer.alloc(200, 1))
  }
  const log = keeper(t, directory)
  await t.rejects(log.open(settings))
  await t.rejects(log.append(lsn(1), lsn(1), [open]), { code: 'E_LOG_CORRUPT' })
  await log.begin(history, generation(1), lsn(5))
  t.equal(await log.append(lsn(5), lsn(5), [open]), 5)
  t.ok(existsSync(join(directory, 'log-disk.damaged')))
})

void t.test('the tail is read from its start by each new reader', async t => {
  const log = keeper(t)
  await log.open({ ...settings, durability: 'memory' })
  await log.begin(history, generation(1), lsn(1))
  await log.append(lsn(1), lsn(2), [open, end])
  const all = await log.readTail(0, 1 << 20)
  t.equal(all?.firstLsn, 1)
  t.equal(await log.readTail(0, 1 << 20), undefined)
  t.same(await log.readTail(1, 1 << 20), all)
  await log.closeTail(1)
})

void t.test('a dropped log holds nothing, and its files are gone', async t => {
  const directory = t.testdir({})
  const log = keeper(t, directory)
  await log.open(settings)
  await log.begin(history, generation(1), lsn(1))
  await log.append(lsn(1), lsn(1), [open])
  await log.drop()
  t.match(log.figures(), { tailRecords: 0, diskBytes: 0 })
  t.notOk(existsSync(join(directory, 'log-disk')))
  t.match(await log.open(settings), { lastLsn: 0 })
})
