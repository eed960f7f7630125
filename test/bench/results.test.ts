import { execFile } from 'node:child_process'
import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import type {
  CheckpointFigure, FailoverFigure, FailoverReport, GuestName, Point
} from '../../bench/failover/report.ts'
import { summarize, type Sample } from '../../bench/figures.ts'
import { linkLoads } from '../../bench/footprint/link.ts'
import type { FootprintReport } from '../../bench/footprint/report.ts'
import { Histogram } from '../../bench/latency/histogram.ts'
import type { DelayMode, DelaySeries, LatencyReport, LoadRun } from '../../bench/latency/report.ts'
import { figureGoals, goalContenders, goals } from '../../bench/results/goals.ts'
import { addFile, nothingMeasured as nothing, pooled, type Measured } from '../../bench/results/input.ts'
import { msText } from '../../bench/results/latency-chart.ts'
import { roundUp, ticks } from '../../bench/results/svg.ts'
import { writeResults } from '../../bench/results/write.ts'
import { echo, workloads } from '../../bench/workloads.ts'

const contenders = ['direct', 'haproxy', 'tailgate plain', 'tailgate epoch']

/** A run of the bench in which contender number i has i + 1 times a rate of `base` in every round. */
function benchText(base: number, failures: readonly string[] = []): string {
  const samples = ['get, 50 connections', 'bulk up'].flatMap((workload) =>
    contenders.flatMap((contender, index) => [1, 2, 3].map((round): Sample => ({
      contender, workload, round, rate: (index + 1) * base * (round + 9), amount: 1000,
      p50Ms: workload === 'bulk up' ? undefined : 0.25, p99Ms: workload === 'bulk up' ? undefined : 1.5,
      cpuNs: contender === 'direct' ? undefined : 1000 * (index + 1)
    }))))
  return JSON.stringify({
    yardstick: 'haproxy', quick: true, rounds: 3, seconds: 0.4, pinned: true, contenders,
    workloads: [{ name: 'get, 50 connections', unit: 'requests' }, { name: 'bulk up', unit: 'bytes' }],
    missing: ['nginx | stream: not installed'], repeated: [], failures,
    summaries: summarize(samples, () => 'haproxy')
  })
}

function loadRun(contender: string, fraction: number, slowest: number): LoadRun {
  const histogram = new Histogram()
  for (let index = 1; index <= 2000; index++) histogram.record(1000 + slowest * 10 / (2001 - index))
  const spread = (percent: number) => {
    const median = histogram.percentile(percent) / 1e4
    return { median, min: median / 2, max: median * 2 }
  }
  return {
    contender, fraction, capacity: 20_000, rate: 20_000 * fraction, connections: 50, rounds: 3,
    requests: histogram.count, histogram: histogram.pairs(), histogramMax: histogram.max,
    latency: { p50: spread(50), p90: spread(90), p99: spread(99), p999: spread(99.9), max: spread(100) },
    lateP50: 0.01, lateP99: 0.1, gcLongestMs: 2
  }
}

function delays(mode: DelayMode, intervalMs: number): DelaySeries {
  const points = Array.from({ length: 40 }, (_, index) => {
    const phase = index / 40 * intervalMs
    return [phase, mode === 'epoch' ? 0.4 : 2 * intervalMs - phase] as const
  })
  const p50 = points[20]?.[1] ?? 0
  const delay = { p50, p90: p50 * 1.2, p99: p50 * 1.4, p999: p50 * 1.5, max: p50 * 2 }
  return {
    mode, intervalMs, periodMs: intervalMs, checkpoints: 80, imageBytes: 1320, rate: 250, requests: 2000,
    delay, points
  }
}

const latency: LatencyReport = {
  kind: 'latency', machine: 'a processor <of & for> tests', pinned: true, failures: [],
  loads: [0.1, 0.5, 0.9].flatMap((fraction) => contenders.map((name, index) =>
    loadRun(name, fraction, 20_000 * (index + 1)))),
  delays: [25, 50, 100, 200, 1000].flatMap((intervalMs) =>
    (['epoch', 'checkpoint'] as const).map((mode) => delays(mode, intervalMs)))
}

