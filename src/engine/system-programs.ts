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

/** What a program of the system is run for, and what is said when it fails. */
export interface Order {
  /** The beginning of the sentence: what could not be done. */
  readonly what: string
  readonly program: string
  readonly args: readonly string[]
  /** Milliseconds; it is killed then. */
  readonly timeoutMs: number
  /** What to do where there is no such program. */
  readonly missing: string
  /** The reason in what it said on standard error; undefined when there is none. */
  readonly reasonIn: (stderr: string) => string | undefined
}

/** Runs a program and resolves with what it says. Rejects with E_ENGINE and one sentence. */
export function runOrder({ what, program, args, timeoutMs, missing, reasonIn }: Order): Promise<string> {
  const options = { env: withSystemPrograms(process.env), timeout: timeoutMs, killSignal: 'SIGKILL' as const }
  return new Promise((resolve, reject) => {
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      const reason = 'code' in error && error.code === 'ENOENT'
        ? `there is no ${program} on this host: ${missing}` : reasonIn(stderr) ?? messageOf(error)
      reject(new TailgateError('E_ENGINE', `${what}: ${reason}`, { cause: error }))
    })
  })
}

/**
 * Runs a program like `ip` or `bridge` and resolves with what it says. Rejects with E_ENGINE and one
 * sentence: `what` could not be done, and why.
 */
export function runSystemProgram(what: string, program: string, args: readonly string[]): Promise<string> {
  const missing = `install the package ${packages[program] ?? 'iproute2'}`
  return runOrder({ what, program, args, timeoutMs, missing, reasonIn })
}

function reasonIn(stderr: string): string | undefined {
  if (/Operation not permitted|Permission denied/.test(stderr)) {
    return 'this process may not do that; give it CAP_NET_ADMIN, with systemd by AmbientCapabilities='
  }
  return stderr.trim().split('\n')[0] || undefined
}
