/*
 * What goes between a machine of the tests and who started it: orders and answers by IPC, images by pipes.
 */

/** Descriptors of the machine's process: an image leaves by the one, a byte of the other lets it go on. */
export const imagePipe = 4
export const goOnPipe = 5

export type MachineOrder =
  | { readonly op: 'run', readonly command: readonly string[] }
  | { readonly op: 'listen', readonly host: string, readonly port: number }
  /** An image leaves by one pipe; nothing moves before a byte has come by the other. */
  | { readonly op: 'stand' }
  | { readonly op: 'restore', readonly host: string, readonly port: number, readonly image: Uint8Array }
  /** Every connection is read from, and answered. */
  | { readonly op: 'go' }
  | { readonly op: 'hold' | 'read', readonly name: string, readonly on: boolean }
  | { readonly op: 'part' | 'look', readonly name: string }
  | { readonly op: 'half-open' }
  | { readonly op: 'executed' }

/** A SYN was answered, and the answer not yet. */
export interface HalfOpen {
  readonly address: string
  readonly port: number
}