/** A run in which each connection takes `bytesEach` of memory, and each epoch a frame of 40 bytes. */
function footprint(bytesEach: number): FootprintReport {
  const connections = [2000, 8000]
  return {
    kind: 'footprint', machine: 'a processor <of & for> tests', pinned: true, failures: [], missing: [],
    connectionsMax: 9000,
    idle: ['haproxy', 'tailgate plain', 'tailgate epoch'].flatMap((contender) => connections.map((count) => ({
      contender, connections: count, rssBeforeBytes: 50 << 20, rssBytes: (50 << 20) + count * bytesEach,
      p50AloneMs: 0.1, p50Ms: 0.105, p99AloneMs: 1, p99Ms: 1.5
    }))),
    link: linkLoads(true).map(({ workload }) => ({
      contender: 'tailgate epoch', load: workload.name, inputBytes: 1000, events: 1000, epochs: 500,
      recordBytes: 6000, linkBytes: 26_000
    })),
    workers: ['tailgate plain', 'tailgate epoch'].map((contender) => ({
      contender, load: 'get, 50 connections', guests: 4, processors: 2, pairs: 3,
      oneRate: 20_000, twoRate: 25_000, oneBusy: 0.91, firstBusy: 0.5, secondBusy: 0.52
    }))
  }
}

/** Rounds of which one took as long as named, and the others a half and twice. */
function failedOver(guest: GuestName, point: Partial<Point>, replayMs: number): FailoverFigure {
  const rounds = [1, 0.5, 2].map((factor) => {
    const phasesMs = {
      detect: 1000, fence: 5, drain: 1, commit: null, persist: 4, restore: 80, 'open-network': 20,
      attach: 50, replay: replayMs * factor
    }
    const afterDetectionMs = 160 + replayMs * factor
    return {
      phasesMs, afterDetectionMs, firstByteMs: 950 + afterDetectionMs, replayedBytes: 1e6,
      replayedRecords: 2000
    }
  })
  const usual = { connections: 100, tailBytes: 1e6, valueBytes: 1024, order: 'output', requests: 10 } as const
  return { guest, ...usual, ...point, rounds }
}

function checkpointsAfter(dirtyBytes: number): CheckpointFigure {
  const rounds = [1, 3, 2].map((factor) => ({
    shippedBytes: factor * (64 << 20), pauseMs: factor, durationMs: 500 * factor,
    worstResponseMs: 20 * factor
  }))
  return { guest: 'qemu', memoryMiB: 256, dirtyBytes, rounds }
}

const failover: FailoverReport = {
  kind: 'failover', machine: 'a processor <of & for> tests', failures: [], missing: ['a tail of 1000 MB'],
  failovers: [
    failedOver('embedded', { connections: 1000, tailBytes: 10e6 }, 800),
    failedOver('embedded', { connections: 1000, tailBytes: 10e6, valueBytes: 10_240 }, 80),
    failedOver('embedded', { connections: 1000, tailBytes: 10e6, order: 'arrival' }, 90),
    failedOver('embedded', {}, 40), failedOver('embedded', { connections: 1 }, 30),
    failedOver('embedded', { tailBytes: 10e6 }, 400),
    failedOver('qemu', { connections: 1000, tailBytes: 10e6 }, 2000), failedOver('qemu', {}, 300)
  ],
  checkpoints: [checkpointsAfter(8 << 20), checkpointsAfter(0)]
}

/** All that could be measured. */
function everything(): Measured {
  const footprints = [4000, 6000, 9000].map((bytes) => JSON.stringify(footprint(bytes)))
  const afterNpm = `> tailgate bench\n\n${JSON.stringify(latency)}\n`
  const texts = [benchText(1), benchText(2), ...footprints, afterNpm, JSON.stringify(failover)]
  return texts.reduce((all, text, index) => addFile(all, `file ${index}`, text), nothing)
}

/** Every element that is opened is closed, and no coordinate is missing. */
function isWhole(svg: string): boolean {
  const open: string[] = []
  for (const [, closing, name = '', own] of svg.matchAll(/<(\/?)(\w+)[^<>]*?(\/?)>/g)) {
    if (closing === '/') {
      if (open.pop() !== name) return false
    } else if (own === '') open.push(name)
  }
  const strayText = svg.replaceAll(/<[^<>]*>/g, '').replaceAll(/&(amp|lt|gt);/g, '')
  return open.length === 0 && !/[<>&]/.test(strayText) && !/NaN|undefined|Infinity/.test(svg)
}

