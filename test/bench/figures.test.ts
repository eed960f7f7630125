import t from 'tap'
import { median, summarize, type Sample } from '../../bench/figures.ts'
import { benchmarkFigure } from '../../bench/workloads.ts'

void t.test('medians', (t) => {
  t.equal(median([3, 1, 2]), 2)
  t.equal(median([4, 1, 2, 3]), 2.5)
  t.ok(Number.isNaN(median([])))
  t.end()
})

void t.test('ratios are those of runs in the same round', (t) => {
  const sample = (contender: string, round: number, rate: number): Sample =>
    ({
      contender, round, rate, workload: 'get', p50Ms: 1 / rate,
      cpuNs: contender === 'direct' ? undefined : rate
    })
  // The machine was ten times slower in round 2; a ratio of medians over all rounds would not see it.
  const samples = [
    sample('haproxy', 1, 100), sample('haproxy', 2, 10), sample('haproxy', 3, 100),
    sample('other', 1, 50), sample('other', 2, 5), sample('other', 3, 60), sample('direct', 1, 200)
  ]
  const [haproxy, other, direct] = summarize(samples, 'haproxy')
  t.match(haproxy, { contender: 'haproxy', runs: 3, rate: 100, rateRatio: 1, p50Ratio: 1, cpuRatio: 1 })
  t.match(other, { contender: 'other', runs: 3, rate: 50, rateRatio: 0.5, p50Ratio: 2, cpuRatio: 0.5 })
  t.match(direct, { contender: 'direct', runs: 1, rateRatio: 2, cpuNs: undefined, cpuRatio: undefined })
  t.end()
})

void t.test('what redis-benchmark says', (t) => {
  const header = '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms"'
  const figure = benchmarkFigure(`${header}\n"SET","4330.88","10.953","0.952","9.279","21.599"\n`)
  t.same(figure, { rate: 4330.88, p50Ms: 9.279 })
  t.throws(() => benchmarkFigure('Could not connect'), /Could not connect/)
  t.throws(() => benchmarkFigure(`${header}\n"SET","0.00","0","0","0","0"\n`))
  t.end()
})
