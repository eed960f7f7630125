import type { ImageInfo } from '../../src/core/agent/port.ts'
import { join } from './protocol.ts'
import { noBytes } from './tcp.ts'
import type { World } from './world.ts'

interface Stored {
  bytes: Uint8Array
  /** Undefined while it is being received: what a crash then leaves of it is torn. */
  info: ImageInfo | undefined
  synced: boolean
}

/** The checkpoints on one host's disk. */
export class ImageStore {
  readonly #world: World
  readonly #images = new Map<number, Stored>()
  /** Every image that was once whole here. */
  readonly #everWhole = new Set<number>()

  constructor(world: World) {
    this.#world = world
  }

  get hasWhole(): boolean {
    return [...this.#images.values()].some(({ info }) => info !== undefined)
  }

  begin(checkpoint: number): void {
    this.#images.set(checkpoint, { bytes: noBytes, info: undefined, synced: false })
  }

  piece(checkpoint: number, bytes: Uint8Array): void {
    const stored = this.#images.get(checkpoint)
    if (stored !== undefined) stored.bytes = join(stored.bytes, bytes)
  }

  finish(info: ImageInfo, synced: boolean): boolean {
    const stored = this.#images.get(info.checkpoint)
    if (stored === undefined) return false
    stored.info = info
    stored.synced = synced
    this.#everWhole.add(info.checkpoint)
    return true
  }

  wasWhole(checkpoint: number): boolean {
    return this.#everWhole.has(checkpoint)
  }

  /** Those that an engine has absorbed are of no use to another life of its agent. */
  clear(): void {
    this.#images.clear()
  }

  drop(checkpoint: number): void {
    this.#images.delete(checkpoint)
  }

  bytesOf(checkpoint: number): Uint8Array | undefined {
    return this.#images.get(checkpoint)?.bytes
  }

  /** Whole images, as the agent finds them when it starts; torn ones are removed then. */
  found(): ImageInfo[] {
    const whole: ImageInfo[] = []
    for (const [checkpoint, { info }] of this.#images) {
      if (info === undefined) this.#images.delete(checkpoint)
      else whole.push(info)
    }
    return whole
  }

  /** Torn ones too: for the canary that takes them for whole. */
  * unfinished(): Iterable<readonly [number, Uint8Array]> {
    for (const [checkpoint, { bytes, info }] of this.#images) if (info === undefined) yield [checkpoint,
      bytes]
  }

  powerLoss(): void {
    for (const [checkpoint, { synced }] of this.#images) {
      if (!synced && this.#world.random.chance(0.5)) this.#images.delete(checkpoint)
    }
  }
}
