import { constants, fstatSync, openSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'

/** A full pipe is tried again so soon: of 64 KiB at a time 13 MB a second get through. Milliseconds. */
const retryMs = 5

/** So long the last lines of a process wait for a reader, in milliseconds. */
const lastWordsMs = 250

/** Lines gather in a turn of the event loop until they are so many bytes; one write takes no more. */
const batchBytes = 64 * 1024

/**
 * The longest write where several processes log into one pipe: up to so many bytes arrive in one piece
 * (PIPE_BUF of Linux, pipe(7)), so that lines of two processes do not get into each other.
 */
const sharedBatchBytes = 4096

export interface PipeDestinationOptions {
  /** One that does not block: see {@link withoutBlocking}. */
  readonly descriptor: number
  /** What waits for the reader at most, in bytes; lines beyond are dropped. */
  readonly bufferBytesMax: number
  /** Other processes write to it, too. */
  readonly shared: boolean
}

/**
 * Writes lines to a pipe or a stream socket without ever waiting for its reader.
 *
 * Both block a writer when they are full, and the end of a process waits for threads of Node's pool: a log
 * that nobody reads, written by such a thread, would keep a gateway from ending. Here a write that cannot be
 * done at once is done later, and not at all when the process has ended.
 */
export class PipeDestination {
  /** Lines that were thrown away: the buffer was full, or the reader is gone. */
  dropped = 0
  readonly #descriptor: number
  readonly #bufferBytesMax: number
  readonly #batchBytes: number
  #lines: string[] = []
  /** Those of {@link #lines} that were taken into batches. */
  #taken = 0
  #lineBytes = 0
  /** What a write has begun with: not to be dropped, or a line would end in its middle. */
  #batch: Buffer = Buffer.alloc(0)
  #scheduled = false
  #retry: NodeJS.Timeout | undefined

  constructor({ descriptor, bufferBytesMax, shared }: PipeDestinationOptions) {
    this.#descriptor = descriptor
    this.#bufferBytesMax = bufferBytesMax
    this.#batchBytes = shared ? sharedBatchBytes : batchBytes
    process.once('exit', () => this.flushSync())
  }

  write(line: string): void {
    if (this.#lineBytes + this.#batch.length + line.length > this.#bufferBytesMax) {
      this.dropped++
      return
    }
    this.#lines.push(line)
    this.#lineBytes += line.length
    if (this.#retry !== undefined) return
    if (this.#lineBytes >= batchBytes) this.#drain()
    else if (!this.#scheduled) {
      this.#scheduled = true
      setImmediate(() => {
        this.#scheduled = false
        if (this.#retry === undefined) this.#drain()
      })
    }
  }

  /** Writes what waits, for as long as the reader takes some of it, and a moment longer. */
  flushSync(): void {
    clearTimeout(this.#retry)
    this.#retry = undefined
    const clock = new Int32Array(new SharedArrayBuffer(4))
    for (let waitedMs = 0; !this.#written() && waitedMs < lastWordsMs; waitedMs += retryMs) {
      Atomics.wait(clock, 0, 0, retryMs)
    }
  }

  #drain(): void {
    if (this.#written()) return
    this.#retry = setTimeout(() => {
      this.#retry = undefined
      this.#drain()
    }, retryMs)
    // A log that nobody reads keeps no process alive.
    this.#retry.unref()
  }

  /** Writes until nothing is left, or nothing more is taken: then false. */
  #written(): boolean {
    for (;;) {
      if (this.#batch.length === 0) this.#batch = this.#nextBatch()
      if (this.#batch.length === 0) return true
      try {
        this.#batch = this.#batch.subarray(writeSync(this.#descriptor, this.#batch))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return false
        this.#lose()
        return true
      }
    }
  }

  /** Whole lines, as many as one write may take; a line that is longer goes alone. */
  #nextBatch(): Buffer {
    const first = this.#taken
    let bytes = 0
    for (let line = this.#lines[first]; line !== undefined; line = this.#lines[this.#taken]) {
      bytes += line.length
      if (bytes > this.#batchBytes && this.#taken > first) break
      this.#taken++
      this.#lineBytes -= line.length
    }
    const batch = Buffer.from(this.#lines.slice(first, this.#taken).join(''))
    if (this.#taken === this.#lines.length) {
      this.#lines = []
      this.#taken = 0
    }
    return batch
  }

  /** The reader is gone (EPIPE): that must not end a gateway that serves clients. */
  #lose(): void {
    const lines = this.#batch.reduce((count, byte) => count + Number(byte === 0x0a), 0)
    this.dropped += Math.max(1, lines)
    this.#batch = Buffer.alloc(0)
  }
}

/**
 * A descriptor for what `descriptor` leads to whose writes do not block, or undefined where it is neither
 * pipe nor socket, or cannot be had. A pipe is opened anew, so that those who share it do not notice. A
 * socket cannot be: there libuv sets the mode, which all who share it have then.
 */
export function withoutBlocking(descriptor: number): number | undefined {
  const about = fstatSync(descriptor)
  try {
    if (about.isFIFO()) {
      return openSync(`/proc/self/fd/${descriptor}`, constants.O_WRONLY | constants.O_NONBLOCK)
    }
    if (!about.isSocket()) return undefined
    keptSockets.set(descriptor, keptSockets.get(descriptor) ?? unblockedSocket(descriptor))
    return descriptor
  } catch {
    return undefined
  }
}

/** Held for good: the garbage collector would close the descriptor with the object. */
const keptSockets = new Map<number, Socket>()

function unblockedSocket(descriptor: number): Socket {
  const socket = new Socket({ fd: descriptor, readable: false, writable: true })
  socket.on('error', () => undefined)
  return socket.unref()
}
