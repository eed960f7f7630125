#!/usr/bin/env node
import { writeSync } from 'node:fs'
import { faultLine, runCommandLine } from './command-line.ts'

// A fault of the program ends it at once (design: fail-stop). The write waits, so the line is not lost.
process.on('uncaughtException', (error) => {
  const { line, status } = faultLine(error)
  writeSync(2, line)
  process.exit(status)
})

process.exitCode = await runCommandLine(process.argv.slice(2), {
  out: (text) => void process.stdout.write(text),
  error: (text) => void process.stderr.write(text)
})
