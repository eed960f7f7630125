import type { Socket } from 'node:net'
import { TailgateError, messageOf } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import type { Envelope, Message } from '../core/message.ts'
import { byteStream, type ByteStream } from '../net/lean-stream.ts'
import { FrameEncoder, greetingVersion, linkEnvelope } from './frame.ts'
import { FrameReader } from './frame-reader.ts'
import { agreeVersion, helloOf, type Hello, type LinkSelf } from './greeting.ts'
import type { LinkConnection, LinkEvents, LinkPeer } from './link.ts'
import type { LinkLimits } from './limits.ts'
import type { LinkMessage, RefusalCode, WireMessage } from './message-codec.ts'

/** When the kernel asks whether a silent TCP connection is still there, in milliseconds; beside our pings. */
const keepAliveDelayMs = 10_000

export interface SocketLinkOptions {
  readonly self: LinkSelf
  readonly limits: LinkLimits
  /** The side that dialed says hello first; the other one answers only whom it believes. */
  readonly dialed: boolean
  /** Who the other side is, by its hello; throws E_AUTH if it may not be. */
  believe(hello: Hello): LinkPeer
  /** The link is up; messages go to what is returned, from the next one on. */
  up(link: LinkConnection): LinkEvents
  /** The link ended before it was up. */
  failed(error: TailgateError): void
}

/**
 * - `greeting`: the other side's hello is awaited
 * - `open`: messages pass
 * - `closing`: what is queued goes out, what comes in is dropped
 * - `closed`: the socket is destroyed or about to be
 */
type Phase =
  | { readonly name: 'greeting' }
  | { readonly name: 'open', readonly peer: LinkPeer, readonly events: LinkEvents }
  | {
    readonly name: 'closing' | 'closed', readonly reason: TailgateError
    /** Undefined if it never was up. */
    readonly events: LinkEvents | undefined
  }

interface Waiter {
  resolve(): void
  reject(error: Error): void
}

/** A link over a socket, which it owns: a connected TCP one, or a TLS one whose handshake is done. */
export class SocketLink implements LinkConnection {
  readonly #socket: Socket
  readonly #stream: ByteStream
  readonly #options: SocketLinkOptions
  readonly #encoder = new FrameEncoder()
  readonly #reader = new FrameReader((envelope, message) => this.#take(envelope, message))
  #phase: Phase = { name: 'greeting' }
  #peer: LinkPeer | undefined
  #waiters: Waiter[] = []
  #paused = false
  #heard = true
  #silences = 0
  #timer: NodeJS.Timeout | undefined

