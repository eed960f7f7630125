import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { dumpLog, verdictStatus, verdictText, verifyLog } from '../../src/cli/log.ts'
import { checkpointId, generation, lsn } from '../../src/core/ids.ts'
import { DiskLog } from '../../src/log/disk-log.ts'
import {
  connected, data, end, floor, guestEnd, guestReset, history, mark, open, put, read, reset
} from '../log/compliance.ts'

/** A directory with a log of two files: a base with one connection, and a tail. */
async function logIn(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'tailgate-log-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  const log = await DiskLog.open({ directory, logBytes: 1 << 20 })
  await log.begin(history, generation(3), lsn(1))
  await put(log, [open(1), connected(1), data(1, 'abcdef'), read(1, 5, 0xab), floor(1, 4), mark(7)])
  await put(log, [data(1, 'gh'), end(1), guestEnd(1, 9), open(2, '[::1]:9'), reset(2), guestReset(2, 0)])
  await log.prune({ checkpoint: checkpointId(7), lsn: lsn(6) })
  await log.close()
  return directory
}

async function dumped(directory: string, json: boolean): Promise<string[]> {
  const lines: string[] = []
  await dumpLog(directory, { json }, line => { lines.push(line) })
  return lines
}

void t.test('dump shows one line per record, the base with lsn 0', async t => {
  const directory = await logIn(t)
  t.strictSame(await dumped(directory, false), [
    '       0 ADOPT       connection=1 service=0 connected=true input=4 output=5 hash=000000ab '
      + 'client=10.0.0.1:4000 path=2',
    '       0 DATA        connection=1 bytes=2',
    '       7 DATA        connection=1 bytes=2',
    '       8 END         connection=1',
    '       9 GUEST_END   connection=1 output=9',
    '      10 OPEN        connection=2 service=0 client=[::1]:9',
    '      11 RESET       connection=2',
    '      12 GUEST_RESET connection=2 output=0'
  ])
  const json = (await dumped(directory, true)).map(line => JSON.parse(line) as unknown)
  t.strictSame(json[1], { lsn: 0, kind: 'DATA', connection: 1, bytes: 2 })
  t.equal(json.length, 8)
})

void t.test('verify calls a sound log sound and changes nothing', async t => {
  const directory = await logIn(t)
  const before = await readdir(directory)
  const verdict = await verifyLog(directory)
  t.match(verdict, {
    verdict: 'sound', history, generation: 3, lastLsn: 12, base: { checkpoint: 7, lsn: 6 }, connections: 1,
    tailRecords: 7, tailBytes: 4, torn: undefined, leftovers: []
  })
  t.equal(verdictStatus(verdict), 0)
  t.match(verdictText(verdict), /^sound: history 00112233445566ff, .* from checkpoint 7 at lsn 6/)
  t.strictSame(await readdir(directory), before)
})

void t.test('verify says where a torn tail begins, and does not cut it', async t => {
  const directory = await logIn(t)
  const file = await newest(directory)
  const content = await readFile(file)
  await writeFile(file, content.subarray(0, content.length - 1))
  const verdict = await verifyLog(directory)
  const torn = { file, offset: 64, bytes: content.length - 65 }
  t.match(verdict, { verdict: 'torn', lastLsn: 6, torn })
  t.equal(verdictStatus(verdict), 0)
  t.match(verdictText(verdict), /^torn tail: \d+ bytes at byte 64 of /)
  t.equal((await readFile(file)).length, content.length - 1)
})

void t.test('verify says where a log is corrupt, and dump fails there', async t => {
  const directory = await logIn(t)
  const file = join(directory, (await readdir(directory)).find(name => name.endsWith('.base')) ?? '')
  const content = await readFile(file)
  content[70] = (content[70] ?? 0) ^ 1
  await writeFile(file, content)
  const verdict = await verifyLog(directory)
  t.match(verdict, { verdict: 'corrupt', code: 'E_LOG_CORRUPT', where: { file, at: 64 } })
  t.equal(verdictStatus(verdict), 1)
  t.match(verdictText(verdict), /^corrupt: E_LOG_CORRUPT: .*\.base: a wrong checksum at byte 64$/)
  await t.rejects(dumped(directory, false), { code: 'E_LOG_CORRUPT' })
})

void t.test('a directory without a log is an empty one; one that cannot be read is E_DISK', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'tailgate-log-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  t.match(await verifyLog(directory), { verdict: 'sound', history: '0000000000000000', lastLsn: 0 })
  await t.rejects(verifyLog(join(directory, 'missing')), { code: 'E_DISK' })
})

async function newest(directory: string): Promise<string> {
  const names = (await readdir(directory)).filter(name => name.endsWith('.log')).sort()
  return join(directory, names.at(-1) ?? '')
}
