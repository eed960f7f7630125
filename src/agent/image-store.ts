import { mkdir, open, readdir, rename, rm, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { TailgateError, messageOf } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import type { CheckpointId } from '../core/ids.ts'
import type { Durability } from '../core/message.ts'
import type { ImageInfo } from '../core/agent/port.ts'
import { syncDirectory } from '../state/state-file.ts'
import { imageTrailer, readImage, readImageInfo } from './image-file.ts'

/**
 * Image data that waits for the disk: above the first, in bytes, the sender is to be held; below the
 * second not.
 */
const backlogHighBytes = 32 << 20
const backlogLowBytes = 8 << 20
/** The core keeps one image and takes one in; the rest is for orders that are still under way. */
const imagesMax = 8

const partSuffix = '.part'
const imageSuffix = '.image'

export interface OpenedImages {
  readonly store: ImageStore
  readonly removed: readonly string[]
}

/** One that is coming in. */
interface Incoming {
  readonly durability: Durability
  /** With `memory`: what has come. */
  readonly pieces: Uint8Array[]
  /** With `disk`: the writes, one after another. */
  writes: Promise<void>
  file: FileHandle | undefined
  dropped: boolean
}

type Stored =
  | { readonly info: ImageInfo, readonly pieces: readonly Uint8Array[] }
  | { readonly info: ImageInfo, readonly path: string }

/**
 * Whole checkpoints of one guest, in memory or on disk. Coming in, one is a `.part` file that nobody takes
 * for anything; when it is whole it is synced, renamed, and the directory synced, so that whatever has the
 * name of an image is one.
 */
export class ImageStore {
  readonly #directory: string
  readonly #incoming = new Map<CheckpointId, Incoming>()
  readonly #stored = new Map<CheckpointId, Stored>()
  #backlog = 0
  #held = false
  /** Told when the sender is to be held, and when no more. */
  onBacklog: ((hold: boolean) => void) | undefined

  private constructor(directory: string) {
    this.#directory = directory
  }

  /**
   * Opens the store in a directory of its own: what is torn there, or has changed since, is removed and
   * named in `removed`; with `remove`, everything is. Rejects with E_DISK.
   */
  static async open(directory: string, found: 'keep' | 'remove' = 'keep'): Promise<OpenedImages> {
    const store = new ImageStore(directory)
    const removed: string[] = []
    try {
      await mkdir(directory, { recursive: true })
      for (const name of await readdir(directory)) {
        if (!await store.#find(name, found === 'keep')) removed.push(name)
      }
    } catch (cause) {
      throw diskError(directory, cause)
    }
    return { store, removed }
  }

  get images(): readonly ImageInfo[] {
    return [...this.#stored.values()].map(({ info }) => info)
  }

  /** Begins to take one in. */
  begin(checkpoint: CheckpointId, durability: Durability): void {
    const images = this.#incoming.size + this.#stored.size
    invariant(images < imagesMax, 'images are dropped when they are not needed', { images })
    const incoming: Incoming = {
      durability, pieces: [], writes: Promise.resolve(), file: undefined, dropped: false
    }
    this.#incoming.set(checkpoint, incoming)
    if (durability === 'memory') return
    this.#write(incoming, async () => {
      incoming.file = await open(this.#path(checkpoint, partSuffix), 'w', 0o600)
    })
  }

  /** Takes a piece. What goes wrong is told by {@link finish}. */
  piece(checkpoint: CheckpointId, bytes: Uint8Array): void {
    const incoming = this.#incoming.get(checkpoint)
    if (incoming === undefined) return
    if (incoming.durability === 'memory') {
      incoming.pieces.push(bytes)
      return
    }
    this.#count(bytes.length)
    this.#write(incoming, async () => {
      try {
        if (!incoming.dropped) await incoming.file?.writeFile(bytes)
      } finally {
        this.#count(-bytes.length)
      }
    })
  }

  /** The image is whole; resolves when it is as durable as was asked. Rejects with E_DISK. */
  async finish(info: ImageInfo, durability: Durability): Promise<void> {
    const incoming = this.#incoming.get(info.checkpoint)
    if (incoming?.durability !== durability) {
      throw new TailgateError('E_DISK', 'the durability was changed while the checkpoint came in')
    }
    const stored = durability === 'memory'
      ? { info, pieces: incoming.pieces }
      : await this.#finishFile(incoming, info)
    // It may have been dropped while it was being written.
    if (this.#incoming.get(info.checkpoint) !== incoming) return
    this.#incoming.delete(info.checkpoint)
    this.#stored.set(info.checkpoint, stored)
  }

  /**
   * Forgets an image, whole or not. Resolves when its file is gone; never rejects, since a next start
   * finds it.
   */
  async drop(checkpoint: CheckpointId): Promise<void> {
    const incoming = this.#incoming.get(checkpoint)
    this.#incoming.delete(checkpoint)
    this.#stored.delete(checkpoint)
    if (incoming !== undefined) {
      incoming.dropped = true
      await incoming.writes.catch(() => undefined)
      await incoming.file?.close().catch(() => undefined)
    }
    await rm(this.#path(checkpoint, partSuffix), { force: true }).catch(() => undefined)
    await rm(this.#path(checkpoint, imageSuffix), { force: true }).catch(() => undefined)
  }

  /** The image's bytes; throws E_IMAGE at the end, or at once, if they are not what was stored. */
  async *read(checkpoint: CheckpointId): AsyncGenerator<Uint8Array, void> {
    const stored = this.#stored.get(checkpoint)
    if (stored === undefined) throw new TailgateError('E_IMAGE', `checkpoint ${checkpoint} is not here`)
    if ('path' in stored) yield* readImage(stored.path, stored.info)
    else yield* stored.pieces
  }

  /** Lets go of files. What was not whole stays a part, and is removed at the next start. */
  async close(): Promise<void> {
    for (const incoming of this.#incoming.values()) {
      incoming.dropped = true
      await incoming.writes.catch(() => undefined)
      await incoming.file?.close().catch(() => undefined)
    }
    this.#incoming.clear()
  }

  async #finishFile(incoming: Incoming, info: ImageInfo): Promise<Stored> {
    const path = this.#path(info.checkpoint, imageSuffix)
    this.#write(incoming, async () => {
      const { file } = incoming
      if (file === undefined || incoming.dropped) return
      await file.writeFile(imageTrailer(info))
      await file.sync()
      await file.close()
      incoming.file = undefined
      await rename(this.#path(info.checkpoint, partSuffix), path)
      await syncDirectory(this.#directory)
    })
    try {
      await incoming.writes
    } catch (cause) {
      throw diskError(this.#directory, cause)
    }
    return { info, path }
  }

  /** Takes up a file that was found at the start; false if it was removed instead. */
  async #find(name: string, keep: boolean): Promise<boolean> {
    const path = join(this.#directory, name)
    const info = keep && name.endsWith(imageSuffix) ? await wholeImage(path) : undefined
    if (info === undefined) await rm(path, { force: true, recursive: true })
    else this.#stored.set(info.checkpoint, { info, path })
    return info !== undefined
  }

  #write(incoming: Incoming, work: () => Promise<void>): void {
    incoming.writes = incoming.writes.then(work)
    // The failure is kept in the chain for finish, which may come much later.
    incoming.writes.catch(() => undefined)
  }

  #count(bytes: number): void {
    this.#backlog += bytes
    const hold = this.#held ? this.#backlog > backlogLowBytes : this.#backlog > backlogHighBytes
    if (hold === this.#held) return
    this.#held = hold
    this.onBacklog?.(hold)
  }

  #path(checkpoint: CheckpointId, suffix: string): string {
    return join(this.#directory, `${checkpoint}${suffix}`)
  }
}

/** Reads a stored image from end to end: a disk that lost some of it must be noticed before it is needed. */
async function wholeImage(path: string): Promise<ImageInfo | undefined> {
  const info = await readImageInfo(path)
  if (info === undefined) return undefined
  try {
    const pieces = readImage(path, info)
    while ((await pieces.next()).done !== true);
    return info
  } catch (error) {
    if (error instanceof TailgateError && error.code === 'E_IMAGE') return undefined
    throw error
  }
}

function diskError(directory: string, cause: unknown): TailgateError {
  return new TailgateError('E_DISK', `checkpoints cannot be kept in ${directory}: ${messageOf(cause)}`, {
    cause, context: { directory }
  })
}
