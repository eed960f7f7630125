import { constants, promises } from 'node:fs'
import { TailgateError, messageOf } from '../base/errors.ts'

/** A file that is written at its end only. */
export interface LogFile {
  /** Writes all of `chunks` at the end, in one call to the system where it takes it. */
  write(chunks: readonly Uint8Array[]): Promise<void>
  /** The same, and durable when it resolves. What was written before need not be. */
  writeDurably(chunks: readonly Uint8Array[]): Promise<void>
  /** Up to `length` bytes from the place `at` on; fewer at the end of the file. */
  read(at: number, length: number): Promise<Uint8Array>
  /** Resolves when content and length are durable. */
  sync(): Promise<void>
  truncate(length: number): Promise<void>
  length(): Promise<number>
  close(): Promise<void>
}

/**
 * The operations on files that a log needs. They reject with what the system says; the logs make E_DISK of
 * it. The tests put one beneath them that tears, fails and forgets writes.
 */
export interface FileSystem {
  makeDirectory(path: string): Promise<void>
  list(path: string): Promise<string[]>
  /** Makes a new file, open for reading and writing. It must not exist. */
  create(path: string): Promise<LogFile>
  open(path: string, access: 'read' | 'write'): Promise<LogFile>
  rename(from: string, to: string): Promise<void>
  unlink(path: string): Promise<void>
  /** Resolves when the names in a directory are durable. */
  syncDirectory(path: string): Promise<void>
}

/** What went wrong below, as E_DISK. */
export function diskError(what: string, path: string, cause: unknown): TailgateError {
  if (cause instanceof TailgateError) return cause
  const sentence = `${what} ${path} failed: ${messageOf(cause)}`
  return new TailgateError('E_DISK', sentence, { cause, context: { path } })
}

/** The system takes at most this many pieces in one writev (IOV_MAX on Linux). */
const writePiecesMax = 1024

/** The machine's own files. */
export const nodeFileSystem: FileSystem = {
  async makeDirectory(path) {
    await promises.mkdir(path, { recursive: true })
  },
  list: path => promises.readdir(path),
  async create(path) {
    const { O_RDWR, O_CREAT, O_EXCL, O_APPEND } = constants
    return new NodeFile(await promises.open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND, 0o600))
  },
  async open(path, access) {
    const { O_RDWR, O_RDONLY, O_APPEND } = constants
    return new NodeFile(await promises.open(path, access === 'read' ? O_RDONLY : O_RDWR | O_APPEND))
  },
  rename: (from, to) => promises.rename(from, to),
  unlink: path => promises.unlink(path),
  async syncDirectory(path) {
    const directory = await promises.open(path, constants.O_RDONLY)
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
  }
}

class NodeFile implements LogFile {
  readonly #handle: promises.FileHandle
  /** Opened for the first durable write. */
  #durable: Promise<promises.FileHandle> | undefined

  constructor(handle: promises.FileHandle) {
    this.#handle = handle
  }

  write(chunks: readonly Uint8Array[]): Promise<void> {
    return writeAll(this.#handle, chunks)
  }

  /**
   * With O_DSYNC a write is a write and an fdatasync in one system call: one walk through the pool of threads
   * instead of two, and a failed fdatasync is the failure of the write that it belongs to. The flag cannot be
   * set on an open file, and its name may have changed since.
   */
  async writeDurably(chunks: readonly Uint8Array[]): Promise<void> {
    const { O_WRONLY, O_APPEND, O_DSYNC } = constants
    this.#durable ??= promises.open(`/proc/self/fd/${this.#handle.fd}`, O_WRONLY | O_APPEND | O_DSYNC)
    await writeAll(await this.#durable, chunks)
  }

  async read(at: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length)
    let filled = 0
    while (filled < length) {
      const { bytesRead } = await this.#handle.read(bytes, filled, length - filled, at + filled)
      if (bytesRead === 0) break
      filled += bytesRead
    }
    return bytes.subarray(0, filled)
  }

  sync(): Promise<void> {
    return this.#handle.datasync()
  }

  truncate(length: number): Promise<void> {
    return this.#handle.truncate(length)
  }

  async length(): Promise<number> {
    return (await this.#handle.stat()).size
  }

  async close(): Promise<void> {
    const durable = await this.#durable?.catch(() => undefined)
    await Promise.all([this.#handle.close(), durable?.close()])
  }
}

async function writeAll(handle: promises.FileHandle, chunks: readonly Uint8Array[]): Promise<void> {
  let rest = chunks.filter(chunk => chunk.length > 0)
  while (rest.length > 0) {
    const { bytesWritten } = await handle.writev(rest.slice(0, writePiecesMax))
    rest = after(rest, bytesWritten)
  }
}

/** What of `chunks` is left when `written` bytes are gone from the front. */
function after(chunks: Uint8Array[], written: number): Uint8Array[] {
  let gone = written
  for (const [place, chunk] of chunks.entries()) {
    if (gone < chunk.length) return [chunk.subarray(gone), ...chunks.slice(place + 1)]
    gone -= chunk.length
  }
  return []
}
