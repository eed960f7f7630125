/** Bytes that only grow at their end. */
export class ByteLog {
  #bytes: Uint8Array
  length = 0

  constructor(bytes: Uint8Array = new Uint8Array(64), length = 0) {
    this.#bytes = bytes
    this.length = length
  }

  clone(): ByteLog {
    return new ByteLog(this.#bytes.slice(0, Math.max(64, this.length)), this.length)
  }

  /** A view of all of it, good until something is pushed. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length)
  }

  push(bytes: Uint8Array): void {
    if (this.length + bytes.length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + bytes.length))
      larger.set(this.#bytes.subarray(0, this.length))
      this.#bytes = larger
    }
    this.#bytes.set(bytes, this.length)
    this.length += bytes.length
  }

  /** Whether `bytes` stand at the place `at`, whole. */
  holds(at: number, bytes: Uint8Array): boolean {
    if (at < 0 || at + bytes.length > this.length) return false
    for (let i = 0; i < bytes.length; i++) if (this.#bytes[at + i] !== bytes[i]) return false
    return true
  }

  /** The first place at which this and `other` differ, as far as both reach; undefined if there is none. */
  difference(other: ByteLog): number | undefined {
    const common = Math.min(this.length, other.length)
    for (let i = 0; i < common; i++) if (this.#bytes[i] !== other.#bytes[i]) return i
    return undefined
  }
}