async function written(measured: Measured, directory: string): Promise<Map<string, string>> {
  const files = await writeResults(measured, directory)
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')))
  return new Map(files.map((file, index) => [file.slice(directory.length + 1), texts[index] ?? '']))
}

void t.test('goals name workloads that there are, and each once', (t) => {
  const names = workloads.map(({ name }) => name)
  t.same(goals.filter(({ load }) => !names.includes(load)), [])
  const keys = goals.map(({ load, quantity }) => `${load} ${quantity}`)
  t.equal(new Set(keys).size, keys.length)
  const others = figureGoals.map(({ load, quantity, contender }) => `${load} ${quantity} ${contender}`)
  t.equal(new Set(others).size, others.length)
  t.end()
})

void t.test('the goals of the link have their loads', (t) => {
  const loads = linkLoads(true).map(({ workload }) => workload.name)
  t.same(loads, ['get, 50 connections', 'get, 50 x pipeline 16', 'bulk up', echo(1).name, echo(50).name])
  const goal = figureGoals.filter(({ quantity }) => quantity.startsWith('bytes on the link'))
  t.same(goal.map(({ load }) => load), loads)
  t.end()
})

void t.test('goals and what was reached stand side by side', async (t) => {
  const files = await written(everything(), t.testdir())
  const text = files.get('RESULTS.md') ?? ''
  const row = (start: string): string | undefined => text.split('\n').find((line) => line.startsWith(start))
  // plain is third and epoch fourth of those whose rate is a multiple of their place; haproxy is second.
  t.equal(row('| get, 50 connections | rate | tailgate plain '),
    '| get, 50 connections | rate | tailgate plain | ≥ 1.00 | 1.50 | 1.50 |  | **1.50** | met |')
  t.equal(row('| get, 50 connections | rate | tailgate epoch disk '),
    '| get, 50 connections | rate | tailgate epoch disk | ≥ 0.60 |  |  |  |  | not measured |')
  t.equal(row('| get, 50 connections | CPU per request | tailgate epoch '),
    '| get, 50 connections | CPU per request | tailgate epoch | ≤ 1.15 | 2.00 | 2.00 |  | **2.00** '
      + '| **not met** |')
  t.equal(row('| half of its own capacity | p99.9 | tailgate epoch '),
    '| half of its own capacity | p99.9 | tailgate epoch | ≤ 5 ms | 27 ms |  |  | **27 ms** | **not met** |')
  const pause = '| half of its own capacity | longest pause of the garbage collector | tailgate epoch '
  t.equal(row(pause), `${pause}| ≤ 5 ms | 2 ms |  |  | **2 ms** | met |`)
  t.equal(row('| idle connections | memory of each, bytes | tailgate plain '),
    '| idle connections | memory of each, bytes | tailgate plain | ≤ 8192 | 4000 | 6000 | 9000 '
      + '| **6000** | met |')
  t.equal(row('| idle connections | open at once | tailgate epoch '), '| idle connections | open at once '
    + '| tailgate epoch | ≥ 50000 | 8000 | 8000 | 8000 | **8000** | **not met** |')
  t.match(row('| idle connections | p99 of an active one'),
    /\| ≤ 1\.10 \|.* \*\*1\.50\*\* \| \*\*not met\*\* \|$/)
  // 1.05 x 1000 + 16 x 1000 bytes are allowed.
  t.match(row('| one byte at a time, 1 connection | bytes on the link'),
    /\| \*\*1\.52\*\* \| \*\*not met\*\* \|$/)
  t.equal(row('| four guests, two worker processes | throughput, to that of one | tailgate epoch '),
    '| four guests, two worker processes | throughput, to that of one | tailgate epoch | ≥ 1.00 '
      + '| 1.25 | 1.25 | 1.25 | **1.25** | met |')
  t.equal(row('| tailgate plain | get, 50 connections | 4 '),
    '| tailgate plain | get, 50 connections | 4 | 20000/s | 25000/s | 1.25 | 91 % | 50 %, 52 % |')
  t.equal(row('| haproxy | 8000 '), '| haproxy | 8000 | 50.0 MiB | 95.8 MiB | 6000 | 0.100 ms | 0.105 ms '
    + '| 1.000 ms | 1.500 ms |', 'medians of the runs')
  t.equal(row('| tailgate epoch | bulk up '),
    '| tailgate epoch | bulk up | 1000 | 2.0 | 1.0 | 5.0 | 20.0 | 40.0 | 1.52 |')
  const agreement = text.slice(text.indexOf('## Do the runs agree?')).split('\n')
  t.equal(agreement.find((line) => line.startsWith('| get, 50 connections | p50 | tailgate plain ')),
    '| get, 50 connections | p50 | tailgate plain | 1.00 to 1.00 | yes |')
  t.equal(row('| direct | 0.50 | '), '| direct | 0.50 | 1.00 | 1.00 |  | 17/s | 250 µs | 1.5 ms |')
  t.match(row('| 25 ms | checkpoint '), /\| 25\.0 ms \| 80 \| 37\.5 ms \|/)
  t.match(text, /left out: nginx \| stream/)
  t.match(text, /left out: a tail of 1000 MB/)
  t.notMatch(text, /do not hold|NaN|undefined/)
})