  constructor(socket: Socket, options: SocketLinkOptions) {
    this.#socket = socket
    this.#options = options
    socket.setNoDelay(true)
    socket.setKeepAlive(true, keepAliveDelayMs)
    this.#stream = byteStream(socket, {
      data: (chunk, lent) => this.#received(chunk, lent),
      written: () => this.#written()
    })
    socket.on('end', () => this.#ended())
    socket.on('error', (cause: Error) => this.#broke(cause))
    socket.on('close', () => this.#closed())
    const { handshakeMs } = options.limits
    this.#timer = setTimeout(() => this.#end(silent(handshakeMs)), handshakeMs)
    if (options.dialed) this.#write(greetingVersion, linkEnvelope, helloOf(options.self))
  }

  get peer(): LinkPeer {
    invariant(this.#peer !== undefined, 'the peer of a link that is not up')
    return this.#peer
  }

  get backlog(): number {
    return this.#stream.backlog
  }

  send(envelope: Envelope, message: Message): void {
    if (this.#phase.name !== 'open') return
    this.#write(this.#reader.version, envelope, message)
    const { backlogBytesMax } = this.#options.limits
    if (this.backlog <= backlogBytesMax) return
    this.#end(lost(`the other side takes too little: more than ${backlogBytesMax} bytes are queued for it`))
  }

  drained(): Promise<void> {
    const phase = this.#phase
    if (phase.name === 'closing' || phase.name === 'closed') return Promise.reject(phase.reason)
    if (this.backlog <= this.#options.limits.backlogHighBytes) return Promise.resolve()
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }))
  }

  pause(): void {
    this.#paused = true
    this.#stream.pause()
  }

  resume(): void {
    this.#paused = false
    this.#silences = 0
    this.#stream.resume()
  }

  close(): void {
    this.#closeAfterQueued(lost('the link was closed by this side'))
  }

  /** Queues one frame; those of one turn are gathered, and the kernel gets them in one writev. */
  #write(version: number, envelope: Envelope, message: WireMessage): void {
    const { head, slices } = this.#encoder.encode(version, envelope, message)
    this.#stream.write(head, slices)
  }

  #written(): void {
    if (this.#waiters.length === 0 || this.backlog > this.#options.limits.backlogLowBytes) return
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) waiter.resolve()
  }

  #received(chunk: Buffer, lent: boolean): void {
    this.#heard = true
    try {
      this.#reader.push(chunk, lent)
    } catch (error) {
      if (!(error instanceof TailgateError)) throw error
      if (this.#phase.name === 'greeting') this.#refuse(error)
      else if (error.code === 'E_FRAME' || error.code === 'E_VERSION') this.#end(error)
      else throw error
    }
  }

  #take(envelope: Envelope, message: WireMessage): void {
    if (message.type === 'hello') {
      if (this.#phase.name === 'greeting') this.#greet(message)
      else throw new TailgateError('E_FRAME', 'the other side said hello twice')
    } else if (message.type === 'refused') this.#end(refusedBy(message))
    else if (message.type === 'ping') this.#write(this.#reader.version, linkEnvelope, { type: 'pong' })
    else if (message.type !== 'pong' && this.#phase.name === 'open') {
      this.#phase.events.message(envelope, message)
    }
  }

  #greet(hello: Hello): void {
    const { dialed, limits } = this.#options
    const ours = helloOf(this.#options.self)
    this.#reader.version = agreeVersion(ours, hello)
    const peer = this.#options.believe(hello)
    if (!dialed) this.#write(greetingVersion, linkEnvelope, ours)
    clearTimeout(this.#timer)
    if (limits.pingMs > 0) this.#timer = setInterval(() => this.#ping(), limits.pingMs)
    this.#peer = peer
    this.#phase = { name: 'open', peer, events: noEvents }
    const events = this.#options.up(this)
    // The user may have closed the link at once, and wants to hear of it all the same.
    this.#phase = { ...this.#phase, events }
  }

  #ping(): void {
    if (this.#paused) return
    if (this.#heard) {
      this.#heard = false
      this.#silences = 0
    } else if (++this.#silences > this.#options.limits.pingMisses) {
      this.#end(lost(`the other side was silent for ${this.#silences} pings`))
      return
    }
    this.#write(this.#reader.version, linkEnvelope, { type: 'ping' })
  }

  /** Ends a link that is not up, and tells the other side why. */
  #refuse(error: TailgateError): void {
    const refusal = { type: 'refused', code: refusalCode(error), reason: error.message } as const
    this.#write(greetingVersion, linkEnvelope, refusal)
    this.#closeAfterQueued(error)
  }

  #closeAfterQueued(reason: TailgateError): void {
    if (!this.#leave('closing', reason)) return
    this.#timer = setTimeout(() => this.#socket.destroy(), this.#options.limits.closeMs)
    this.#stream.resume()
    this.#stream.end()
  }

  #end(reason: TailgateError): void {
    if (this.#leave('closed', reason)) this.#socket.destroy()
  }

  /** Goes to a phase from which there is no return; false if the link was there already. */
  #leave(name: 'closing' | 'closed', reason: TailgateError): boolean {
    const phase = this.#phase
    if (phase.name === 'closing' || phase.name === 'closed') return false
    this.#phase = { name, reason, events: phase.name === 'open' ? phase.events : undefined }
    this.#reader.stop()
    clearTimeout(this.#timer)
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) waiter.reject(reason)
    return true
  }

  #ended(): void {
    const where = this.#reader.inFrame ? 'in the middle of a message' : 'between two messages'
    this.#end(lost(this.#phase.name === 'greeting'
      ? 'the other side closed the link without a hello: its log may say why'
      : `the other side ended the link ${where}`))
  }

  #broke(cause: Error): void {
    this.#end(brokenBy(cause, this.#phase.name === 'greeting'))
  }

  #closed(): void {
    this.#end(lost('the link broke'))
    clearTimeout(this.#timer)
    const phase = this.#phase
    invariant(phase.name === 'closing' || phase.name === 'closed', 'a closed socket whose link is not')
    if (phase.events === undefined) this.#options.failed(phase.reason)
    else phase.events.closed(phase.reason)
  }
}

const noEvents: LinkEvents = { message: () => undefined, closed: () => undefined }

function lost(sentence: string, cause?: unknown): TailgateError {
  return new TailgateError('E_LINK_LOST', sentence, { cause })
}

/**
 * What a socket's error means. In TLS 1.3 the dialing side is done before the other side has judged its
 * certificate, so the verdict arrives as an alert in the place of the hello.
 */
export function brokenBy(cause: Error, beforeUp: boolean): TailgateError {
  if (cause instanceof TailgateError) return cause
  const code = (cause as NodeJS.ErrnoException).code ?? ''
  if (beforeUp && (code.startsWith('ERR_SSL') || code.startsWith('ERR_TLS'))) {
    return new TailgateError('E_AUTH', `TLS with the other side failed: ${messageOf(cause)}`, { cause })
  }
  return lost(`the link broke: ${messageOf(cause)}`, cause)
}

function refusalCode(error: TailgateError): RefusalCode {
  return error.code === 'E_FRAME' || error.code === 'E_VERSION' ? error.code : 'E_AUTH'
}

function refusedBy(message: Extract<LinkMessage, { type: 'refused' }>): TailgateError {
  return new TailgateError(message.code, `the other side refused the link: ${message.reason}`)
}

function silent(handshakeMs: number): TailgateError {
  return new TailgateError('E_TIMEOUT', `the other side did not say who it is within ${handshakeMs} ms`)
}
