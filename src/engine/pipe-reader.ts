import { Socket, type OnReadOpts, type SocketConstructorOpts } from 'node:net'
import { rethrowInvariant } from '../base/invariant.ts'
import { growPipe, pipeBytes, shrinkPipe } from '../net/libc.ts'

/** Bytes are handed on in pieces of at most so many. */
const slabBytes = 256 * 1024
/** One page holds a writer; much room lets it go on early. In bytes. */
const narrowBytes = 4096
const wideBytes = 1 << 20

export interface PipeReaderEvents {
  /** So many bytes may be read before something is decided; at least one is. */
  wanted(): number
  /** What was read, handed on or not. What is thrown ends the reading, unless it is a broken invariant. */
  read(bytes: Uint8Array): void
  /** What comes next, in order; it does not change any more. */
  piece(bytes: Uint8Array): void
  /** Called once: nothing more comes. Undefined: the writer has ended. */
  over(error: unknown): void
}

/**
 * Reads a pipe no further than it is told to: what is not read stays in the pipe, and holds its writer, the
 * more surely the less the pipe takes.
 *
 *   pipe ── at most `wanted` bytes at a time ──► slab ──► pieces
 */
export class PipeReader {
  readonly #events: PipeReaderEvents
  readonly #descriptor: number
  readonly #socket: Socket
  #slab = Buffer.allocUnsafe(slabBytes)
  /** What of the slab was handed on, and what was read into it. */
  #handed = 0
  #read = 0
  #held = false
  #over = false

  /** The descriptor is this reader's from now on. */
  constructor(descriptor: number, events: PipeReaderEvents) {
    this.#events = events
    this.#descriptor = descriptor
    // The constructor takes `onread` as connect() does, which its type does not say.
    const options: SocketConstructorOpts & { readonly onread: OnReadOpts } = {
      fd: descriptor, readable: true, writable: false,
      onread: { buffer: () => this.#room(), callback: length => this.#take(length) }
    }
    this.#socket = new Socket(options)
    this.#socket.on('error', error => { this.#end(error) })
    this.#socket.on('end', () => { this.#end(undefined) })
    this.#socket.resume()
  }

  /** How much the pipe takes without being read, if it is as little as can be; undefined if it is more. */
  get narrowness(): number | undefined {
    const bytes = pipeBytes(this.#descriptor)
    return bytes <= narrowBytes ? bytes : undefined
  }

  /** Takes the pipe's room, unless more is in it. */
  narrow(): void {
    if (!this.#over) shrinkPipe(this.#descriptor, narrowBytes)
  }

  /** Gives it room again. */
  widen(): void {
    if (!this.#over) growPipe(this.#descriptor, wideBytes)
  }

  /** Nothing more is read until {@link goOn}. */
  hold(): void {
    this.#held = true
    this.#socket.pause()
  }

  goOn(): void {
    this.#held = false
    if (!this.#over) this.#socket.resume()
  }

  /** Hands on what was read. */
  hand(): void {
    if (this.#read === this.#handed) return
    this.#events.piece(this.#slab.subarray(this.#handed, this.#read))
    this.#handed = this.#read
  }

  /** Reads no more, without a word. */
  close(): void {
    this.#over = true
    this.#socket.destroy()
  }

  #room(): Uint8Array {
    if (this.#read === this.#slab.length) {
      this.hand()
      this.#slab = Buffer.allocUnsafe(slabBytes)
      this.#read = this.#handed = 0
    }
    const length = Math.max(1, Math.min(this.#events.wanted(), this.#slab.length - this.#read))
    return this.#slab.subarray(this.#read, this.#read + length)
  }

  /** False stops the reading. */
  #take(length: number): boolean {
    if (this.#over) return false
    const from = this.#read
    this.#read += length
    try {
      this.#events.read(this.#slab.subarray(from, this.#read))
    } catch (error) {
      rethrowInvariant(error)
      this.#end(error)
      return false
    }
    return !this.#held
  }

  #end(error: unknown): void {
    if (this.#over) return
    this.close()
    this.#events.over(error)
  }
}