void t.test('failovers and checkpoints are told phase by phase', async (t) => {
  const text = (await written(everything(), t.testdir())).get('RESULTS.md') ?? ''
  const row = (start: string): string | undefined => text.split('\n').find((line) => line.startsWith(start))
  t.equal(row('| embedded | 1000 | 10 MB | 1024 B '),
    '| embedded | 1000 | 10 MB | 1024 B | 10000 | output | 3 | 1000 '
    + '| 10 | 100 | 50 | 800 | 960 | 560 to 1760 | 1960 | 1910 |')
  const order = [...text.matchAll(/^\| (embedded|qemu) \| (\d+) \| (\d+) MB \|/gm)]
    .map(([, guest = '', connections = '', megabytes = '']) => `${guest} ${connections} ${megabytes}`)
  t.same(order, ['embedded 1 1', 'embedded 100 1', 'embedded 100 10', 'embedded 1000 10', 'embedded 1000 10',
    'embedded 1000 10', 'qemu 100 1', 'qemu 1000 10'])
  const goal = '| failover, 1000 connections, tail of 10 MB | from the detection until clients are served '
  t.equal(row(`${goal}| embedded guest `),
    `${goal}| embedded guest | ≤ 1 s | 960 ms |  |  | **960 ms** | met |`)
  t.match(row('| failover, 1000 connections, tail of 10 MB, with `replay.order: arrival` |'),
    / embedded guest \| ≤ 1 s \| 250 ms \|.* met \|/)
  t.equal(row(`${goal}| virtual machine, emulated `),
    `${goal}| virtual machine, emulated | ≤ 1 s | 2.16 s |  |  | **2.16 s** | **not met** |`)
  t.equal(row('| qemu | 256 MiB | 0 MiB '),
    '| qemu | 256 MiB | 0 MiB | 3 | 128.0 MiB | 2.0 ms | 1000 ms | 40 ms |')
  t.ok(text.indexOf('| qemu | 256 MiB | 0 MiB') < text.indexOf('| qemu | 256 MiB | 8 MiB'))
})

void t.test('rare checkpoints are compared with frequent ones', async (t) => {
  const text = (await written(everything(), t.testdir())).get('RESULTS.md') ?? ''
  // Half of the requests of the sample take 0.4 ms with the input replicated, and 300 ms without.
  t.match(text, /every 1000 ms is \*\*99\.9 % less\*\* than in `checkpoint` mode with one every 200 ms\./)
  t.match(text, /\n\| a checkpoint every 1000 ms \|.*\| ≥ 95\.0 % \| 99\.9 % \|.*\| met \|\n/)
  const few = { ...latency, delays: latency.delays.filter(({ intervalMs }) => intervalMs < 1000) }
  const older = addFile(nothing, 'x', JSON.stringify(few))
  t.notMatch((await written(older, t.testdir())).get('RESULTS.md'), /% less/)
})

