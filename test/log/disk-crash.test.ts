import t, { type Test } from 'tap'
import { checkpointId, generation, historyId, lsn, type HistoryId } from '../../src/core/ids.ts'
import { TailLog } from '../../src/core/log/tail-log.ts'
import type { LogRecord } from '../../src/core/record.ts'
import { encodeRecord } from '../../src/core/record-codec.ts'
import { DiskLog } from '../../src/log/disk-log.ts'
import {
  data, end, floor, guestReset, mark, open, put, read, recordsOf, tailOf, type Told
} from './compliance.ts'
import { FaultyFiles, type Fate, type Operation } from './faulty-files.ts'

const first = historyId('1111111111111111')
const second = historyId('2222222222222222')
const options = { directory: '/log', logBytes: 1 << 20, fileBytes: 700 }

type Step =
  | { readonly type: 'begin', readonly history: HistoryId, readonly firstLsn: number }
  /** Epochs that are appended together. */
  | { readonly type: 'append', readonly epochs: readonly (readonly LogRecord[])[] }
  | { readonly type: 'prune', readonly checkpoint: number, readonly lsn: number }

const long = (connection: number, n: number): LogRecord => data(connection, new Uint8Array(300).fill(n))

const script: readonly Step[] = [
  { type: 'begin', history: first, firstLsn: 1 },
  { type: 'append', epochs: [[open(1), data(1, 'abcdef')]] },
  { type: 'append', epochs: [[read(1, 4), open(2), long(2, 1)], [long(2, 2)], [data(1, 'x'), floor(1, 5)]] },
  { type: 'append', epochs: [[floor(2, 400), mark(1)], [data(1, 'after the mark'), long(2, 3)]] },
  { type: 'append', epochs: [[open(3), long(3, 4)], [guestReset(3, 0)]] },
  { type: 'prune', checkpoint: 1, lsn: 10 },
  { type: 'append', epochs: [[end(2), floor(2, 901)], [data(1, 'y'), mark(2), data(1, 'z')]] },
  { type: 'append', epochs: [[long(1, 5)]] },
  { type: 'prune', checkpoint: 2, lsn: 19 },
  { type: 'append', epochs: [[long(1, 6)], [long(1, 7)]] },
  { type: 'begin', history: second, firstLsn: 100 },
  { type: 'append', epochs: [[open(9), data(9, 'new')], [long(9, 1), mark(3)]] },
  { type: 'prune', checkpoint: 3, lsn: 103 },
  { type: 'append', epochs: [[data(9, 'last')]] }
]

/** What a run was told and what it had asked for. */
interface Outcome {
  /** Histories that may be found: the one begun last, and the one that was about to begin. */
  readonly histories: HistoryId[]
  /** Prunes that are known to be done, and at most one more that may be. */
  pruned: Step[]
  maybePruned: Step | undefined
  acked: number
  sent: number
  /** Whether anything failed. */
  failed: boolean
}

/** Runs the script until something fails. */
async function run(log: DiskLog): Promise<Outcome> {
  const outcome: Outcome = {
    histories: [], pruned: [], maybePruned: undefined, acked: 0, sent: 0, failed: false
  }
  for (const step of script) {
    await take(log, step, outcome).catch(() => { outcome.failed = true })
    if (outcome.failed) break
  }
  return outcome
}

async function take(log: DiskLog, step: Step, outcome: Outcome): Promise<void> {
  switch (step.type) {
    case 'begin':
      outcome.histories.push(step.history)
      await log.begin(step.history, generation(1), lsn(step.firstLsn))
      outcome.histories.splice(0, outcome.histories.length - 1)
      Object.assign(outcome, { pruned: [], maybePruned: undefined, acked: 0, sent: step.firstLsn - 1 })
      return
    case 'append': {
      const acks = await Promise.allSettled(step.epochs.map(epoch => {
        const firstLsn = outcome.sent + 1
        outcome.sent += epoch.length
        return log.append(lsn(firstLsn), lsn(outcome.sent), epoch.map(encodeRecord))
      }))
      for (const ack of acks) {
        if (ack.status === 'fulfilled') outcome.acked = Math.max(outcome.acked, ack.value)
        else outcome.failed = true
      }
      return
    }
    case 'prune':
      outcome.maybePruned = step
      await log.prune({ checkpoint: checkpointId(step.checkpoint), lsn: lsn(step.lsn) })
      outcome.pruned.push(step)
      outcome.maybePruned = undefined
  }
}

