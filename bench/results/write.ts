import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { delayChart } from './delay-chart.ts'
import { failoverChart } from './failover-chart.ts'
import type { Measured } from './input.ts'
import { latencyChart } from './latency-chart.ts'
import { resultsText, type Charts } from './markdown.ts'
import { remusChart } from './remus-chart.ts'
import { throughputChart } from './throughput-chart.ts'

const chartDirectory = 'results-svg'

/** Writes RESULTS.md and its charts into `directory`, and says which files. */
export async function writeResults(measured: Measured, directory: string): Promise<readonly string[]> {
  const drawn = {
    throughput: throughputChart(measured), latency: latencyChart(measured.latency),
    delay: delayChart(measured.latency), failover: failoverChart(measured.failover),
    remus: remusChart(measured.remus)
  }
  await mkdir(join(directory, chartDirectory), { recursive: true })
  const written: string[] = []
  const charts: Record<string, string> = {}
  for (const [name, svg] of Object.entries(drawn)) {
    if (svg === undefined) continue
    charts[name] = `${chartDirectory}/${name}.svg`
    written.push(join(directory, charts[name]))
    await writeFile(join(directory, charts[name]), svg)
  }
  const file = join(directory, 'RESULTS.md')
  await writeFile(file, resultsText(measured, charts satisfies Charts))
  return [file, ...written]
}
