import { messageOf } from '../src/base/errors.ts'

export function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** What was left out and what failed, told as it happens and kept for the report. */
export class Shortfalls {
  readonly missing: string[] = []
  readonly failures: string[] = []

  leaveOut(reason: string): void {
    this.missing.push(reason)
    say(`SKIPPED ${reason}`)
  }

  fail(what: string, error: unknown): void {
    const text = `${what}: ${messageOf(error).trim()}`
    this.failures.push(text)
    say(`FAILED ${text}`)
  }
}