/** The tail that a log must have after the records of `history` up to `last` and these prunes. */
function expected(history: HistoryId, last: number, base: number): Told[] {
  const model = new TailLog({ segmentBytes: 4096, logBytes: 1 << 20 })
  let isOwn = false
  let next = 1
  for (const step of script) {
    if (step.type === 'begin') {
      isOwn = step.history === history
      next = step.firstLsn
      if (isOwn) model.begin(history, generation(1), lsn(step.firstLsn))
    } else if (isOwn && step.type === 'append') {
      for (const record of step.epochs.flat()) {
        if (next <= last) model.append(lsn(next), lsn(next), [encodeRecord(record)])
        next++
      }
    } else if (isOwn && step.type === 'prune' && step.lsn <= base) {
      const job = model.prune({ checkpoint: checkpointId(step.checkpoint), lsn: lsn(step.lsn) })
      while (job.step(100) !== 'done');
    }
  }
  return [...model.tail(1 << 20)].flatMap(recordsOf)
}

/**
 * Whatever a crash left, the log opens, holds everything that was acknowledged, and nothing that was not
 * sent.
 */
async function check(
  t: Test, files: FaultyFiles, outcome: Outcome, at: string, hasUnsynced = false
): Promise<void> {
  const log = await DiskLog.open(options, files)
  const found = log.history
  if (outcome.histories.length === 0) return
  const isNewest = found === outcome.histories.at(-1)
  const isBegun = outcome.histories.length === 1
  // While the very first history begins there may be none, and while another begins there may be the old one.
  if (!isNewest && !(isBegun && outcome.acked === 0 && outcome.sent === 0)) {
    t.equal(found, outcome.histories[0], `${at}: a history that was there`)
  }
  const isInBegin = outcome.histories.length === 2 && isNewest
  const acked = isInBegin ? 0 : outcome.acked
  const sent = isInBegin ? 99 : outcome.sent
  if (log.lastLsn < acked || log.lastLsn > sent) {
    t.fail(`${at}: last lsn ${log.lastLsn} of ${acked} acknowledged and ${sent} sent`)
  }
  const base = log.base?.lsn ?? 0
  const done = isInBegin ? 0 : lastMark(outcome.pruned)
  const maybe = isInBegin ? 0 : lastMark(outcome.maybePruned ? [outcome.maybePruned] : [])
  if (base !== done && base !== maybe) t.fail(`${at}: base at ${base}, not ${done} or ${maybe}`)
  const told = await tailOf(t, log, 1 << 20)
  t.same(told, expected(found, log.lastLsn, base), `${at}: the tail`)
  // Only what was not synced can be claimed too early, and only in these two cases is any of it surely there.
  if (hasUnsynced) await goesOn(t, files, log, at)
}

function lastMark(prunes: readonly Step[]): number {
  const last = prunes.at(-1)
  return last?.type === 'prune' ? last.lsn : 0
}

/** What was claimed at opening outlives another power loss, and the log can be written to and begun anew. */
async function goesOn(t: Test, files: FaultyFiles, log: DiskLog, at: string): Promise<void> {
  const claimed = log.lastLsn
  const again = await DiskLog.open(options, files.powerLoss(() => false))
  t.equal(again.lastLsn, claimed, `${at}: what opening claimed was durable`)
  t.equal(again.recovery.torn, undefined, `${at}: mended once`)
  await again.begin(historyId('3333333333333333'), generation(2), lsn(7))
  await put(again, [open(1), data(1, 'on')], 7)
  t.equal((await tailOf(t, again)).length, 2)
}

function chances(seed: number): () => boolean {
  let state = seed * 2654435761 >>> 0
  return () => {
    state = Math.imul(state ^ state >>> 15, 0x2c1b3c6d) + 0x9e3779b9 >>> 0
    return (state >>> 13 & 1) === 1
  }
}

/** Everything from operation number `step` on fails; a write takes effect up to `share` of its bytes. */
function crashAt(step: number, share: number): (operation: Operation) => Fate {
  let count = 0
  return ({ bytes }) => {
    if (count++ < step) return undefined
    return { fail: new Error('EIO: crashed'), done: count === step + 1 ? Math.floor(bytes * share) : 0 }
  }
}

void t.test('a crash at any operation loses nothing acknowledged and leaves a log that opens', async t => {
  const whole = new FaultyFiles()
  const log = await DiskLog.open(options, whole)
  const opened = whole.operations.length
  const clean = await run(log)
  t.equal(clean.failed, false, 'without faults the script runs through')
  t.equal(clean.sent, 104)
  const steps = whole.operations.length
  t.ok(steps > 80, 'there are many places to crash at')
  for (const file of ['rename', 'unlink', 'syncDirectory', 'sync', 'create']) {
    t.ok(whole.operations.some(one => one.type === file), `the script makes the log ${file}`)
  }
  for (let step = opened; step < steps; step++) {
    for (const share of whole.operations[step]?.type === 'write' ? [0, 0.5, 1] : [0]) {
      const files = new FaultyFiles()
      files.fate = crashAt(step, share)
      const log = await DiskLog.open(options, files)
      const outcome = await run(log)
      const at = `crash at operation ${step} (${whole.operations[step]?.type ?? ''}), share ${share}`
      await check(t, files.afterKill(), outcome, `${at}, killed`, true)
      for (let seed = 1; seed <= 2; seed++) {
        await check(t, files.powerLoss(chances(step * 10 + seed)), outcome, `${at}, power lost, seed ${seed}`)
      }
      await check(t, files.powerLoss(() => false), outcome, `${at}, nothing unsynced is there`)
      await check(t, files.powerLoss(() => true), outcome, `${at}, everything is there`, true)
    }
  }
})