void t.test('charts are whole, show what they are for, and are linked', async (t) => {
  const directory = t.testdir()
  const files = await written(everything(), directory)
  const names = ['throughput', 'latency', 'delay', 'failover'].map((name) => `results-svg/${name}.svg`)
  t.same([...files.keys()], ['RESULTS.md', ...names])
  const charts = await readdir(join(directory, 'results-svg'))
  t.same(charts.toSorted(), ['delay.svg', 'failover.svg', 'latency.svg', 'throughput.svg'])
  for (const name of names) {
    t.ok(isWhole(files.get(name) ?? ''), name)
    t.ok(files.get('RESULTS.md')?.includes(`](${name})`), `${name} is linked`)
  }
  const count = (name: string, what: RegExp): number => [...(files.get(name) ?? '').matchAll(what)].length
  t.equal(count('results-svg/latency.svg', /<path /g), 3 * 4, 'a curve for each contender at each rate')
  t.equal(count('results-svg/delay.svg', /h0/g), 5 * 2 * 40, 'a dot for each request')
  t.equal(count('results-svg/failover.svg', /fill="#d9480f"/g), 4 + 2 + 2 + 1 + 1,
    'replays with a tail of 1 MB and with 100 connections, of each guest, and a legend for each panel')
  t.equal(count('results-svg/throughput.svg', /stroke-width="3"/g), 4, 'goals of two in two loads')
  t.notOk(isWhole('<svg><text>a</svg>'))
  t.notOk(isWhole('<svg><text>a & b</text></svg>'))
  t.notOk(isWhole('<svg><text x="NaN">a</text></svg>'))
})

void t.test('the same input gives the same files', async (t) => {
  const one = await written(everything(), t.testdir({ one: {} }))
  const two = await written(everything(), join(t.testdirName, 'one'))
  t.same([...one], [...two])
})

