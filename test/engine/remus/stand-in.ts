import { execFileSync } from 'node:child_process'
import { constants, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Order } from './orders.ts'

const program = fileURLToPath(new URL('xl.ts', import.meta.url))
/** Starts what stands in for `xl remus`, in the place of the shell that reads it. */
export const remusScript = `exec ${process.execPath} --import=tsx ${program} "$@"\n`

/** An `xl` of the test's own, its orders, and what it says. */
export class StandIn {
  /** It is first in PATH. What its pipe `journal` is told there, too, is said. */
  readonly directory = mkdtempSync(join(tmpdir(), 'tg-remus-'))
  readonly said: string[] = []
  readonly #orders: number
  #heard: (() => void) | undefined

  /** @param script a shell's, of `xl` */
  constructor(t: Test, script = remusScript) {
    const { directory } = this
    for (const name of ['journal', 'orders']) execFileSync('mkfifo', [join(directory, name)])
    writeFileSync(join(directory, 'xl'), `#!/bin/sh\n${script}`, { mode: 0o755 })
    const { PATH, STAND_IN } = process.env
    process.env.PATH = `${directory}:${PATH ?? ''}`
    process.env.STAND_IN = directory
    this.#orders = openSync(join(directory, 'orders'), 'r+')
    const fd = openSync(join(directory, 'journal'), constants.O_RDWR | constants.O_NONBLOCK)
    const journal = new Socket({ fd, readable: true })
    createInterface({ input: journal }).on('line', (line) => { this.note(line) })
    t.teardown(() => {
      process.env.PATH = PATH
      process.env.STAND_IN = STAND_IN
      journal.destroy()
      rmSync(directory, { recursive: true })
    })
  }

  note(line: string): void {
    this.said.push(line)
    this.#heard?.()
  }

  order(letter: Order): void {
    writeSync(this.#orders, letter)
  }

  async until(line: string): Promise<void> {
    while (!this.said.includes(line)) {
      await new Promise<void>((resolve) => { this.#heard = resolve })
    }
  }
}
