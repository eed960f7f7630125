import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { generation, lsn } from '../../src/core/ids.ts'
import { MemoryLog } from '../../src/log/memory-log.ts'
import { complies, data, history, open, put, rejectsWith, tailOf } from './compliance.ts'
import { FaultyFiles } from './faulty-files.ts'

async function temporary(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'tailgate-log-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  return directory
}

void t.test('memory', t => {
  complies(t, {
    name: 'memory',
    open: async (t, logBytes) =>
      MemoryLog.open({ directory: await temporary(t), memoryBytes: 64 << 20, logBytes })
  })
  t.end()
})

void t.test('memory with limits so small that it spills', t => {
  complies(t, {
    name: 'memory, spilling',
    open: async (t, logBytes) => MemoryLog.open({
      directory: await temporary(t), memoryBytes: 4096, logBytes, segmentBytes: 512
    })
  })
  t.end()
})

void t.test('beyond its memory the log spills, reads back, and removes its files at the end', async t => {
  const directory = await temporary(t)
  await writeFile(join(directory, 'segment-3.spill'), 'of an earlier process')
  await writeFile(join(directory, 'other.txt'), 'not ours')
  const memoryBytes = 64 * 1024
  const log = await MemoryLog.open({ directory, memoryBytes, logBytes: 8 << 20 })
  t.same(await readdir(directory), ['other.txt'])
  await log.begin(history, generation(1), lsn(1))
  await put(log, [open(1)])
  const chunk = new Uint8Array(5000)
  for (let n = 0; n < 100; n++) {
    await put(log, [data(1, chunk.fill(n).slice())])
    t.ok(log.memoryBytes <= memoryBytes, 'memory stays within its limit')
  }
  t.ok(log.diskBytes > 400_000)
  const told = await tailOf(t, log, 4096)
  const chunks = Array.from({ length: 100 }, (_, n) => data(1, chunk.fill(n).slice()))
  t.same(told.slice(1).map(one => one.record), chunks)
  await log.close()
  t.same(await readdir(directory), ['other.txt'])
  t.equal(log.diskBytes, 0)
})

void t.test('a disk that takes no spill: E_DISK, what was taken stays, a new history is taken', async t => {
  const files = new FaultyFiles()
  const memoryBytes = 32 * 1024
  const log = await MemoryLog.open({ directory: '/spill', memoryBytes, logBytes: 8 << 20 }, files)
  await log.begin(history, generation(1), lsn(1))
  await put(log, [open(1)])
  const full = new Error('ENOSPC: no space left on device')
  files.fate = ({ type }) => type === 'write' ? { fail: full } : undefined
  const chunk = new Uint8Array(3000)
  let refused: unknown
  while (!refused) {
    refused = await put(log, [data(1, chunk)]).then(() => undefined, (error: unknown) => error)
  }
  t.match(refused, { code: 'E_DISK', message: /ENOSPC/ })
  t.strictSame(files.names(), [], 'nothing half written is left')
  const held = log.lastLsn
  await rejectsWith(t, put(log, [data(1, chunk)]), 'E_DISK')
  t.equal((await tailOf(t, log, 4096)).length, held)
  files.fate = () => undefined
  await log.begin(history, generation(2), lsn(1))
  t.equal(await put(log, [open(1)]), 1)
})

void t.test('a spilled segment that was changed is not handed out', async t => {
  const files = new FaultyFiles()
  const log = await MemoryLog.open({ directory: '/spill', memoryBytes: 8192, logBytes: 8 << 20 }, files)
  await log.begin(history, generation(1), lsn(1))
  await put(log, [open(1)])
  for (let n = 0; n < 20; n++) await put(log, [data(1, new Uint8Array(1500))])
  for (const name of files.names()) {
    const content = files.contentOf(name)
    content[content.length - 1] = 1
  }
  await rejectsWith(t, tailOf(t, log), 'E_LOG_CORRUPT')
})
