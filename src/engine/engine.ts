import type { CheckpointRequest } from '../core/agent/port.ts'
import type { GuestCondition } from '../core/message.ts'

/**
 * What can checkpoint and restore a guest: Xen, QEMU, or the embedded guest. One per guest and host, owned by
 * the agent. Every implementation that makes checkpoints passes test/engine/compliance.ts.
 *
 * States: absent → (start | restore) → running → absent. A failed guest stays `failed` until {@link stop}.
 */
export interface Engine {
  readonly name: string
  /** False for an engine whose images cannot be restored (blackhole): its guest is never protected. */
  readonly canRestore: boolean
  readonly condition: GuestCondition
  /**
   * Where the guest's services listen, `host:port` each, in the order of the configuration; known once it is
   * there.
   */
  readonly endpoints: readonly string[]
  /** Starts the guest from nothing, with its network open. Rejects with E_ENGINE. */
  start(): Promise<void>
  /**
   * Makes one checkpoint. The guest stands still, `standing` is awaited (it exchanges the mark), the guest
   * runs on, and the image is yielded, in pieces of at most 1 MiB. What is copied while the guest still runs
   * may be yielded before `standing` is called, which happens exactly once, before the last piece. If
   * `standing` rejects, or the iteration is ended early, the guest runs on and the image is dropped. Only one
   * at a time. Throws E_ENGINE.
   */
  checkpoint(standing: () => Promise<void>, request: CheckpointRequest): AsyncGenerator<Uint8Array, void>
  /**
   * Takes a whole image into the standby: only of an engine whose images build on one another, and which can
   * restore none but the one absorbed last. Called once for each, in the order in which they count. Rejects
   * with E_IMAGE for one that does not follow what is there, which stays, and E_ENGINE for the rest.
   */
  absorb?: ((image: AsyncIterable<Uint8Array>) => Promise<void>) | undefined
  /**
   * Puts a guest in place from an image: loaded, its network closed, not running. Rejects with E_IMAGE for an
   * image that is not whole, or not the one absorbed last, and E_ENGINE for the rest; the guest is `absent`
   * then.
   */
  restore(image: AsyncIterable<Uint8Array>): Promise<void>
  /** Opens the network of a restored guest and lets it run. */
  openNetwork(): Promise<void>
  /** Tells a restored guest that every connection worth keeping is attached; it closes the others. */
  attached(): Promise<void>
  /** The guest's network shuts by itself after this many milliseconds, whatever dies, unless renewed. */
  renewLease(remainingMs: number): void
  /** Ends the guest at once. Resolves when it is gone. */
  stop(): Promise<void>
  /**
   * Takes over, or ends, what a process before this one has left of a guest on this host. Called once, before
   * all else. What no such process had is left alone, whatever its name. Rejects with E_ENGINE.
   */
  prepare?(): Promise<void>
  /**
   * Lets go of a guest that ran before this process did, which found it and was never given command of it. It
   * runs on, and nobody reaches it before another agent takes it. Called last, in the place of {@link stop}.
   * Only of an engine with guests that run without their agent. Rejects with E_ENGINE.
   */
  release?(): Promise<void>
  /**
   * A checkpoint is here that may have to be restored: prepares what can be prepared. The guest stays absent,
   * {@link start} and {@link restore} may follow, and {@link stop} ends it. Rejects with E_ENGINE.
   */
  standBy?(): Promise<void>
  /**
   * Called when the standby is gone: no image here can be restored until another one has been absorbed. So
   * also when it begins to be replaced, and when a restore from it failed. Only of an engine that absorbs.
   */
  onStandbyLost?: ((reason: string) => void) | undefined
  /**
   * Called when the guest may stand without a mark having been asked for, which it does until what an image
   * has of it was taken. Only of an engine that yields pieces while the guest runs; too often is no harm.
   */
  onSuspended?: (() => void) | undefined
  /** Called when the guest fails by itself; once per start or restore. */
  onFailure: ((reason: string) => void) | undefined
  /**
   * Called when the guest runs on after it stood still for a checkpoint, for so many milliseconds; with how
   * many pages of its memory had been written since the one before, where the engine knows.
   */
  onPaused: ((ms: number, dirtyPages?: number) => void) | undefined
}
