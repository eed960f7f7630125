import t from 'tap'
import { benchmarkFigure, wrkFigure } from '../../bench/tool-figures.ts'

void t.test('what redis-benchmark says', (t) => {
  const header = '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms",'
    + '"p99_latency_ms","max_latency_ms"'
  const line = '"SET","4330.88","10.953","0.952","9.279","21.599","30.1","50"'
  const figure = benchmarkFigure(`${header}\n${line}\n`, 7)
  t.same(figure, { rate: 4330.88, amount: 7, p50Ms: 9.279, p99Ms: 30.1 })
  t.throws(() => benchmarkFigure('Could not connect', 7), /Could not connect/)
  t.throws(() => benchmarkFigure(`${header}\n"SET","0.00","0","0","0","0","0","0"\n`, 7), /0\.00/)
  t.throws(() => benchmarkFigure('"test","rps","p50_latency_ms"\n"SET","1","1"\n', 7), 'no p99')
  t.end()
})

const said = `Running 1s test @ http://127.0.0.1:8080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   635.91us    0.89ms  12.92ms   93.69%
    Req/Sec    56.20k     8.07k   62.00k    86.67%
  Latency Distribution
     50%  950.00us
     75%    1.02ms
     90%    1.70ms
     99%    5.80ms
  22465 requests in 1.10s, 17.76MB read
Requests/sec:  20422.53
Transfer/sec:     16.15MB
`

void t.test('what wrk says', (t) => {
  t.same(wrkFigure(said), { rate: 20422.53, amount: 22465, p50Ms: 0.95, p99Ms: 5.8 })
  t.equal(wrkFigure(said.replace('5.80ms', '1.25s')).p99Ms, 1250)
  t.equal(wrkFigure(said.replace('5.80ms', '1.00m')).p99Ms, 60_000)
  t.end()
})

void t.test('a run of wrk that was not the load it should have been', (t) => {
  const withLine = (line: string): string => said.replace('Requests/sec', `  ${line}\nRequests/sec`)
  t.throws(() => wrkFigure(withLine('Socket errors: connect 0, read 0, write 0, timeout 3')), /timeout 3/)
  t.throws(() => wrkFigure(withLine('Non-2xx or 3xx responses: 5')), /Non-2xx/)
  t.throws(() => wrkFigure(said.replace('22465', '0')))
  t.throws(() => wrkFigure(said.replace('     99%    5.80ms\n', '')), 'no p99')
  t.throws(() => wrkFigure('unable to connect to 127.0.0.1:1 Connection refused'), /refused/)
  t.end()
})
