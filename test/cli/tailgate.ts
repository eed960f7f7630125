import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { runCommandLine } from '../../src/cli/command-line.ts'

/** What a command line came to. */
export interface Outcome {
  readonly status: number
  readonly out: string
  readonly error: string
}

/** Runs a command line in this process. */
export async function tailgate(...args: string[]): Promise<Outcome> {
  let [out, error] = ['', '']
  const status = await runCommandLine(args, {
    out: (text) => { out += text },
    outWhenRoom: async (text) => {
      out += text
      return Promise.resolve()
    },
    error: (text) => { error += text }
  })
  return { status, out, error }
}

/** A directory with files, gone with the test; its path is short enough for a Unix socket in it. */
export function directoryWith(t: Test, files: Readonly<Record<string, string>>): string {
  const directory = mkdtempSync(join(tmpdir(), 'tailgate-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
  return directory
}