void t.test('parts that were not measured are left out, and failures are not hidden', async (t) => {
  const failed = addFile(nothing, 'x', benchText(1, ['tailgate epoch: the log did not flow\nmore']))
  const files = await written(failed, t.testdir())
  t.same([...files.keys()], ['RESULTS.md', 'results-svg/throughput.svg'])
  t.match(files.get('RESULTS.md'), /do not hold:\*\*\n\n- tailgate epoch: the log did not flow\n\n/)
  t.notMatch(files.get('RESULTS.md'), /## (Latency|Response|Do the runs|Failovers|Checkpoints)/)
})

void t.test('runs agree when their spreads overlap', (t) => {
  const run = (plain: readonly number[]): string => {
    const samples = plain.flatMap((rate, round) => [
      { contender: 'haproxy', rate: 100 }, { contender: goalContenders.plain, rate }
    ].map((sample): Sample => ({
      ...sample, workload: 'bulk up', round, amount: 1, p50Ms: undefined, p99Ms: undefined, cpuNs: undefined
    })))
    const summaries = summarize(samples, () => 'haproxy')
    return JSON.stringify({ contenders, workloads: [], missing: [], failures: [], summaries })
  }
  const both = (one: readonly number[], two: readonly number[]) =>
    pooled(addFile(addFile(nothing, 'a', run(one)), 'b', run(two)), 'bulk up', goalContenders.plain, 'rate')
  t.same(both([90, 100, 110], [105, 120, 130]),
    { median: 1.1, min: 0.9, max: 1.3, medians: [1, 1.2], agree: true })
  t.equal(both([90, 100, 104], [105, 120, 130])?.agree, false)
  t.equal(pooled(nothing, 'bulk up', 'direct', 'rate'), undefined)
  t.end()
})

void t.test('a part that was measured by itself completes a run on the same machine', (t) => {
  const whole = footprint(4000)
  const before = Object.fromEntries(Object.entries(whole).filter(([part]) => part !== 'workers'))
  const idle = { ...whole, link: [], workers: [], connectionsMax: 9000 }
  const workers = { ...whole, idle: [], link: [], connectionsMax: 7, missing: ['something'] }
  const add = (...reports: readonly object[]) => reports.map((report) => JSON.stringify(report))
    .reduce((all, text) => addFile(all, 'x', text), nothing).footprint
  t.same(add(before), [{ ...whole, workers: [] }], 'what is older than the part')
  t.same(add(before, whole, workers), [{ ...whole, missing: ['something'] }, whole])
  t.same(add(workers, idle), [{ ...whole, link: [], missing: ['something'] }])
  t.equal(add(whole, workers).length, 2, 'nothing is missing there')
  t.equal(add(before, { ...workers, machine: 'another' }).length, 2)
  t.end()
})

void t.test('response delays that were measured by themselves take the place of older ones', (t) => {
  const few = { ...latency, delays: [delays('epoch', 25), delays('epoch', 200)] }
  const fresh = { ...delays('epoch', 200), rate: 77 }
  const part = { ...latency, loads: [], delays: [fresh, delays('epoch', 1000)], failures: ['something'] }
  const add = (...reports: readonly object[]) => reports.map((report) => JSON.stringify(report))
    .reduce((all, text) => addFile(all, 'x', text), nothing).latency
  const both = [{
    ...latency, failures: ['something'], delays: [delays('epoch', 25), fresh, delays('epoch', 1000)]
  }]
  t.same(add(few, part), both)
  t.same(add(part, few), both)
  t.equal(add(few, few).length, 2)
  t.equal(add(few, { ...part, machine: 'another' }).length, 2)
  t.end()
})

void t.test('parts of the failover runs that were measured by themselves make one', (t) => {
  const of = (guest: GuestName) => ({
    ...failover, failovers: failover.failovers.filter((figure) => figure.guest === guest), checkpoints: [],
    missing: [guest]
  })
  const checkpoints = { ...failover, failovers: [], missing: [] }
  const add = (...reports: readonly object[]) => reports.map((report) => JSON.stringify(report))
    .reduce((all, text) => addFile(all, 'x', text), nothing).failover
  t.same(add(of('embedded'), of('qemu'), checkpoints), [{ ...failover, missing: ['embedded', 'qemu'] }])
  t.equal(add(failover, checkpoints).length, 2)
  t.equal(add(of('qemu'), of('qemu')).length, 2)
  t.equal(add(of('embedded'), { ...of('qemu'), machine: 'another' }).length, 2)
  t.end()
})

void t.test('what is no result is refused', (t) => {
  t.throws(() => addFile(nothing, 'a.json', 'FAILED\n'), /a\.json: there is no line of JSON/)
  t.throws(() => addFile(nothing, 'a.json', '{"summaries":1}'), /a\.json: this is neither/)
  t.throws(() => addFile(nothing, 'a.json', '{"kind":"latency"}'), /a\.json: this is neither/)
  t.throws(() => addFile(nothing, 'a.json', '{"kind":"failover"}'), /a\.json: this is neither/)
  t.end()
})

void t.test('numbers for people', (t) => {
  t.same([0.03216, 0.9994, 0.9996, 12.34, 999.6].map(msText), ['32.2 µs', '999 µs', '1 ms', '12.3 ms', '1 s'])
  t.same([0.9, 1, 1.01, 2.2, 7, 0.03].map(roundUp), [1, 1, 2, 5, 10, 0.05])
  t.same(ticks(1.2, 5), [0, 0.5, 1])
  t.same(ticks(50, 5), [0, 10, 20, 30, 40, 50])
  t.end()
})

void t.test('the command', async (t) => {
  const directory = t.testdir({ 'bench.json': benchText(1) })
  await writeFile(join(directory, 'latency.json'), JSON.stringify(latency))
  const main = fileURLToPath(new URL('../../bench/results/main.ts', import.meta.url))
  const run = (...args: readonly string[]) =>
    promisify(execFile)(process.execPath, ['--import=tsx', main, ...args], { cwd: directory })
  const { stdout } = await run('bench.json', 'latency.json', '--out', 'made')
  t.same(stdout.trim().split('\n'), ['made/RESULTS.md', 'made/results-svg/throughput.svg',
    'made/results-svg/latency.svg', 'made/results-svg/delay.svg'])
  t.match(await readFile(join(directory, 'made/RESULTS.md'), 'utf8'), /^# Results\n/)
  await t.rejects(run(), { code: 2 })
  await t.rejects(run('nowhere.json'), { code: 1, stderr: /nowhere\.json/ })
})
