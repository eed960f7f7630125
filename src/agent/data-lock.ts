import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { TailgateError, messageOf } from '../base/errors.ts'

/** No name of a guest begins so: each guest has a directory beside it. */
const lockName = '.lock'
/** How often one tries, and after how long again: an agent that is just ending lets go meanwhile. */
const triesMax = 10
const retryMs = 100
/** The status of flock(1) when another has the lock. */
const takenStatus = 1

/**
 * The right of one agent to a data directory: the state of its guests, and the guests themselves. It is a
 * lock of the kernel's (flock(2)), which ends with the process however that ends. Node has no call for it, so
 * flock(1), of util-linux or of busybox, takes it on a file that is open here, and leaves it there.
 */
export class DataLock {
  #descriptor: number | undefined

  private constructor(descriptor: number) {
    this.#descriptor = descriptor
  }

  /** Rejects with E_STATE if another agent has it or it cannot be had, and E_DISK. */
  static async take(directory: string): Promise<DataLock> {
    const lock = new DataLock(await openIn(directory))
    try {
      await lock.#take(directory)
      return lock
    } catch (error) {
      lock.release()
      throw error
    }
  }

  release(): void {
    const descriptor = this.#descriptor
    this.#descriptor = undefined
    if (descriptor !== undefined) closeSync(descriptor)
  }

  async #take(directory: string): Promise<void> {
    let { status, words } = await flock(this.#descriptor)
    for (let tries = 1; status === takenStatus && tries < triesMax; tries++) {
      await setTimeout(retryMs)
      ;({ status, words } = await flock(this.#descriptor))
    }
    if (status === 0) return
    const what = status === takenStatus
      ? `another agent has the data directory ${directory}: stop that one, or give this one its own data_dir`
      : `the data directory ${directory} cannot be locked: ${words}`
    throw new TailgateError('E_STATE', what, { context: { directory } })
  }
}

async function openIn(directory: string): Promise<number> {
  try {
    await mkdir(directory, { recursive: true })
    return openSync(join(directory, lockName), 'a', 0o600)
  } catch (cause) {
    const what = `the data directory ${directory} cannot be used: ${messageOf(cause)}`
    throw new TailgateError('E_DISK', what, { cause, context: { directory } })
  }
}

/** The status with which flock(1) has ended, and why if it is neither 0 nor {@link takenStatus}. */
function flock(descriptor: number | undefined): Promise<{ status: number | null, words: string }> {
  // Without the long names, and without a time, which busybox has not.
  const child = spawn('flock', ['-x', '-n', '3'], {
    stdio: ['ignore', 'ignore', 'pipe', descriptor]
  })
  let said = ''
  child.stderr?.on('data', (bytes: Buffer) => { said += bytes.toString() })
  return new Promise(resolve => {
    child.once('error', error => {
      const isMissing = 'code' in error && error.code === 'ENOENT'
      const missing = 'there is no flock on this host: install the package util-linux'
      resolve({ status: null, words: isMissing ? missing : error.message })
    })
    child.once('close', (status, signal) => {
      resolve({ status, words: said.trim() || `flock has ended (${signal ?? `status ${status}`})` })
    })
  })
}
