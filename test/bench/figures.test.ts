import t from 'tap'
import { bestVariant, median, summarize, type Sample } from '../../bench/figures.ts'
import { ratioTable } from '../../bench/tables.ts'

const sample = (contender: string, round: number, rate: number, workload = 'get'): Sample => ({
  contender, round, rate, workload, amount: 1000, p50Ms: 1 / rate, p99Ms: 3 / rate,
  cpuNs: contender === 'direct' ? undefined : rate
})

void t.test('medians', (t) => {
  t.equal(median([3, 1, 2]), 2)
  t.equal(median([4, 1, 2, 3]), 2.5)
  t.ok(Number.isNaN(median([])))
  t.end()
})

void t.test('ratios are those of runs in the same round', (t) => {
  // The machine was ten times slower in round 2; a ratio of medians over all rounds would not see it.
  const samples = [
    sample('haproxy', 1, 100), sample('haproxy', 2, 10), sample('haproxy', 3, 100),
    sample('other', 1, 50), sample('other', 2, 5), sample('other', 3, 80), sample('direct', 1, 200)
  ]
  const [haproxy, other, direct] = summarize(samples, () => 'haproxy')
  t.match(haproxy, { contender: 'haproxy', runs: 3, rate: 100, rateRatio: 1, p50Ratio: 1, cpuRatio: 1 })
  t.match(other, { contender: 'other', runs: 3, rate: 50, rateRatio: 0.5, p50Ratio: 2, cpuRatio: 0.5 })
  t.match(direct, { contender: 'direct', runs: 1, rateRatio: 2, cpuNs: undefined, cpuRatio: undefined })
  t.end()
})

void t.test('the spread is that of the rounds, and every run is told', (t) => {
  const samples = [
    sample('haproxy', 1, 100), sample('haproxy', 2, 100), sample('other', 1, 50), sample('other', 2, 80),
    sample('other', 3, 90)
  ]
  const other = summarize(samples, () => 'haproxy')[1]
  t.same(other?.ratios.rate, { median: 0.65, min: 0.5, max: 0.8 }, 'no pair in round 3, so no ratio')
  t.match(other?.ratios.p50, { min: 1.25, max: 2 })
  t.match(other?.ratios.p99, { min: 1.25, max: 2 })
  t.same(other?.p99Ratio, other?.ratios.p99?.median)
  t.same(other?.samples.map(({ round, rate }) => [round, rate]), [[1, 50], [2, 80], [3, 90]])
  t.end()
})

void t.test('bulk, which has no times, and runs without a yardstick', (t) => {
  const bulk = { ...sample('other', 1, 50), p50Ms: undefined, p99Ms: undefined }
  const [alone] = summarize([bulk], () => 'haproxy')
  t.same(alone?.ratios, {})
  t.match(alone, { rate: 50, rateRatio: undefined, p50Ms: undefined, p99Ms: undefined })
  t.end()
})

void t.test('the best variant of the yardstick', (t) => {
  const samples = [
    sample('haproxy', 1, 10, 'bulk'), sample('haproxy 64K', 1, 19, 'bulk'), sample('haproxy', 2, 30, 'bulk'),
    sample('haproxy 64K', 2, 25, 'bulk'), sample('haproxyish', 1, 99, 'bulk'), sample('haproxy', 1, 100)
  ]
  t.equal(bestVariant(samples, 'bulk', 'haproxy'), 'haproxy 64K', 'by its median')
  t.equal(bestVariant(samples, 'get', 'haproxy'), 'haproxy')
  t.equal(bestVariant(samples, 'set', 'haproxy'), 'haproxy', 'where none ran')
  t.end()
})

void t.test('the table', (t) => {
  const samples = [
    sample('haproxy', 1, 100), sample('other', 1, 50), sample('direct', 1, 200),
    { ...sample('haproxy', 1, 1e9, 'up'), p50Ms: undefined, p99Ms: undefined },
    { ...sample('haproxy 64K', 1, 2e9, 'up'), p50Ms: undefined, p99Ms: undefined }
  ]
  const summaries = summarize(samples, (name) => name === 'up' ? 'haproxy 64K' : 'haproxy')
  const workloads = [
    { name: 'get', unit: 'requests', service: 'redis' }, { name: 'up', unit: 'bytes', service: 'bulk' }
  ] as const
  const contenders = [
    { name: 'haproxy' }, { name: 'haproxy 64K', only: 'bulk' }, { name: 'other' }, { name: 'direct' }
  ] as const
  const lines = ratioTable(summaries, workloads, contenders, 'haproxy')
  t.same(lines.map((line) => line.trim().split(/\s{2,}/)), [
    ['get', 'rate', 'p50', 'p99', 'CPU'],
    ['haproxy', '1.00', '1.00', '1.00', '1.00', '100/s', '0.010 ms', '0.030 ms'],
    ['other', '0.50', '2.00', '2.00', '0.50', '50/s', '0.020 ms', '0.060 ms'],
    ['direct', '2.00', '0.50', '0.50', '-', '200/s', '0.005 ms', '0.015 ms'],
    [''],
    ['up (to haproxy 64K)', 'rate', 'p50', 'p99', 'CPU'],
    ['haproxy', '0.50', '-', '-', '0.50', '1000 MB/s'],
    ['haproxy 64K', '1.00', '-', '-', '1.00', '2000 MB/s'],
    ['other', 'failed'],
    ['direct', 'failed'],
    ['']
  ])
  t.end()
})
