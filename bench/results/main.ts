import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { addFile, nothingMeasured } from './input.ts'
import { writeResults } from './write.ts'

const usage = `usage: npm run bench:results -- FILE...
       npm run bench:results -- --measure DIRECTORY [--runs N] [--quick]
  FILE                 what \`npm run bench -- --json\`, the latency, the footprint or the failover runs
                       (--json) wrote; of each there may be several runs, which are shown side by side
  --measure DIRECTORY  runs bench and footprint N times (3) and the latency and failover runs once, keeps
                       what they say in DIRECTORY, and makes the results of that; about an hour and a
                       quarter, with --quick a quarter. All contenders and workloads are in the first run
                       only, those with goals in all
  --out DIRECTORY      where RESULTS.md and results-svg go (the directory bench)`

const bench = fileURLToPath(new URL('..', import.meta.url))

interface Options {
  readonly files: readonly string[]
  readonly measure: string | undefined
  readonly runs: number
  readonly quick: boolean
  readonly out: string
}

/** Undefined for a command line that is wrong. */
function options(): Options | undefined {
  try {
    const { values, positionals: files } = parseArgs({
      allowPositionals: true,
      options: {
        measure: { type: 'string' },
        runs: { type: 'string', default: '3' },
        quick: { type: 'boolean', default: false },
        out: { type: 'string', default: bench }
      }
    })
    const { measure, quick, out } = values
    const runs = Number(values.runs)
    const something = measure === undefined ? files.length > 0 : files.length === 0
    return something && Number.isInteger(runs) && runs > 0 ? { files, measure, runs, quick, out } : undefined
  } catch {
    return undefined
  }
}

/** Fewer than the latency runs have by themselves, so that all takes less than an hour. */
const latencyRounds = 3

/** Runs everything, and answers the files with what was said. */
async function measured(directory: string, runs: number, quick: boolean): Promise<readonly string[]> {
  await mkdir(directory, { recursive: true })
  const args = ['--json', ...quick ? ['--quick'] : []]
  const files: string[] = []
  for (let run = 1; run <= runs; run++) {
    process.stderr.write(`bench, run ${run} of ${runs}\n`)
    const benchArgs = run === 1 ? args : [...args, '--goals']
    files.push(await saved('main.ts', benchArgs, join(directory, `bench-${run}.json`)))
    process.stderr.write(`footprint, run ${run} of ${runs}\n`)
    files.push(await saved('footprint/main.ts', args, join(directory, `footprint-${run}.json`)))
  }
  process.stderr.write('latency runs\n')
  const latencyArgs = quick ? args : [...args, '--rounds', String(latencyRounds)]
  files.push(await saved('latency/main.ts', latencyArgs, join(directory, 'latency.json')))
  process.stderr.write('failover runs\n')
  files.push(await saved('failover/main.ts', args, join(directory, 'failover.json')))
  return files
}

/** A run in which something failed says so itself in what it wrote; that is told in the results. */
async function saved(script: string, args: readonly string[], file: string): Promise<string> {
  const all = ['--import=tsx', join(bench, script), ...args]
  const output = await open(file, 'w')
  const child = spawn(process.execPath, all, { stdio: ['ignore', output.fd, 'inherit'] })
  const end = (): void => { child.kill('SIGTERM') }
  process.once('SIGINT', end).once('SIGTERM', end)
  const [status] = await once(child, 'exit') as [number | null]
  process.off('SIGINT', end).off('SIGTERM', end)
  await output.close()
  if (status !== 0 && status !== 1) throw new Error(`${script} ended with ${status ?? 'a signal'}`)
  return file
}

/** 0, or 1 with the reason on standard error. */
async function run({ files, measure, runs, quick, out }: Options): Promise<number> {
  try {
    let all = nothingMeasured
    for (const file of measure === undefined ? files : await measured(measure, runs, quick)) {
      all = addFile(all, file, await readFile(file, 'utf8'))
    }
    process.stdout.write(`${(await writeResults(all, out)).join('\n')}\n`)
    return 0
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  }
}

const chosen = options()
if (chosen === undefined) process.stderr.write(`${usage}\n`)
process.exitCode = chosen === undefined ? 2 : await run(chosen)
