import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { programPath } from './program.ts'

// What is measured with emulated machines, on networks of their own.

/** Programs that it takes, with their Debian packages. */
const programs = {
  'qemu-system-x86_64': 'qemu-system-x86', ip: 'iproute2', nft: 'nftables', unshare: 'util-linux',
  nsenter: 'util-linux', cpio: 'cpio'
} as const

/**
 * Why no emulated machine can be measured here; undefined where one can. `more` are further programs that are
 * needed, with their packages.
 */
export function laboratoryMissing(more: Readonly<Record<string, string>> = {}): string | undefined {
  if (process.getuid?.() !== 0) return 'only root makes network namespaces with virtual machines in them'
  for (const [program, debian] of Object.entries({ ...programs, ...more })) {
    if (programPath(program) === undefined) return `${program} is not installed (Debian package ${debian})`
  }
  return undefined
}

/**
 * Runs a program in namespaces of its own, which go with it: a network that it may change, and processes of
 * which none outlives it. `order`, as JSON, is its one argument, and each line that it says is an answer.
 * Rejects when it did not come to its end.
 */
export async function runInNamespaces(
  program: URL, order: unknown, onAnswer: (answer: unknown) => void
): Promise<void> {
  const namespaces = ['--net', '--pid', '--fork', '--mount-proc', '--kill-child=SIGKILL']
  // The first process of a namespace is given all orphans, and a shell waits for them.
  const shell = ['sh', '-c', '"$@"; exit $?', 'sh']
  const command = [process.execPath, '--import=tsx', fileURLToPath(program), JSON.stringify(order)]
  const words = [...namespaces, ...shell, ...command]
  const child = spawn('unshare', words, { stdio: ['ignore', 'pipe', 'inherit'] })
  const kill = (): void => { child.kill('SIGKILL') }
  process.once('exit', kill)
  createInterface(child.stdout).on('line', (line) => onAnswer(JSON.parse(line)))
  const [status] = await once(child, 'close') as [number | null]
  process.off('exit', kill)
  if (status !== 0) throw new Error(`the program in the namespaces ended with ${status ?? 'a signal'}`)
}
