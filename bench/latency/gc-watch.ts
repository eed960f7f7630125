import { mkdtemp, readFile, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileAppears } from '../program.ts'

/** How long a process stood still for its garbage collector. */
export interface GcPauses {
  readonly pauses: number
  readonly longestMs: number
}

/** Goes into every Node process that is started: at SIGUSR2 it says what there was since the one before. */
const watcher = `
import { PerformanceObserver } from 'node:perf_hooks'
import { renameSync, writeFileSync } from 'node:fs'
let pauses = 0, longestMs = 0
const count = (entries) => {
  for (const { duration } of entries) {
    pauses++
    longestMs = Math.max(longestMs, duration)
  }
}
const observer = new PerformanceObserver((list) => count(list.getEntries()))
observer.observe({ entryTypes: ['gc'] })
process.on('SIGUSR2', () => {
  count(observer.takeRecords())
  const file = process.env.TAILGATE_GC_FILE + '.' + process.pid
  writeFileSync(file + '.part', JSON.stringify({ pauses, longestMs }))
  renameSync(file + '.part', file)
  pauses = longestMs = 0
})`

/** Watches the garbage collectors of the Node processes that are started after {@link GcWatch.prepare}. */
export class GcWatch {
  readonly #directory: string
  readonly #optionsBefore = process.env.NODE_OPTIONS

  private constructor(directory: string) {
    this.#directory = directory
  }

  static async prepare(): Promise<GcWatch> {
    const watch = new GcWatch(await mkdtemp(join(tmpdir(), 'tailgate-gc-')))
    const before = watch.#optionsBefore ?? ''
    process.env.NODE_OPTIONS = `${before} --import=data:text/javascript,${encodeURIComponent(watcher)}`.trim()
    process.env.TAILGATE_GC_FILE = join(watch.#directory, 'gc')
    return watch
  }

  /** Since the last time that it was asked, or since its start; undefined for what is no Node process. */
  async take(pid: number | undefined): Promise<GcPauses | undefined> {
    if (pid === undefined || await realpath(`/proc/${pid}/exe`) !== await realpath(process.execPath)) return
    const file = join(this.#directory, `gc.${pid}`)
    process.kill(pid, 'SIGUSR2')
    await fileAppears(file)
    const said = JSON.parse(await readFile(file, 'utf8')) as GcPauses
    await rm(file)
    return said
  }

  async end(): Promise<void> {
    if (this.#optionsBefore === undefined) delete process.env.NODE_OPTIONS
    else process.env.NODE_OPTIONS = this.#optionsBefore
    await rm(this.#directory, { recursive: true })
  }
}
