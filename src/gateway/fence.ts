import { execFile } from 'node:child_process'

export interface FenceOutcome {
  readonly fenced: boolean
  /** Why not; '' when it succeeded. */
  readonly reason: string
}

/**
 * Runs a fence command: exit status 0 means that the host can do no more. The command finds TAILGATE_GUEST
 * and TAILGATE_HOST in its environment. One that takes longer than `timeoutMs` is killed and has failed.
 */
export function runFence(
  command: readonly string[], about: { readonly guest: string, readonly host: string }, timeoutMs: number
): Promise<FenceOutcome> {
  const [program = '', ...args] = command
  const env = { ...process.env, TAILGATE_GUEST: about.guest, TAILGATE_HOST: about.host }
  return new Promise(resolve => {
    execFile(program, args, { env, timeout: timeoutMs, killSignal: 'SIGKILL' }, (error, _stdout, stderr) => {
      if (error === null) resolve({ fenced: true, reason: '' })
      else resolve({ fenced: false, reason: `${error.message.trim()} ${stderr.slice(0, 500).trim()}`.trim() })
    })
  })
}
