import { splitInline } from './resp-inline.ts'

/*
 * RESP as clients send it: arrays of bulk strings, or a line of words ("inline").
 *
 *     buffer   | done | start of the present command ... scanned ... | end | room |
 *                      ^start                     ^at                 ^end
 *
 * Strings are binary strings: one character per byte (latin1). A snapshot needs only the bytes from `start`
 * on: fed to a new parser they bring it to the same place, so nothing else of the parser is kept.
 */

/** The longest line of words, in bytes; Redis' PROTO_INLINE_MAX_SIZE. */
export const inlineBytesMax = 64 * 1024
/** The most arguments of one command; Redis' limit too. */
export const argumentsMax = 1024 * 1024
/** The longest argument, in bytes. Redis' default is 512 MiB; a guest whose image is one buffer has less. */
export const bulkBytesMax = 64 * 1024 * 1024
/** The longest command, all arguments together, in bytes. */
export const commandBytesMax = 2 * bulkBytesMax
/** The longest `*n` or `$n` line without its end, in bytes. */
const numberLineMax = 32
const bufferBytesMin = 16 * 1024

const cr = 13
const lf = 10
const star = 42
const dollar = 36

/** The client broke the protocol: it is told the message, and its connection ends. */
export class ProtocolError extends Error {
  constructor(what: string) {
    super(`Protocol error: ${what}`)
    this.name = 'ProtocolError'
  }
}

/**
 * Takes bytes in any portions and gives whole commands. After a {@link ProtocolError} it is of no further
 * use.
 */
export class RespParser {
  #buffer: Buffer = Buffer.alloc(0)
  /** The buffer was made here, so there may be room behind `end` to write to. */
  #owned = false
  #start = 0
  #at = 0
  #end = 0
  /** Arguments still to come of the present command; -1 before its head has been read. */
  #missing = -1
  /** Length of the argument being read; -1 before its head has been read. */
  #bulk = -1
  #arguments: string[] = []
  /** Where the search for the end of an inline command goes on. */
  #searched = 0

  /** Bytes that are not part of a command given out. */
  get pendingBytes(): number {
    return this.#end - this.#start
  }

  /** A copy of those bytes. */
  pending(): Buffer {
    return Buffer.from(this.#buffer.subarray(this.#start, this.#end))
  }

  /** Takes over `bytes`, which must not change afterwards. */
  feed(bytes: Buffer): void {
    if (this.#start === this.#end) {
      this.#buffer = bytes
      this.#owned = false
      this.#start = this.#at = this.#searched = 0
      this.#end = bytes.length
      return
    }
    this.#makeRoom(bytes.length)
    bytes.copy(this.#buffer, this.#end)
    this.#end += bytes.length
  }

  /** The next whole command, or undefined until more bytes come. Throws {@link ProtocolError}. */
  next(): string[] | undefined {
    while (this.#at < this.#end) {
      if (this.#missing < 0) {
        if (this.#buffer[this.#at] !== star) {
          const words = this.#inline()
          if (words === undefined || words.length > 0) return words
          continue
        }
        if (!this.#head()) return undefined
        if (this.#missing <= 0) {
          this.#finish()
          continue
        }
      }
      return this.#bulks()
    }
    return undefined
  }

  #makeRoom(bytes: number): void {
    const kept = this.#end - this.#start
    if (this.#owned && this.#buffer.length - this.#end >= bytes) return
    const wanted = kept + bytes
    const target = this.#owned && this.#buffer.length >= wanted * 2
      ? this.#buffer
      : Buffer.allocUnsafeSlow(Math.max(bufferBytesMin, wanted * 2))
    this.#buffer.copy(target, 0, this.#start, this.#end)
    this.#buffer = target
    this.#owned = true
    this.#at -= this.#start
    this.#searched -= this.#start
    this.#start = 0
    this.#end = kept
  }

  #finish(): void {
    this.#start = this.#searched = this.#at
    this.#missing = -1
    this.#bulk = -1
  }

  #head(): boolean {
    const count = this.#number('mbulk count', 'multibulk length')
    if (count === undefined) return false
    if (count > argumentsMax) throw new ProtocolError('invalid multibulk length')
    this.#missing = count < 0 ? 0 : count
    this.#arguments = []
    return true
  }

  #bulks(): string[] | undefined {
    while (this.#missing > 0) {
      if (this.#bulk < 0) {
        if (this.#at >= this.#end) return undefined
        const first = this.#buffer[this.#at]
        if (first !== dollar) {
          throw new ProtocolError(`expected '$', got '${String.fromCharCode(first ?? 0)}'`)
        }
        const length = this.#number('bulk count', 'bulk length')
        if (length === undefined) return undefined
        if (length < 0 || length > bulkBytesMax || this.#at - this.#start + length > commandBytesMax) {
          throw new ProtocolError('invalid bulk length')
        }
        this.#bulk = length
      }
      const after = this.#at + this.#bulk
      if (after + 2 > this.#end) return undefined
      this.#arguments.push(this.#buffer.toString('latin1', this.#at, after))
      this.#at = after + 2
      this.#bulk = -1
      this.#missing -= 1
    }
    const command = this.#arguments
    this.#finish()
    return command
  }

  /**
   * The number behind the sign at `at`, and moves behind its line; undefined if the line is not there yet.
   */
  #number(lineName: string, numberName: string): number | undefined {
    const buffer = this.#buffer
    const from = this.#at + 1
    const limit = Math.min(this.#end, from + numberLineMax)
    let place = from
    while (place < limit && buffer[place] !== cr) place += 1
    if (place === from + numberLineMax) throw new ProtocolError(`too big ${lineName} string`)
    if (place + 1 >= this.#end) return undefined
    const negative = buffer[from] === 45
    let value = 0
    for (let at = negative ? from + 1 : from; at < place; at++) {
      const digit = (buffer[at] ?? 0) - 48
      if (digit < 0 || digit > 9) throw new ProtocolError(`invalid ${numberName}`)
      value = value * 10 + digit
    }
    if (place === from || (negative && place === from + 1) || value > Number.MAX_SAFE_INTEGER) {
      throw new ProtocolError(`invalid ${numberName}`)
    }
    this.#at = place + 2
    return negative ? -value : value
  }

  /** The words of a line; empty for an empty line; undefined if the line is not there yet. */
  #inline(): string[] | undefined {
    const limit = Math.min(this.#end, this.#start + inlineBytesMax)
    let place = this.#searched
    while (place < limit && this.#buffer[place] !== lf) place += 1
    this.#searched = place
    if (place === limit) {
      if (limit - this.#start === inlineBytesMax) throw new ProtocolError('too big inline request')
      return undefined
    }
    const lineEnd = place > this.#start && this.#buffer[place - 1] === cr ? place - 1 : place
    const words = splitInline(this.#buffer.toString('latin1', this.#start, lineEnd))
    if (words === undefined) throw new ProtocolError('unbalanced quotes in request')
    this.#at = place + 1
    this.#finish()
    return words
  }
}
