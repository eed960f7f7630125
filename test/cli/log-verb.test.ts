import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { generation, lsn } from '../../src/core/ids.ts'
import { DiskLog } from '../../src/log/disk-log.ts'
import { data, history, open, put } from '../log/compliance.ts'
import { directoryWith, tailgate } from './tailgate.ts'

/** A log with three records on disk. */
async function logOnDisk(t: Test): Promise<string> {
  const directory = directoryWith(t, {})
  const log = await DiskLog.open({ directory, logBytes: 1 << 20 })
  await log.begin(history, generation(3), lsn(1))
  await put(log, [open(1), data(1, 'abcdef')])
  await put(log, [open(2)])
  await log.close()
  return directory
}

void t.test('a sound log is verified and dumped', async (t) => {
  const directory = await logOnDisk(t)
  const verdict = await tailgate('log', 'verify', directory)
  t.match(verdict,
    { status: 0, error: '', out: /^sound: history [0-9a-f]{16}, generation 3, last lsn 3[^\n]*\n$/ })
  t.match(JSON.parse((await tailgate('log', 'verify', directory, '--json')).out),
    { verdict: 'sound', lastLsn: 3 })

  const dump = await tailgate('log', 'dump', directory)
  t.match(dump, { status: 0, error: '' })
  t.equal(dump.out.split('\n').length, 4, 'a line for each record')
  const records = (await tailgate('log', 'dump', directory, '--json')).out.trimEnd().split('\n')
  t.match(records.map((line) => JSON.parse(line) as unknown), [
    { lsn: 1, kind: 'OPEN', connection: 1 }, { lsn: 2, kind: 'DATA', bytes: 6 }, { lsn: 3, kind: 'OPEN',
      connection: 2 }
  ])
  t.notMatch(dump.out, /abcdef/, 'what clients sent is not shown')
})

void t.test('a log that is damaged has status 1', async (t) => {
  const directory = await logOnDisk(t)
  for (const name of readdirSync(directory)) {
    const file = join(directory, name)
    const bytes = readFileSync(file)
    for (let at = 0; at < bytes.length / 2; at++) bytes[at] = (bytes[at] ?? 0) ^ 0xff
    writeFileSync(file, bytes)
  }
  t.match(await tailgate('log', 'verify', directory), { status: 1, error: '', out: /^corrupt: E_\w+: / })
  t.match(await tailgate('log', 'dump', directory), { status: 1, out: '', error: /^tailgate: E_\w+: / })
})
