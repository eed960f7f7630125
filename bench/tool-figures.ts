/** What a load generator says of one run. */
export interface Figure {
  /** Requests per second, or bytes per second. */
  readonly rate: number
  /** Requests, or bytes. */
  readonly amount: number
  /** Time of a request in milliseconds, the median; undefined for bulk. */
  readonly p50Ms: number | undefined
  /** What 99 of 100 requests do not exceed, in milliseconds; undefined for bulk. */
  readonly p99Ms: number | undefined
}

/**
 * Reads `redis-benchmark --csv` after `amount` requests: a header line, and a line
 * "test","rps","avg","min","p50","p95","p99","max".
 */
export function benchmarkFigure(csv: string, amount: number): Figure {
  const [header = '', line = ''] = csv.trim().split('\n').slice(-2).map((text) => text.replaceAll('"', ''))
  const columns = header.split(',')
  const values = line.split(',')
  const column = (name: string): number => Number(values[columns.indexOf(name)])
  const [rate, p50Ms, p99Ms] = [column('rps'), column('p50_latency_ms'), column('p99_latency_ms')]
  if (!(rate > 0 && p50Ms >= 0 && p99Ms >= p50Ms)) throw new Error(`redis-benchmark said: ${csv.slice(-500)}`)
  return { rate, amount, p50Ms, p99Ms }
}

/** So many of them are a millisecond. */
const perMillisecond: Readonly<Record<string, number>> = { us: 1000, ms: 1, s: 1 / 1000, m: 1 / 60_000 }

/**
 * Reads `wrk --latency`. Throws when there was an answer other than 2xx and 3xx, or a connection that broke
 * or stood still: the rest was then not the load that it should have been.
 */
export function wrkFigure(text: string): Figure {
  const amount = Number(/^\s*(\d+) requests in /m.exec(text)?.[1])
  const rate = Number(/^Requests\/sec:\s*([\d.]+)/m.exec(text)?.[1])
  const [p50Ms, p99Ms] = [percentileMs(text, 50), percentileMs(text, 99)]
  const troubled = /^\s*(Socket errors|Non-2xx)/m.test(text)
  if (troubled || !(amount > 0 && rate > 0 && p50Ms > 0 && p99Ms >= p50Ms)) {
    throw new Error(`wrk said: ${text.slice(-800)}`)
  }
  return { rate, amount, p50Ms, p99Ms }
}

/** A line like `     99%    5.80ms`; NaN without one. */
function percentileMs(text: string, percentile: number): number {
  const line = new RegExp(`^\\s*${percentile}%\\s+([\\d.]+)(us|ms|s|m)\\s*$`, 'm')
  const [, value, unit = ''] = line.exec(text) ?? []
  return Number(value) / (perMillisecond[unit] ?? Number.NaN)
}
