/**
 * Output that the other side has not acknowledged: what a kernel keeps in its send queue.
 *
 *     place    first         acknowledged                      end
 *     chunks   |------ ------|----- ------------ -------------|
 */
export class RetainedOutput {
  #chunks: Buffer[] = []
  /** Place of the first byte of the first chunk. */
  #first: number
  #acknowledged: number
  #end: number

  constructor(from = 0) {
    this.#first = this.#acknowledged = this.#end = from
  }

  /** Everything before this place has been acknowledged. */
  get acknowledged(): number {
    return this.#acknowledged
  }

  /** The place after the last byte. */
  get end(): number {
    return this.#end
  }

  get length(): number {
    return this.#end - this.#acknowledged
  }

  push(bytes: Buffer): void {
    this.#chunks.push(bytes)
    this.#end += bytes.length
  }

  /** Drops what lies before `place`, which may be beyond the end. */
  acknowledge(place: number): void {
    this.#acknowledged = Math.max(this.#acknowledged, Math.min(place, this.#end))
    let whole = 0
    for (const chunk of this.#chunks) {
      if (this.#first + chunk.length > this.#acknowledged) break
      this.#first += chunk.length
      whole += 1
    }
    if (whole > 0) this.#chunks.splice(0, whole)
  }

  /** Views of everything from `place` on, which must not lie before {@link acknowledged}. */
  from(place: number): Buffer[] {
    const pieces: Buffer[] = []
    let at = this.#first
    for (const chunk of this.#chunks) {
      if (at + chunk.length > place) pieces.push(at >= place ? chunk : chunk.subarray(place - at))
      at += chunk.length
    }
    return pieces
  }
}
