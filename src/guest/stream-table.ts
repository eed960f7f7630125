import type { GuestStream } from './guest-stream.ts'

/** The streams that the guest knows, by gateway process and connection, in the order in which they came. */
export class StreamTable {
  #byIncarnation = new Map<bigint, Map<number, GuestStream>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  get(incarnation: bigint, connection: number): GuestStream | undefined {
    return this.#byIncarnation.get(incarnation)?.get(connection)
  }

  add(stream: GuestStream): void {
    const streams = this.#byIncarnation.get(stream.incarnation)
    if (streams !== undefined) streams.set(stream.connection, stream)
    else this.#byIncarnation.set(stream.incarnation, new Map([[stream.connection, stream]]))
    this.#size += 1
  }

  delete(stream: GuestStream): void {
    const streams = this.#byIncarnation.get(stream.incarnation)
    if (streams?.get(stream.connection) !== stream) return
    streams.delete(stream.connection)
    this.#size -= 1
    if (streams.size === 0) this.#byIncarnation.delete(stream.incarnation)
  }

  /** A copy, so that streams may leave while it is walked over. */
  of(incarnation: bigint): GuestStream[] {
    return [...this.#byIncarnation.get(incarnation)?.values() ?? []]
  }

  all(): GuestStream[] {
    return [...this.#byIncarnation.values()].flatMap((streams) => [...streams.values()])
  }
}
