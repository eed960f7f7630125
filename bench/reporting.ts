import { endProgramsAtExit } from './program.ts'
import { say } from './shortfalls.ts'

export interface Reporting<Options, Report> {
  readonly usage: string
  readonly measure: (options: Options) => Promise<Report>
  /** Lines for people. */
  readonly tables: (report: Report) => readonly string[]
}

/**
 * The main program of a bench that reports: tables, or one line of JSON. The exit status is 2 for a command
 * line that is wrong, whose options are undefined, and 1 if something failed.
 */
export async function runReporting<
  Options extends { readonly json: boolean }, Report extends { readonly failures: readonly unknown[] }
>(options: Options | undefined, { usage, measure, tables }: Reporting<Options, Report>): Promise<void> {
  endProgramsAtExit()
  if (options === undefined) {
    say(usage)
    process.exitCode = 2
    return
  }
  const report = await measure(options)
  process.stdout.write(`${options.json ? JSON.stringify(report) : `\n${tables(report).join('\n')}`}\n`)
  process.exitCode = report.failures.length === 0 ? 0 : 1
}
