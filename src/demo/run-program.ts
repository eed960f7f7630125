import { execFile } from 'node:child_process'
import { messageOf, TailgateError } from '../base/errors.ts'
import { withSystemPrograms } from '../engine/system-programs.ts'
import { durationText } from '../observe/quantity.ts'

/** Characters kept of what a program that failed said last. */
const lastWordsMax = 1000
const outputBytesMax = 16 * 1024 * 1024

/** What prepares this machine for the demo, and what is said where it cannot. */
export interface ProgramRun {
  /** The beginning of the sentence: what could not be done. */
  readonly what: string
  readonly program: string
  readonly args: readonly string[]
  /** The directory that it runs in; left out: that of this process. */
  readonly cwd?: string
  /** Milliseconds; it is ended then. */
  readonly limitMs: number
  /** The end of the sentence: what to do. */
  readonly remedy: string
}

/**
 * Runs a program that is asked nothing, and resolves with what it says. Rejects with E_TIMEOUT at its limit,
 * with E_ENGINE where it fails; the context has its exit `status`.
 */
export function runProgram({ what, program, args, cwd, limitMs, remedy }: ProgramRun): Promise<string> {
  const env = { ...withSystemPrograms(process.env), DEBIAN_FRONTEND: 'noninteractive' }
  const options = { env, timeout: limitMs, maxBuffer: outputBytesMax, ...cwd === undefined ? {} : { cwd } }
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      const late = error.killed === true
      const why = late ? `it took longer than ${durationText(limitMs)}`
        : stderr.trim().slice(-lastWordsMax) || messageOf(error)
      const context = { status: error.code }
      reject(new TailgateError(
        late ? 'E_TIMEOUT' : 'E_ENGINE', `${what}: ${why}; ${remedy}`, { cause: error, context }))
    })
    // A program that asks all the same reads the end at once, instead of waiting for an answer.
    child.stdin?.on('error', () => undefined).end()
  })
}
