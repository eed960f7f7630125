import { TailgateError } from '../base/errors.ts'
import type { Misbehaviour } from './guest.ts'

/*
 * The channel between an engine and its guest process, on two inherited sockets:
 *
 *   descriptor 3  frames both ways:  length u32 | kind u8 | body (JSON, or bytes of an image)
 *   descriptor 4  the gate, for the moments in which the guest stands still and its event loop does not turn:
 *                 guest -> engine 'S': it stands.   engine -> guest: verdict u8 | lease deadline u64
 *
 * Both ends are of one version: the engine starts the guest program that lies beside it. So the frames carry
 * none.
 */

export const channelDescriptor = 3
export const gateDescriptor = 4

/** Pieces of an image on the channel, in bytes. */
export const imagePieceBytes = 256 * 1024
const frameBytesMax = 1024 * 1024 + 1
const headBytes = 5

/** What the guest writes to the gate when it stands still. */
export const gateStanding = 0x53
/** What the engine answers: run on and send the image, or run on and drop it. */
export const GateVerdict = { keep: 0x4b, drop: 0x44 } as const
export const gateVerdictBytes = 9

export interface Listening {
  readonly host: string
  /** One per service; 0 lets the kernel choose. */
  readonly ports: readonly number[]
}

/** Deadlines are of the machine's monotonic clock (process.hrtime), in nanoseconds, as text. */
export type OrderToGuest =
  | { readonly type: 'start', readonly listen: Listening }
  | { readonly type: 'image', readonly bytes: Uint8Array }
  /** The image is complete. */
  | { readonly type: 'restore', readonly listen: Listening }
  | { readonly type: 'open' }
  | { readonly type: 'attached' }
  | { readonly type: 'lease', readonly deadline: string }
  | { readonly type: 'stand' }
  /** What has not been sent of the image is not wanted. */
  | { readonly type: 'drop-image' }
  | { readonly type: 'misbehave', readonly how: Misbehaviour }

export type ReportOfGuest =
  | { readonly type: 'started', readonly ports: readonly number[] }
  | { readonly type: 'restored', readonly ports: readonly number[] }
  | { readonly type: 'opened' }
  | { readonly type: 'closed-unattached' }
  | { readonly type: 'image', readonly bytes: Uint8Array }
  | { readonly type: 'image-end', readonly whole: boolean }
  /** An order could not be carried out. */
  | {
    readonly type: 'refused', readonly order: OrderToGuest['type'], readonly reason: string
    /** The image is at fault. */
    readonly image: boolean
  }

export type ChannelMessage = OrderToGuest | ReportOfGuest

const textKind = 1
const imageKind = 2

/** One or two buffers, to be written one after the other. */
export function encodeMessage(message: ChannelMessage): Uint8Array[] {
  const body = message.type === 'image' ? message.bytes : Buffer.from(JSON.stringify(message))
  const head = Buffer.allocUnsafe(headBytes)
  head.writeUInt32LE(body.length + 1, 0)
  head[4] = message.type === 'image' ? imageKind : textKind
  return [head, body]
}

/** Reads frames out of any portions. */
export class ChannelReader {
  #parts: Buffer[] = []
  #length = 0

  /** Calls `each` for every whole message. Throws E_FRAME. */
  feed(bytes: Buffer, each: (message: ChannelMessage) => void): void {
    this.#parts.push(bytes)
    this.#length += bytes.length
    for (let wanted = this.#wanted(); this.#length >= wanted; wanted = this.#wanted()) {
      const all = Buffer.concat(this.#parts)
      this.#parts = [all.subarray(wanted)]
      this.#length = all.length - wanted
      const body = all.subarray(headBytes, wanted)
      if (all[4] === imageKind) each({ type: 'image', bytes: body })
      else each(JSON.parse(body.toString()) as ChannelMessage)
    }
  }

  /** Bytes that the next frame takes as far as is known. */
  #wanted(): number {
    if (this.#length < headBytes) return headBytes
    const first = this.#parts[0]
    const head = first !== undefined && first.length >= headBytes ? first : Buffer.concat(this.#parts)
    this.#parts = head === first ? this.#parts : [head]
    const length = head.readUInt32LE(0)
    if (length < 1 || length > frameBytesMax) {
      throw new TailgateError('E_FRAME', `a frame of ${length} bytes on the channel of the embedded guest`)
    }
    return length + headBytes - 1
  }
}
