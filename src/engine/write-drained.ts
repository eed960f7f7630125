import type { Writable } from 'node:stream'
import { TailgateError } from '../base/errors.ts'

/** A program that restores a guest may be busy for so long before it takes more, in milliseconds. */
export const stallMsMax = 60_000

/**
 * Writes to a stream, and resolves when it takes more, or is gone. Rejects with E_ENGINE if it does neither
 * within so many milliseconds: `reader` hangs.
 */
export async function writeDrained(
  stream: Writable, bytes: Uint8Array, reader: string, msMax: number = stallMsMax
): Promise<void> {
  if (!stream.destroyed && !stream.write(bytes)) await drained(stream, reader, msMax)
}

/** As {@link writeDrained}, for what was written before. */
export function drained(stream: Writable, reader: string, msMax: number): Promise<void> {
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
      settle(() => { reject(new TailgateError('E_ENGINE', stalled(reader, msMax))) })
    }, msMax)
    stream.once('drain', done)
    stream.once('close', done)
  })
}

/** What is said of one that takes nothing, or does not end when it has all. */
export function stalled(who: string, ms: number): string {
  return `${who} has made no headway for ${ms / 1000} s`
}
