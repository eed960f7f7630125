import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, TailgateError } from '../base/errors.ts'
import { runProgram } from './run-program.ts'

/** npm packages without which a gateway cannot join the TCP connections of a restored guest. */
const addons = ['koffi', 'raw-socket', 'pcap'] as const

/** Debian packages that it takes to compile them. */
export const addonBuildPackages = ['build-essential', 'python3', 'libpcap-dev'] as const

/** Limits of each step, in milliseconds. */
const loadMsMax = 30_000
const fetchMsMax = 10 * 60_000
const buildMsMax = 20 * 60_000

/** In a process of its own, since Node remembers for good that a package was not there. */
const loadOne = `try { require(process.argv[1]) } catch (error) {
  console.error(String(error).split('\\n')[0])
  process.exit(1)
}
process.exit(0)`

/** Why each addon of the program in `root` that cannot be loaded cannot, by its name. */
export async function unloadableAddons(root: string): Promise<ReadonlyMap<string, TailgateError>> {
  const faults = await Promise.all(addons.map(async (name) => {
    const fault = await faultOf(name, root)
    return fault === undefined ? [] : [[name, fault] as const]
  }))
  return new Map(faults.flat())
}

/**
 * Builds the addons of the program in `root` that cannot be loaded, with a line for the reader before each
 * step. Rejects with E_ENGINE or E_TIMEOUT, and what to do.
 */
export async function buildAddons(root: string, say: (line: string) => void): Promise<void> {
  const names = [...(await unloadableAddons(root)).keys()]
  if (names.length === 0) return
  if (await isOneAbsent(names, root)) await npm(root, say, {
    purpose: 'getting npm packages that are missing', what: 'npm packages cannot be had',
    words: ['install', '--no-save', '--include=optional', '--ignore-scripts'], limitMs: fetchMsMax
  })
  await npm(root, say, {
    purpose: 'building npm packages that cannot be loaded', what: 'npm packages cannot be built',
    words: ['rebuild', ...names], limitMs: buildMsMax
  })
  const [fault] = (await unloadableAddons(root)).values()
  if (fault !== undefined) throw fault
}

async function faultOf(name: string, root: string): Promise<TailgateError | undefined> {
  try {
    await runProgram({
      what: `the npm package ${name} cannot be loaded`, program: process.execPath,
      args: ['-e', loadOne, name], cwd: root, limitMs: loadMsMax,
      remedy: `in ${root}, run npm install ${name} && npm rebuild --foreground-scripts ${name}`
    })
    return undefined
  } catch (error) {
    return error instanceof TailgateError ? error : new TailgateError('E_ENGINE', messageOf(error))
  }
}

/** npm removes an optional package that it could not build, and then has nothing to build again. */
async function isOneAbsent(names: readonly string[], root: string): Promise<boolean> {
  const found = await Promise.all(names.map((name) =>
    access(join(root, 'node_modules', name)).then(() => true, () => false)))
  return found.includes(false)
}

interface NpmStep {
  /** What the reader is told before. */
  readonly purpose: string
  /** What could not be done where it fails. */
  readonly what: string
  readonly words: readonly string[]
  readonly limitMs: number
}

async function npm(root: string, say: (line: string) => void, step: NpmStep): Promise<void> {
  const command = `npm ${step.words.join(' ')}`
  say(`${step.purpose}: ${command}`)
  await runProgram({
    what: step.what, program: 'npm', cwd: root, limitMs: step.limitMs,
    args: [...step.words, '--no-audit', '--no-fund', '--loglevel=error'],
    remedy: `mend that and run, in ${root}, ${command}`
  })
}
