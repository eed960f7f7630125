import { join } from 'node:path'

/** A Linux `sun_path` has 108 bytes, the last of which is 0; a longer path would be cut without a word. */
export const socketPathMax = 107

/** Where a QEMU of the agent's own sends its checkpoints: in a directory that only the agent's user opens. */
export function ownStreamSocket(directory: string): string {
  return join(directory, 'stream.sock')
}

/** Where one that somebody else has started does: beside its control socket, where it can reach it. */
export function attachedStreamSocket(control: string): string {
  return `${control}.stream`
}
