import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { generation, lsn } from '../../src/core/ids.ts'
import { MemoryLog } from '../../src/log/memory-log.ts'
import { complies, data, history, open, put, tailOf } from './compliance.ts'

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
