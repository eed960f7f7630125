import type { Writable } from 'node:stream'
import { TailgateError } from '../base/errors.ts'

/** A program that restores a guest may be busy for so long before it takes more, in milliseconds. */
const takingMsMax = 60_000

/**
 * Writes to a stream, and resolves when it takes more, or is gone. Rejects with E_ENGINE if it does neither
 * within so many milliseconds: whoever reads it hangs.
 */
export async function writeDrained(
  stream: Writable, bytes: Uint8Array, msMax: number = takingMsMax
): Promise<void> {
  if (!stream.destroyed && !stream.write(bytes)) await drained(stream, msMax)
}

/** As {@link writeDrained}, for what was written before. */
export function drained(stream: Writable, msMax: number = takingMsMax): Promise<void> {
  return new Promise((resolve, reject) => {
    if (stream.destroyed || !stream.writableNeedDrain) return resolve()
    const settle = (run: () => void): void => {
      clearTimeout(timer)
      stream.off('drain', done)
      stream.off('close', done)
      run()
    }
    const done = (): void => { settle(resolve) }
    const timer = setTimeout(() => {
      const what = `the program that is to take the checkpoint has taken nothing for ${msMax} ms`
      settle(() => { reject(new TailgateError('E_ENGINE', what)) })
    }, msMax)
    stream.once('drain', done)
    stream.once('close', done)
  })
}
