import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { DiskLog } from '../../src/log/disk-log.ts'
import { history, tailOf } from './compliance.ts'
import { recordNumber } from './log-writer.ts'

const writer = fileURLToPath(new URL('log-writer.ts', import.meta.url))

/** Runs a process that appends to the log until it is killed, and returns the last lsn it was promised. */
async function appendUntilKilled(t: Test, directory: string, acks: number): Promise<number> {
  const command = ['--import=tsx', writer, directory]
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = new Promise(resolve => { child.once('close', resolve) })
  let acked = 0
  let lines = 0
  for await (const line of createInterface({ input: child.stdout })) {
    acked = Number(line)
    if (++lines === acks) child.kill('SIGKILL')
  }
  await ended
  t.equal(child.signalCode, 'SIGKILL', 'it was killed and did not end by itself')
  return acked
}

void t.test('what a killed process had been promised is there when the log is opened again', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'tailgate-log-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  let before = 0
  for (const acks of [3, 40, 90]) {
    const acked = await appendUntilKilled(t, directory, acks)
    t.ok(acked > before, 'the process went on where the one before was killed')
    const log = await DiskLog.open({ directory, logBytes: 1 << 28 })
    t.equal(log.history, history)
    t.ok(log.lastLsn >= acked, `${log.lastLsn} records are there, ${acked} were promised`)
    const told = (await tailOf(t, log, 1 << 16)).filter(one => one.lsn > 0)
    const written = told.map(one => recordNumber(one.lsn))
    t.strictSame(told.map(one => one.record), written, 'each of them as it was')
    t.equal(told.at(-1)?.lsn, log.lastLsn)
    before = log.lastLsn
    await log.close()
  }
})
