import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { programPath } from '../program.ts'
import type { CheckpointFigure, FailoverFigure, Point } from './report.ts'

/** Programs, with their Debian packages. */
const programs = {
  'qemu-system-x86_64': 'qemu-system-x86', ip: 'iproute2', nft: 'nftables', unshare: 'util-linux',
  nsenter: 'util-linux', cpio: 'cpio'
} as const

/** What the program in the namespaces is to measure: its one argument, as JSON. */
export interface LabOrder {
  readonly image: string
  readonly points: readonly Point[]
  readonly checkpoints: boolean
  readonly rounds: number
}

/** What it says, a line of JSON each. */
export type LabAnswer =
  | { readonly failover: FailoverFigure }
  | { readonly checkpoints: readonly CheckpointFigure[] }
  | { readonly failed: string, readonly reason: string }

const labProgram = fileURLToPath(new URL('in-lab.ts', import.meta.url))
const buildProgram = fileURLToPath(new URL('../../deploy/demo-guest/build.sh', import.meta.url))

/** Why no virtual machine can be failed over here; undefined where one can. */
export function virtualMachineMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root makes network namespaces with virtual machines in them'
  for (const [program, debian] of Object.entries(programs)) {
    if (programPath(program) === undefined) return `${program} is not installed (Debian package ${debian})`
  }
  return undefined
}

/** Builds the machine's kernel and first file system, or finds them built: their directory. */
export async function machineImage(): Promise<string> {
  const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache')
  const { stdout } = await promisify(execFile)(buildProgram, [join(cache, 'tailgate-test-guest')])
  return stdout.trim()
}

/**
 * Runs the order in namespaces of its own, which go with it: a network that it may change, and processes of
 * which none outlives it. Rejects when it did not come to its end.
 */
export async function measureInLab(order: LabOrder, onAnswer: (answer: LabAnswer) => void): Promise<void> {
  const namespaces = ['--net', '--pid', '--fork', '--mount-proc', '--kill-child=SIGKILL']
  // The first process of a namespace is given all orphans, and a shell waits for them.
  const shell = ['sh', '-c', '"$@"; exit $?', 'sh']
  const program = [process.execPath, '--import=tsx', labProgram, JSON.stringify(order)]
  const words = [...namespaces, ...shell, ...program]
  const child = spawn('unshare', words, { stdio: ['ignore', 'pipe', 'inherit'] })
  const kill = (): void => { child.kill('SIGKILL') }
  process.once('exit', kill)
  createInterface(child.stdout).on('line', (line) => onAnswer(JSON.parse(line) as LabAnswer))
  const [status] = await once(child, 'close') as [number | null]
  process.off('exit', kill)
  if (status !== 0) throw new Error(`the program in the namespaces ended with ${status ?? 'a signal'}`)
}
