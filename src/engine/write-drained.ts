import type { Writable } from 'node:stream'

/** Writes to a stream, and resolves when it takes more, or is gone. */
export async function writeDrained(stream: Writable, bytes: Uint8Array): Promise<void> {
  if (!stream.destroyed && !stream.write(bytes)) await drained(stream)
}

/**
 * As {@link writeDrained}. Where nothing was taken for so many milliseconds `stalled` is called, which must
 * see to it that the stream goes.
 */
export async function writeDrainedWithin(
  stream: Writable, bytes: Uint8Array, msMax: number, stalled: () => void
): Promise<void> {
  const timer = setTimeout(stalled, msMax)
  await writeDrained(stream, bytes)
  clearTimeout(timer)
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
