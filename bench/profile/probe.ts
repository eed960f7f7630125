import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileAppears } from '../program.ts'
import type { CpuProfile } from './attribution.ts'

const samplingUs = 200

/**
 * Goes into every Node process that is started, and does nothing before the first SIGUSR2. This is finer than
 * --cpu-prof, which begins with the process and would count its start and its waiting for the load.
 */
const probe = `
import { Session } from 'node:inspector'
import { renameSync, writeFileSync } from 'node:fs'
let session
process.on('SIGUSR2', () => {
  const file = process.env.TAILGATE_PROFILE_FILE
  if (session === undefined) {
    session = new Session()
    session.connect()
    session.post('Profiler.enable')
    session.post('Profiler.setSamplingInterval', { interval: ${samplingUs} })
    session.post('Profiler.start')
    writeFileSync(file + '.began', '')
  } else {
    session.post('Profiler.stop', (error, result) => {
      writeFileSync(file + '.part', JSON.stringify(error ?? result.profile))
      renameSync(file + '.part', file)
    })
  }
})`

/** Takes a profile of one Node process that is started after {@link Probe.prepare}, by its id. */
export class Probe {
  readonly #directory: string
  readonly #file: string

  private constructor(directory: string) {
    this.#directory = directory
    this.#file = join(directory, 'profile.json')
  }

  /** From now on, processes that this one starts can be profiled. */
  static async prepare(): Promise<Probe> {
    const prepared = new Probe(await mkdtemp(join(tmpdir(), 'tailgate-profile-')))
    const before = process.env.NODE_OPTIONS ?? ''
    process.env.NODE_OPTIONS = `${before} --import=data:text/javascript,${encodeURIComponent(probe)}`.trim()
    process.env.TAILGATE_PROFILE_FILE = prepared.#file
    return prepared
  }

  /** Resolves when the profiler runs. */
  async begin(pid: number): Promise<void> {
    process.kill(pid, 'SIGUSR2')
    await fileAppears(`${this.#file}.began`)
  }

  /** The profile since {@link begin}, as V8 wrote it. */
  async end(pid: number): Promise<string> {
    process.kill(pid, 'SIGUSR2')
    await fileAppears(this.#file)
    return readFile(this.#file, 'utf8')
  }

  async remove(): Promise<void> {
    await rm(this.#directory, { recursive: true })
  }
}

/** Reads what {@link Probe.end} gave. */
export function parseProfile(text: string): CpuProfile {
  const profile = JSON.parse(text) as Partial<CpuProfile>
  const { nodes, samples, timeDeltas } = profile
  if (nodes === undefined || samples === undefined || timeDeltas === undefined) {
    throw new Error(`this is no profile: ${text.slice(0, 200)}`)
  }
  return { nodes, samples, timeDeltas }
}
