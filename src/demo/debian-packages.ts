import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { TailgateError, messageOf } from '../base/errors.ts'

const run = promisify(execFile)

/**
 * Installs those of `packages` that are missing, with a line for the reader before it does. Rejects with
 * E_ENGINE where that cannot be done: this is no Debian, we are not root, or apt-get fails.
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
  await aptGet(['update', '-q'])
  await aptGet(['install', '-q', '-y', '--no-install-recommends', ...missing])
}

async function missingOf(packages: readonly string[]): Promise<string[]> {
  const installed = async (name: string): Promise<boolean> => {
    const { stdout } = await run('dpkg-query', ['-W', '-f', '${db:Status-Status}', name])
      .catch((error: unknown) => {
        const missing = (error as { code?: unknown }).code === 1
        if (missing) return { stdout: '' }
        const what = `this needs a Debian machine: ${messageOf(error)}`
        throw new TailgateError('E_ENGINE', what, { cause: error })
      })
    return stdout === 'installed'
  }
  const found = await Promise.all(packages.map(installed))
  return packages.filter((_, n) => found[n] !== true)
}

async function aptGet(words: readonly string[]): Promise<void> {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const child = spawn('apt-get', words, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  let lastWords = ''
  child.stderr.on('data', (bytes: Buffer) => { lastWords = (lastWords + bytes.toString()).slice(-1000) })
  const [status] = await once(child, 'exit') as [number | null]
  if (status === 0) return
  const what = `apt-get ${words[0] ?? ''} ended with ${status ?? 'a signal'}: ${lastWords.trim()}`
  throw new TailgateError('E_ENGINE', what)
}
