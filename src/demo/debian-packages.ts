import { TailgateError } from '../base/errors.ts'
import { runProgram } from './run-program.ts'

/** Limits of each step, in milliseconds. */
const askMsMax = 30_000
const updateMsMax = 10 * 60_000
const installMsMax = 30 * 60_000
/** So long another program, such as the daily upgrade, may still be at work with packages. Seconds. */
const lockSecondsMax = 300

/**
 * Installs those of `packages` that are missing, with a line for the reader before it does. Rejects with
 * E_ENGINE where that cannot be done: this is no Debian, we are not root, or apt-get fails. Rejects with
 * E_TIMEOUT where it does not come to an end.
 */
export async function installDebianPackages(
  packages: readonly string[], say: (line: string) => void
): Promise<void> {
  const missing = await missingOf(packages)
  if (missing.length === 0) return
  const command = `apt-get install ${missing.join(' ')}`
  if (process.getuid?.() !== 0) {
    throw new TailgateError('E_ENGINE', `as root, install what is missing: ${command}`)
  }
  say(`installing Debian packages that are missing: ${command}`)
  const remedy = `mend that and run ${command}`
  const aptGet = (words: readonly string[], limitMs: number): Promise<string> => runProgram({
    what: `apt-get ${words[0] ?? ''} failed`, program: 'apt-get',
    args: ['-q', '-o', `DPkg::Lock::Timeout=${lockSecondsMax}`, ...words], limitMs, remedy
  })
  await aptGet(['update'], updateMsMax)
  await aptGet(['install', '-y', '--no-install-recommends', ...missing], installMsMax)
}

async function missingOf(packages: readonly string[]): Promise<string[]> {
  const found = await Promise.all(packages.map(isInstalled))
  return packages.filter((_, n) => found[n] !== true)
}

async function isInstalled(name: string): Promise<boolean> {
  try {
    return await runProgram({
      what: `nothing says whether ${name} is installed`, program: 'dpkg-query',
      args: ['-W', '-f', '${db:Status-Status}', name], limitMs: askMsMax,
      remedy: 'this needs a Debian machine'
    }) === 'installed'
  } catch (error) {
    const isUnknown = error instanceof TailgateError && error.context.status === 1
    if (isUnknown) return false
    throw error
  }
}
