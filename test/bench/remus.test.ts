import { EventEmitter, once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { DelayMode } from '../../bench/latency/report.ts'
import { Load } from '../../bench/remus/loads.ts'
import { trials } from '../../bench/remus/plan.ts'
import {
  settingText, type LoadName, type RemusReport, type RemusTrial
} from '../../bench/remus/report.ts'
import { remusTables } from '../../bench/remus/tables.ts'
import { addFile, nothingMeasured } from '../../bench/results/input.ts'
import { writeResults } from '../../bench/results/write.ts'

/** A trial whose responses took so long, whose guest compiled that part, and whose client waited so long. */
function trial(mode: DelayMode, intervalMs: number, load: LoadName, figures: {
  readonly mean: number, readonly compiled: number, readonly clientMs: number
}): RemusTrial {
  const { mean, compiled, clientMs } = figures
  const points = Array.from({ length: 20 }, (_, n) => [n * intervalMs / 20, mean] as const)
  return {
    mode, intervalMs, load,
    alone: { rate: 500, delay: { mean: 4, p50: 3, p99: 20 } },
    protected: { rate: 250, delay: { mean, p50: mean, p99: 2 * mean } },
    series: {
      mode, intervalMs, rate: 20, requests: 400, checkpoints: 9, imageBytes: 4e6, periodMs: intervalMs + 500,
      delay: { p50: mean, p90: mean, p99: 2 * mean, p999: 2 * mean, max: 3 * mean }, points
    },
    compiles: { alone: 4, protected: 4 * compiled },
    checkpoints: { bytesPerSecond: 1.5e6, pauseMs: 300 },
    failover: { clientMs, afterDetectionMs: clientMs - 4000, replayedRecords: 700, kept: 20, reset: 0 }
  }
}

function report(...all: readonly RemusTrial[]): RemusReport {
  return { kind: 'remus', machine: 'a processor of tests', failures: [], missing: [], trials: all }
}

const whole = report(
  trial('epoch', 5000, 'network', { mean: 30, compiled: 0.9, clientMs: 12_000 }),
  trial('epoch', 1000, 'network', { mean: 80, compiled: 0.6, clientMs: 8000 }),
  trial('epoch', 1000, 'memory', { mean: 20, compiled: 0.5, clientMs: 17_000 }),
  trial('checkpoint', 200, 'network', { mean: 1000, compiled: 0.5, clientMs: 9500 }),
  trial('checkpoint', 100, 'network', { mean: 700, compiled: 0.4, clientMs: 9000 }),
  trial('checkpoint', 200, 'memory', { mean: 900, compiled: 0.5, clientMs: 9000 })
)

async function resultsOf(t: Test, ...reports: readonly RemusReport[]): Promise<string> {
  const directory = t.testdir()
  const measured = reports.map((one) => JSON.stringify(one))
    .reduce((all, text, index) => addFile(all, `file ${index}`, text), nothingMeasured)
  await writeResults(measured, directory)
  const chart = await readFile(join(directory, 'results-svg/remus.svg'), 'utf8')
  t.notMatch(chart, /NaN|undefined|Infinity/)
  t.equal([...chart.matchAll(/h0/g)].length, 20 * whole.trials.length, 'a dot for each request')
  return await readFile(join(directory, 'RESULTS.md'), 'utf8')
}

void t.test('every setting is measured under both loads, for three of its periods and more', (t) => {
  const all = trials(false)
  t.equal(all.length, 10)
  t.ok(all.every(({ intervalMs, loadSeconds }) => loadSeconds * 1000 >= 4 * intervalMs))
  t.ok(all.some(({ mode, intervalMs }) => mode === 'checkpoint' && intervalMs <= 200))
  t.same(trials(true).map((one) => settingText(one)), ['Remus, every 200 ms', 'LLM, every 1 s'])
  t.same(trials(false, ({ load, intervalMs }) => load === 'memory' && intervalMs === 5000).length, 1)
  t.end()
})

void t.test('claims are held against the best of Remus', async (t) => {
  const text = await resultsOf(t, whole)
  const row = (start: string): string | undefined => text.split('\n').find((line) => line.startsWith(start))
  t.equal(row('| the network delay (mean) is more than 90 % below | network '),
    '| the network delay (mean) is more than 90 % below | network | 0.700 s | 0.080 s: **not confirmed** '
      + '| 0.030 s: confirmed |')
  t.match(row('| the network delay (mean) is more than 90 % below | memory '),
    /\| 0\.900 s \| 0\.020 s: confirmed \| not measured \|$/)
  t.equal(row('| the downtime is shorter '),
    '| the downtime is shorter | network | 9.0 s | 8.0 s: confirmed | 12.0 s: **not confirmed** |')
  t.match(row('| the downtime is longer, but comparable'), /\| 9\.0 s \| 17\.0 s: confirmed \|/)
  const overhead = '| the overhead is lower: more is compiled '
  t.match(row(`${overhead}| network `), /\| 0\.50 \| 0\.60: conf.* 0\.90: conf/)
  t.match(row(`${overhead}| memory `), /\| 0\.50 \| 0\.50: \*\*not confirmed/)
  t.equal(row('| Remus, every 100 ms | network | 700 ms '),
    '| Remus, every 100 ms | network | 700 ms | 700 ms | 1400 ms | 3.00 ms | 250 | 0.50 | 0.40 | 600 ms '
      + '| 1.50 | 300 ms |')
})

const longer = 'the downtime is longer, but comparable (at most twice)'
for (const [clientMs, said] of [
  [8900, '8.9 s: comparable; **not longer**'], [18_000, '18.0 s: confirmed'],
  [18_200, '18.2 s: **not confirmed**']
] as const) {
  void t.test(`a downtime of ${clientMs} ms beside one of 9000: ${said}`, async (t) => {
    const other = trial('epoch', 1000, 'memory', { mean: 20, compiled: 0.5, clientMs })
    const others = whole.trials.filter(({ mode, load }) => mode === 'checkpoint' || load === 'network')
    const text = await resultsOf(t, report(...others, other))
    t.ok(text.includes(`| ${longer} | memory | 9.0 s | ${said} |`), text)
  })
}

void t.test('a trial that was made again takes the place of the one before, which is told', async (t) => {
  const fresh = trial('epoch', 1000, 'network', { mean: 7, compiled: 0.4, clientMs: 8000 })
  const text = await resultsOf(t, whole, report(fresh))
  t.match(text, /\| LLM, every 1 s \| network \| 7\.00 ms /)
  t.notMatch(text, /\| LLM, every 1 s \| network \| 80\.0 ms /)
  t.match(text, /in 2 runs\. Each trial has two fresh hosts of its own, and its host is killed once/)
  const [, again = ''] = text.split('| made again ')
  t.match(again, /90 % below \| 0\.700 s \| 0\.080 s: \*\*not confirmed\*\* \| 0\.007 s: confirmed \|/)
  t.match(again, /more is compiled \| 0\.50 \| 0\.60: confirmed \| 0\.40: \*\*not confirmed\*\* \|/)
  t.notMatch(again, / memory /, 'what the other load says stays')
  const once = await resultsOf(t, whole)
  t.match(once, /in one run\. /)
  t.notOk(once.includes('made again'))
})

void t.test('...and of why it had failed', async (t) => {
  const failed = {
    ...report(), failures: ['LLM, every 1 s, network: too few', 'LLM, every 1 s, memory: too few']
  }
  const fresh = trial('epoch', 1000, 'network', { mean: 7, compiled: 0.6, clientMs: 8000 })
  const others = whole.trials.filter(({ intervalMs, load }) => intervalMs !== 1000 || load !== 'network')
  const text = await resultsOf(t, report(...others), failed, report(fresh))
  t.match(text, /do not hold:\*\*\n\n- LLM, every 1 s, memory: too few\n\n/)
})

void t.test('the tables of a terminal have a line for each trial', (t) => {
  const lines = remusTables(whole).filter((line) => /^(Remus|LLM),/.test(line))
  t.equal(lines.length, 12)
  t.match(lines[0], /^Remus, every 100 ms +network/)
  t.end()
})

void t.test('a load counts its replies, and a wrong one is told at its end', async (t) => {
  const right = 100
  let answers = 0
  const wrong = new EventEmitter()
  const wasWrong = once(wrong, 'said')
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', () => {
      answers++
      socket.write(answers > right ? '-NO\r\n' : '+OK\r\n')
      if (answers > right) wrong.emit('said')
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const load = await Load.begin('network', { host: '127.0.0.1', port })
  await wasWrong
  await t.rejects(load.end(), /a reply is not the one/)
  t.ok(load.answered > 0 && load.answered <= right, String(load.answered))
})
