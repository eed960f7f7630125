const bytesMin = 512
/** Strings up to this length are copied in a loop, which is then cheaper than a call into the runtime. */
const loopCharsMax = 24

const okLine = Buffer.from('+OK\r\n')
const pongLine = Buffer.from('+PONG\r\n')
const queuedLine = Buffer.from('+QUEUED\r\n')
const nilBulk2 = Buffer.from('$-1\r\n')
const nilArray2 = Buffer.from('*-1\r\n')
const nil3 = Buffer.from('_\r\n')

/**
 * Collects the replies of one connection during one turn of the event loop. What {@link take} hands over is
 * never touched again, so it can wait for its acknowledgement without a copy.
 */
export class ReplyWriter {
  /** RESP version that the client asked for with HELLO. */
  protocol: 2 | 3 = 2
  #buffer: Buffer | undefined
  #used = 0
  /** A guess at what the next turn writes: what the last one did. */
  #expected = bytesMin

  get length(): number {
    return this.#used
  }

  /** What was written since the last call; undefined if nothing. */
  take(): Buffer | undefined {
    const buffer = this.#buffer
    if (buffer === undefined || this.#used === 0) return undefined
    const taken = buffer.subarray(0, this.#used)
    this.#expected = Math.min(Math.max(bytesMin, this.#used), 64 * 1024)
    this.#buffer = undefined
    this.#used = 0
    return taken
  }

  /** Forgets everything written after `length`: the command failed halfway. */
  rewind(length: number): void {
    this.#used = length
  }

  ok(): void { this.#constant(okLine) }
  pong(): void { this.#constant(pongLine) }
  queued(): void { this.#constant(queuedLine) }
  nil(): void { this.#constant(this.protocol === 3 ? nil3 : nilBulk2) }
  nilArray(): void { this.#constant(this.protocol === 3 ? nil3 : nilArray2) }

  simple(text: string): void { this.#line(43, text) }
  /** `text` with its code in front, such as `ERR ...`. */
  error(text: string): void { this.#line(45, text.replace(/[\r\n]/g, ' ')) }
  integer(value: number | bigint): void { this.#line(58, String(value)) }

  array(length: number): void { this.#line(42, String(length)) }
  /** A map of so many pairs; in RESP2 a flat array. */
  map(pairs: number): void {
    if (this.protocol === 3) this.#line(37, String(pairs))
    else this.#line(42, String(pairs * 2))
  }

  /** A set; in RESP2 an array. */
  set(length: number): void { this.#line(this.protocol === 3 ? 126 : 42, String(length)) }
  /** A message the client did not ask for; in RESP2 an array. */
  push(length: number): void { this.#line(this.protocol === 3 ? 62 : 42, String(length)) }

  bulk(text: string): void {
    this.#line(36, String(text.length))
    this.#text(text, 2)
    this.#crlf()
  }

  bulkOrNil(text: string | undefined): void {
    if (text === undefined) this.nil()
    else this.bulk(text)
  }

  bulks(texts: readonly string[]): void {
    this.array(texts.length)
    for (const text of texts) this.bulk(text)
  }

  #room(bytes: number): Buffer {
    const buffer = this.#buffer
    const needed = this.#used + bytes
    if (buffer !== undefined && needed <= buffer.length) return buffer
    const grown = Buffer.allocUnsafe(Math.max(this.#expected, needed, (buffer?.length ?? 0) * 2))
    buffer?.copy(grown, 0, 0, this.#used)
    this.#buffer = grown
    return grown
  }

  #constant(bytes: Buffer): void {
    this.#room(bytes.length).set(bytes, this.#used)
    this.#used += bytes.length
  }

  #line(sign: number, text: string): void {
    const buffer = this.#room(text.length + 3)
    buffer[this.#used++] = sign
    this.#text(text, 2)
    this.#crlf()
  }

  #text(text: string, roomAfter: number): void {
    const length = text.length
    const buffer = this.#room(length + roomAfter)
    if (length <= loopCharsMax) {
      for (let at = 0; at < length; at++) buffer[this.#used + at] = text.charCodeAt(at)
    } else {
      buffer.write(text, this.#used, 'latin1')
    }
    this.#used += length
  }

  #crlf(): void {
    const buffer = this.#room(2)
    buffer[this.#used++] = 13
    buffer[this.#used++] = 10
  }
}
