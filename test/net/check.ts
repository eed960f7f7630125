import type { Test } from 'tap'
import type { DescriptorRoom as Room } from '../../src/net/descriptor-room.ts'
import type { Sockets } from '../../src/net/sockets.ts'

export const mebibyte = 1 << 20

export type MakeSockets = (room: Room) => Sockets

export interface Exactness {
  /** Resets are told as such even right behind unread data. */
  readonly resetBehindData: boolean
}

/** One case of the compliance suite, with sockets of its own; `skip` says why it cannot be run here. */
export type Check = (
  name: string, body: (t: Test, sockets: Sockets) => Promise<void>, skip?: string | false
) => void
