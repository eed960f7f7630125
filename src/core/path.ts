import type { InputOffset, OutputOffset } from './ids.ts'
import type { StreamSide } from './stream.ts'

/**
 * A guest-facing connection that is new. `path` is logged, for an attach in a later generation; it may cost a
 * system call, so it is asked for once and only where it is kept.
 */
export interface OpenedPath {
  readonly side: StreamSide
  readonly path: Uint8Array
}

/** What a restored guest says of a connection it is asked about. */
export type AttachAnswer =
  | {
    readonly known: true
    readonly side: StreamSide
    /** Where the guest's input stands: what is sent next lands here. Its end counts one. */
    readonly input: InputOffset
    /** Where the guest's output stands; its end counts one. */
    readonly output: OutputOffset
    /**
     * The offset of the first output byte that will arrive on `side`: min(received, output), or further on if
     * the guest's kernel keeps output only from there, because it was acknowledged before the checkpoint.
     */
    readonly resumesAt: OutputOffset
  }
  | { readonly known: false }
