import type { Writable } from 'node:stream'

/** Resolves when the stream takes more, or is gone. */
export function drained(stream: Writable): Promise<void> {
  return new Promise(resolve => {
    const done = (): void => {
      stream.off('drain', done)
      stream.off('close', done)
      resolve()
    }
    if (stream.destroyed) return resolve()
    stream.once('drain', done)
    stream.once('close', done)
  })
}
