/*
 * The two halves of a TCP connection as a kernel keeps them. Places count bytes from the first one, and the
 * end of the stream counts one, as in the core. Both are plain state that can be cloned: that is what a
 * checkpoint has.
 */

/** What passes between two kernels. */
export interface Segment {
  /** Names the connection: the guest-facing port of the gateway, never used twice. */
  readonly port: number
  readonly kind: 'syn' | 'syn-ack' | 'data' | 'reset' | 'probe'
  readonly offset: number
  readonly bytes: Uint8Array
  readonly fin: boolean
  readonly ack: number
  /** Up to here the sender of this segment has room. */
  readonly edge: number
}

export const noBytes = new Uint8Array(0)

/** The log names a connection in the guest by the port that the gateway's kernel has for it. */
export function pathOf(port: number): Uint8Array {
  const path = new Uint8Array(4)
  new DataView(path.buffer).setUint32(0, port, true)
  return path
}

/** 0 where the log names none: the guest had not taken the connection. */
export function portOf(path: Uint8Array): number {
  return path.length < 4 ? 0 : new DataView(path.buffer, path.byteOffset).getUint32(0, true)
}

/** What was sent and not acknowledged, and what waits to be sent. */
export class SendHalf {
  #chunks: Uint8Array[] = []
  /** The place of the first byte kept. */
  #base: number
  /** Acknowledged, sent at least once, and written, up to here. */
  una: number
  sent: number
  written: number
  ended = false
  edge: number

  constructor(place: number, edge: number) {
    this.#base = this.una = this.sent = this.written = place
    this.edge = edge
  }

  clone(): SendHalf {
    const copy = new SendHalf(this.#base, this.edge)
    copy.#chunks = [...this.#chunks]
    copy.una = this.una
    copy.sent = this.sent
    copy.written = this.written
    copy.ended = this.ended
    return copy
  }

  /** The place after the last byte, and after the end if there is one. */
  get place(): number { return this.written + (this.ended ? 1 : 0) }
  /** Everything, and the end, was acknowledged. */
  get done(): boolean { return this.ended && this.una > this.written }

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#chunks.push(bytes)
    this.written += bytes.length
  }

  acknowledged(ack: number, edge: number): void {
    if (edge > this.edge) this.edge = edge
    if (ack <= this.una || ack > this.place) return
    this.una = ack
    if (this.sent < ack) this.sent = ack
    for (let first = this.#chunks[0]; first !== undefined; first = this.#chunks[0]) {
      if (this.#base + first.length > ack) return
      this.#base += first.length
      this.#chunks.shift()
    }
  }

  /** Sends again from the first place that is not acknowledged. */
  rewind(): void {
    this.sent = this.una
  }

  /** The next piece to send, or undefined when there is nothing or no room at the other side. */
  next(segmentBytes: number): { readonly offset: number, readonly bytes: Uint8Array,
    readonly fin: boolean } | undefined {
    const offset = this.sent
    if (offset > this.written) return undefined
    const length = Math.min(segmentBytes, this.written - offset, this.edge - offset)
    if (length <= 0 && (offset < this.written || !this.ended)) return undefined
    const bytes = length > 0 ? this.#slice(offset, length) : noBytes
    const fin = this.ended && offset + bytes.length === this.written
    this.sent = offset + bytes.length + (fin ? 1 : 0)
    return { offset, bytes, fin }
  }

  #slice(offset: number, length: number): Uint8Array {
    let place = this.#base
    for (const chunk of this.#chunks) {
      const start = offset - place
      if (start < chunk.length) return chunk.subarray(start, Math.min(chunk.length, start + length))
      place += chunk.length
    }
    return noBytes
  }
}

/** What was received and not read yet. */
export class ReceiveHalf {
  readonly capacity: number
  #unread: Uint8Array[] = []
  unreadBytes = 0
  /** The place after the last byte received, or after the end. */
  received: number
  ended = false

  constructor(place: number, capacity: number) {
    this.received = place
    this.capacity = capacity
  }

  clone(): ReceiveHalf {
    const copy = new ReceiveHalf(this.received, this.capacity)
    copy.#unread = [...this.#unread]
    copy.unreadBytes = this.unreadBytes
    copy.ended = this.ended
    return copy
  }

  /** What comes after this place has room. */
  get edge(): number { return this.received + this.capacity - this.unreadBytes }
  /** The place of the first byte that was not read. */
  get readPlace(): number { return this.received - this.unreadBytes - (this.ended ? 1 : 0) }

  /** Takes what of a segment comes next in order; returns it if there was any, and whether the end is new. */
  accept(offset: number, bytes: Uint8Array, fin: boolean): { readonly bytes: Uint8Array,
    readonly fin: boolean } {
    if (this.ended || offset > this.received) return { bytes: noBytes, fin: false }
    const fresh = bytes.subarray(Math.min(bytes.length, this.received - offset))
    if (fresh.length > 0) {
      this.#unread.push(fresh)
      this.unreadBytes += fresh.length
      this.received += fresh.length
    }
    if (!fin) return { bytes: fresh, fin: false }
    this.ended = true
    this.received++
    return { bytes: fresh, fin: true }
  }

  /** Reads up to `length` bytes. */
  take(length: number): Uint8Array {
    const first = this.#unread[0]
    if (first === undefined) return noBytes
    const bytes = first.length <= length ? first : first.subarray(0, length)
    if (bytes === first) this.#unread.shift()
    else this.#unread[0] = first.subarray(length)
    this.unreadBytes -= bytes.length
    return bytes
  }
}
