import { execFile } from 'node:child_process'
import { messageOf, TailgateError } from '../base/errors.ts'

/** How long a program that sets something in the kernel may take, in milliseconds. */
const timeoutMs = 5000

/** The Debian packages of programs that are not of iproute2. */
const packages: Readonly<Record<string, string>> = { mkfifo: 'coreutils' }

/** An environment in which what Debian puts into /usr/sbin is found, and messages are in English. */
export function withSystemPrograms(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { ...env, PATH: `${env.PATH ?? '/usr/bin:/bin'}:/usr/sbin:/sbin`, LC_ALL: 'C' }
}

/**
 * Runs a program like `ip` or `bridge` and resolves with what it says. Rejects with E_ENGINE and one
 * sentence: `what` could not be done, and why.
 */
export function runSystemProgram(what: string, program: string, args: readonly string[]): Promise<string> {
  const options = { env: withSystemPrograms(process.env), timeout: timeoutMs, killSignal: 'SIGKILL' as const }
  return new Promise((resolve, reject) => {
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      const reason = reasonOf(program, error, stderr)
      reject(new TailgateError('E_ENGINE', `${what}: ${reason}`, { cause: error }))
    })
  })
}

function reasonOf(program: string, error: Error, stderr: string): string {
  if ('code' in error && error.code === 'ENOENT') {
    return `there is no ${program} on this host; install the package ${packages[program] ?? 'iproute2'}`
  }
  if (/Operation not permitted|Permission denied/.test(stderr)) {
    return 'this process may not do that; give it CAP_NET_ADMIN, with systemd by AmbientCapabilities='
  }
  const said = stderr.trim().split('\n')[0] ?? ''
  return said === '' ? messageOf(error) : said
}
