#!/usr/bin/env node
import { once } from 'node:events'
import { writeSync } from 'node:fs'
import { exitStatus, faultLine, runCommandLine } from './command-line.ts'

// A fault of the program ends it at once (design: fail-stop). The write waits, so the line is not lost.
process.on('uncaughtException', (error) => {
  const { line, status } = faultLine(error)
  writeSync(2, line)
  process.exit(status)
})

// Whoever read the output has read enough, as `head` does.
process.stdout.on('error', () => process.exit(exitStatus.failed))

process.exitCode = await runCommandLine(process.argv.slice(2), {
  out: (text) => void process.stdout.write(text),
  outWhenRoom: async (text) => {
    if (!process.stdout.write(text)) await once(process.stdout, 'drain')
  },
  error: (text) => void process.stderr.write(text)
})
