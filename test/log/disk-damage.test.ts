import t from 'tap'
import { checkpointId, generation, lsn } from '../../src/core/ids.ts'
import { DiskLog } from '../../src/log/disk-log.ts'
import { openLog } from '../../src/log/open-log.ts'
import { data, floor, history, mark, open, put, rejectsWith, tailOf } from './compliance.ts'
import { FaultyFiles } from './faulty-files.ts'

const options = { directory: '/log', logBytes: 1 << 20, fileBytes: 100 }

/** A closed log: a base, and records in several files. */
async function written(): Promise<FaultyFiles> {
  const files = new FaultyFiles()
  const log = await DiskLog.open(options, files)
  await log.begin(history, generation(3), lsn(1))
  await put(log, [open(1), data(1, 'abcdef'), floor(1, 2)])
  await put(log, [mark(1), data(1, 'behind the mark')])
  for (let n = 0; n < 8; n++) await put(log, [data(1, new Uint8Array(80).fill(n))])
  await log.prune({ checkpoint: checkpointId(1), lsn: lsn(4) })
  await log.close()
  return files
}

void t.test('damage anywhere but at the end of the newest file is refused and nothing is cut', async t => {
  const files = await written()
  const names = files.names()
  const newest = names.findLast(name => name.endsWith('.log')) ?? ''
  t.ok(names.length >= 4 && names.some(name => name.endsWith('.base')), names.join(' '))
  for (const name of names) {
    const content = files.contentOf(name)
    for (let at = 0; at < content.length; at += 7) {
      const damaged = files.afterKill()
      const changed = content.slice()
      changed[at] = (changed[at] ?? 0) ^ 0x10
      damaged.setContent(name, changed)
      const opened = DiskLog.open(options, damaged)
      if (name === newest && at >= 64) {
        t.not((await opened).recovery.torn, undefined, `${name} at ${at}`)
        continue
      }
      await rejectsWith(t, opened, 'E_LOG_CORRUPT')
      t.strictSame(damaged.names(), names, `${name} at ${at}`)
    }
  }
})

void t.test('a file that is missing, or cut, is noticed', async t => {
  const files = await written()
  const newest = files.names().findLast(name => name.endsWith('.log')) ?? ''
  for (const name of files.names()) {
    if (name === newest) continue
    const without = files.afterKill()
    await without.unlink(`/log/${name}`)
    await rejectsWith(t, DiskLog.open(options, without), 'E_LOG_CORRUPT')
    for (const left of [0, 10, 64, files.contentOf(name).length - 1]) {
      const cut = files.afterKill()
      cut.setContent(name, files.contentOf(name).slice(0, left))
      await rejectsWith(t, DiskLog.open(options, cut), 'E_LOG_CORRUPT')
    }
  }
})

void t.test('a torn tail is cut and reported, once', async t => {
  const files = await written()
  const newest = files.names().findLast(name => name.endsWith('.log')) ?? ''
  const content = files.contentOf(newest)
  files.setContent(newest, content.slice(0, content.length - 5))
  const { log, recovery } = await openLog({ ...options, durability: 'disk', memoryBytes: 0 }, files)
  t.match(recovery, {
    lastLsn: log.lastLsn, removed: [],
    torn: { file: `/log/${newest}`, lastLsn: log.lastLsn, reason: 'a block cut short' }
  })
  const torn = recovery?.torn
  t.equal((torn?.offset ?? 0) + (torn?.bytes ?? 0), content.length - 5)
  t.equal(files.contentOf(newest).length, torn?.offset)
  await put(log, [data(1, 'goes on')])
  const again = await DiskLog.open(options, files)
  t.equal(again.recovery.torn, undefined)
  t.strictSame(await tailOf(t, again), await tailOf(t, log))
})

void t.test('a format that is newer is E_VERSION', async t => {
  const { crc32 } = await import('node:zlib')
  const files = await written()
  const [name = ''] = files.names()
  const content = files.contentOf(name).slice()
  content[8] = 9
  new DataView(content.buffer).setUint32(60, crc32(content.subarray(0, 60)), true)
  files.setContent(name, content)
  await rejectsWith(t, DiskLog.open(options, files), 'E_VERSION')
})

void t.test('openLog opens the kind that is asked for', async t => {
  const files = new FaultyFiles()
  const limits = { directory: '/x', memoryBytes: 1 << 20, logBytes: 1 << 20 }
  for (const durability of ['memory', 'disk'] as const) {
    const { log, recovery } = await openLog({ ...limits, durability }, files)
    await log.begin(history, generation(1), lsn(1))
    await put(log, [open(1), data(1, 'x')])
    t.equal(log.diskBytes > 0, durability === 'disk')
    t.equal(recovery !== undefined, durability === 'disk')
    await log.close()
  }
})
