import { mkdir, open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, TailgateError } from '../base/errors.ts'

/** Where xl finds the path of its lock, and the path where nothing is said there (Xen's tools/xl/xl.c). */
const xlConfiguration = '/etc/xen/xl.conf'
const usualPath = '/var/lock/xl'

/** A shell's, whose arguments are the file that is to be the lock, the lock, and what is to run. */
const script = `mount -o bind "$0" "$1" || {
  echo "it cannot have a lock of its own in the place of $1: the agent must be root and allowed to mount" >&2
  exit 1
}
shift
exec "$@"`

/**
 * How a command begins that runs an xl with a lock of its own, which is in this directory.
 *
 * While an xl makes a domain it holds the one lock of its host, and that of a standby makes one until its
 * stream ends: every other that makes a domain, whoever's, would wait for it. So it finds another file in the
 * place of the lock, in a mount namespace of which nothing else differs. Nothing is forked on the way to it,
 * so that the signal of PR_SET_PDEATHSIG stays. What the lock protects, the memory that is free when a domain
 * is made, Xen itself keeps for one domain (`claim_mode` of xl.conf).
 *
 * Rejects with E_ENGINE. Where mounting is not permitted the command fails, and says so: an xl that shared
 * the lock would protect one guest, and have all else on its host wait without a word.
 */
export async function ownLock(
  directory: string, configuration = xlConfiguration
): Promise<readonly string[]> {
  const path = await lockOf(configuration)
  const own = join(directory, 'xl-lock')
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    // An xl that comes first would make its lock itself.
    for (const file of [own, path]) await (await open(file, 'a', 0o600)).close()
  } catch (cause) {
    throw new TailgateError('E_ENGINE', `the lock of xl cannot be made: ${messageOf(cause)}`, { cause })
  }
  return ['unshare', '-m', '--', 'sh', '-c', script, own, path]
}

/** The last `lockfile` that a configuration of xl sets. */
async function lockOf(configuration: string): Promise<string> {
  const text = await readFile(configuration, 'utf8').catch(() => '')
  return [...text.matchAll(/^\s*lockfile\s*=\s*(["'])(.*?)\1/gm)].at(-1)?.[2] ?? usualPath
}
