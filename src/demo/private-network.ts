import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import { TailgateError } from '../base/errors.ts'
import { withSystemPrograms } from '../engine/system-programs.ts'

/** Set in a process that has its network for itself. */
const marker = 'TAILGATE_DEMO_NETWORK'

/** Whether this process was started by {@link againInPrivateNetwork}. */
export function inPrivateNetwork(): boolean {
  return process.env[marker] === 'private'
}

/**
 * Runs this program once more, in a network namespace of its own, so that its bridges, devices and rules
 * touch nothing of the machine and vanish with it. Needs no root where the kernel gives users namespaces of
 * their own. Resolves with the exit status; rejects with E_ENGINE if there is no such namespace to be had.
 */
export async function againInPrivateNetwork(): Promise<number> {
  const namespaces = process.getuid?.() === 0 ? ['--net'] : ['--user', '--map-root-user', '--net']
  const command = [...namespaces, '--', process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  // A gateway calls nft by its name, which is not in the PATH that su(1) leaves.
  const env = { ...withSystemPrograms(process.env), [marker]: 'private' }
  const child = spawn('unshare', command, { stdio: 'inherit', env })
  // A terminal sends its signals to both; the demo inside ends by them, and this waits for it.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => { if (signal === 'SIGTERM') child.kill(signal) })
  }
  try {
    const [status, signal] = await once(child, 'exit') as [number | null, NodeJS.Signals | null]
    return status ?? 128 + (signal === null ? 0 : constants.signals[signal])
  } catch (cause) {
    throw new TailgateError('E_ENGINE',
      'no network of its own can be had for the demo: unshare (Debian package util-linux) cannot be run',
      { cause })
  }
}