void t.test('a crash while a crash is mended does no harm', async t => {
  const files = new FaultyFiles()
  const log = await DiskLog.open(options, files)
  await log.begin(first, generation(1), lsn(1))
  await put(log, [open(1), data(1, 'abc'), floor(1, 3), mark(1), data(1, 'def')])
  // The prune is durable, and crashes when it comes to removing what it replaced.
  files.fate = ({ type }) => type === 'unlink' ? { fail: new Error('crashed') } : undefined
  await put(log, [data(1, 'in a second file')])
  await log.prune({ checkpoint: checkpointId(1), lsn: lsn(4) }).catch(() => undefined)
  files.fate = () => undefined
  const left = files.afterKill()
  left.setContent('0000000099.new', new Uint8Array(10))
  const newest = left.names().findLast(name => name.endsWith('.log')) ?? ''
  left.setContent(newest, Buffer.concat([left.contentOf(newest), new Uint8Array(30).fill(9)]))
  const opened = left.afterKill()
  const want = await tailOf(t, await DiskLog.open(options, opened))
  const steps = opened.operations.length
  for (let step = 0; step < steps; step++) {
    const half = left.afterKill()
    half.fate = crashAt(step, 0)
    await DiskLog.open(options, half).catch(() => undefined)
    for (const after of [half.afterKill(), half.powerLoss(() => false), half.powerLoss(chances(step))]) {
      const opened = await DiskLog.open(options, after)
      t.same(await tailOf(t, opened), want, `crash at operation ${step} of opening`)
    }
  }
  t.ok(steps >= 5)
})

for (const refused of ['write', 'sync', 'create', 'syncDirectory', 'rename'] as const) {
  void t.test(`a disk that refuses ${refused} once: E_DISK, and what was acknowledged stays`, async t => {
    for (let count = 0; count < 12; count++) {
      const files = new FaultyFiles()
      const log = await DiskLog.open(options, files)
      let left = count
      files.fate = ({ type, bytes }) => {
        if (type !== refused || left-- > 0) return undefined
        files.fate = () => undefined
        return { fail: new Error('ENOSPC: no space left on device'), done: bytes >> 1 }
      }
      const outcome = await run(log)
      if (!outcome.failed) continue
      const inBegin = outcome.histories.length === 2 || (outcome.acked === 0 && outcome.sent === 0)
      const inPrune = outcome.maybePruned !== undefined
      if (!inBegin) {
        t.same(await tailOf(t, log, 1 << 20), expected(log.history, log.lastLsn, log.base?.lsn ?? 0))
        t.equal(log.lastLsn, outcome.acked, 'no more is held than was acknowledged')
      }
      const next = put(log, [open(77)], outcome.sent + 1)
      if (inPrune) t.equal(await next, outcome.sent + 1, 'a prune that failed leaves the log as it was')
      else await t.rejects(next, { code: 'E_DISK' }, 'nothing more is taken')
      if (!inPrune && !inBegin) {
        const again = await DiskLog.open(options, files.afterKill())
        t.equal(again.lastLsn, outcome.acked, 'what was refused is not there after a restart')
      }
      await log.begin(second, generation(2), lsn(1))
      t.equal(await put(log, [open(5)], 1), 1, 'a new history is taken')
      const after = await DiskLog.open(options, files.powerLoss(() => false))
      t.same([after.history, after.lastLsn], [second, 1])
    }
  })
}

void t.test('appends that come while the disk is busy share the next write', async t => {
  const files = new FaultyFiles()
  const log = await DiskLog.open(options, files)
  await log.begin(first, generation(1), lsn(1))
  let go = (): void => undefined
  const busy = new Promise<void>(resolve => { go = resolve })
  files.fate = async ({ type }) => {
    if (type === 'sync') await busy
    return undefined
  }
  const before = files.operations.length
  const acks = Array.from({ length: 20 }, (_, n) => put(log, [n === 0 ? open(1) : data(1, `${n}`)], n + 1))
  t.equal(log.lastLsn, 20, 'accepted')
  t.equal(log.tailRecords, 0, 'but none of it is durable')
  go()
  t.same(await Promise.all(acks), [1, ...Array.from({ length: 19 }, () => 20)])
  const syncs = files.operations.slice(before).filter(one => one.type === 'sync')
  const writes = files.operations.slice(before).filter(one => one.type === 'write')
  t.same([writes.length, syncs.length], [2, 2], 'one round for the first, one for all the others')
  t.equal(log.tailRecords, 20)
})
