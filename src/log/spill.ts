import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { LRUCache } from 'lru-cache'
import { TailgateError } from '../base/errors.ts'
import { diskError, type FileSystem } from './file-system.ts'

const suffix = '.spill'

interface Spilled {
  readonly bytes: number
  readonly crc: number
}

/**
 * Segments of a log in memory whose bytes lie in files, one each, because memory is bounded. The files are of
 * no use to another process, which could not know whether they are all there.
 */
export class Spill {
  readonly #directory: string
  readonly #files: FileSystem
  readonly #spilled = new Map<number, Spilled>()
  /** Segments read back: a prune and a replay, or a replay and its plan, read the same ones. */
  readonly #cache: LRUCache<number, Uint8Array>
  #diskBytes = 0

  /** @param cacheBytes how much memory segments that were read back may take */
  constructor(directory: string, files: FileSystem, cacheBytes: number) {
    this.#directory = directory
    this.#files = files
    const maxSize = Math.max(1, Math.floor(cacheBytes))
    this.#cache = new LRUCache({ maxSize, sizeCalculation: bytes => bytes.length })
  }

  get diskBytes(): number {
    return this.#diskBytes
  }

  get memoryBytes(): number {
    return this.#cache.calculatedSize
  }

  /** Makes the directory and removes what an earlier process left in it. Rejects with E_DISK. */
  async open(): Promise<void> {
    try {
      await this.#files.makeDirectory(this.#directory)
      for (const name of await this.#files.list(this.#directory)) {
        if (name.endsWith(suffix)) await this.#files.unlink(join(this.#directory, name))
      }
    } catch (error) {
      throw diskError('making ready', this.#directory, error)
    }
  }

  /** Writes a segment's bytes to a file. Rejects with E_DISK. */
  async put(id: number, bytes: Uint8Array): Promise<void> {
    const path = this.#path(id)
    try {
      const file = await this.#files.create(path)
      try {
        await file.write([bytes])
      } finally {
        await file.close()
      }
    } catch (error) {
      await this.#files.unlink(path).catch(() => undefined)
      throw diskError('writing', path, error)
    }
    this.#spilled.set(id, { bytes: bytes.length, crc: crc32(bytes) })
    this.#diskBytes += bytes.length
  }

  /**
   * A segment's bytes again. Rejects with E_DISK, and with E_LOG_CORRUPT if they are not what was written.
   */
  async get(id: number): Promise<Uint8Array> {
    const cached = this.#cache.get(id)
    if (cached) return cached
    const path = this.#path(id)
    const bytes = await this.#read(path)
    const spilled = this.#spilled.get(id)
    if (!spilled || bytes.length !== spilled.bytes || crc32(bytes) !== spilled.crc) {
      throw new TailgateError('E_LOG_CORRUPT', `${path} is not what was written to it`, { context: { path } })
    }
    this.#cache.set(id, bytes)
    return bytes
  }

  /** Removes the files of all segments but those in `ids`. Rejects with E_DISK. */
  async keepOnly(ids: ReadonlySet<number>): Promise<void> {
    for (const [id, { bytes }] of this.#spilled) {
      if (ids.has(id)) continue
      const path = this.#path(id)
      await this.#files.unlink(path).catch((error: unknown) => { throw diskError('removing', path, error) })
      this.#spilled.delete(id)
      this.#cache.delete(id)
      this.#diskBytes -= bytes
    }
  }

  async #read(path: string): Promise<Uint8Array> {
    try {
      const file = await this.#files.open(path, 'read')
      try {
        return await file.read(0, await file.length())
      } finally {
        await file.close()
      }
    } catch (error) {
      throw diskError('reading', path, error)
    }
  }

  #path(id: number): string {
    return join(this.#directory, `segment-${id}${suffix}`)
  }
}
