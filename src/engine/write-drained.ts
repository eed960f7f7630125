import type { Writable } from 'node:stream'

/** Writes to a stream, and resolves when it takes more, or is gone. */
export async function writeDrained(stream: Writable, bytes: Uint8Array): Promise<void> {
  if (!stream.destroyed && !stream.write(bytes)) await drained(stream)
}

function drained(stream: Writable): Promise<void> {
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
