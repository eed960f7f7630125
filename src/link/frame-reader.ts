import { crc32 } from 'node:zlib'
import { TailgateError } from '../base/errors.ts'
import { generation } from '../core/ids.ts'
import type { Envelope } from '../core/message.ts'
import {
  emptyHead, greetingVersion, headBytes, historyOf, linkEnvelope, protocolVersionMax, protocolVersionMin,
  readHead
} from './frame.ts'
import { codecNumbered, greetingTypes, type AnyCodec, type WireMessage } from './message-codec.ts'
import { decodeText, PayloadReader } from './payload.ts'

/**
 * Takes the bytes of a link as they come and hands out the messages in them.
 *
 * A frame that lies whole in a chunk is read where it is, and the message's bytes are views of the chunk,
 * which must not be written to again. One that does not, or whose chunk is only lent, is gathered in a buffer
 * of its own:
 *
 *     chunk   |··frame··|··frame··|··fra|      |me··|··frame··|
 *                                  └─────┬─────────┘
 *                                 buffer of its own
 *
 * Any bytes at all end in messages or in E_FRAME or E_VERSION; after that it must not be used again. It never
 * holds more than one frame, whose length its type limits.
 */
export class FrameReader {
  /** The version agreed on in the greeting; before that, nothing but greetings is read. */
  version = greetingVersion
  readonly #deliver: (envelope: Envelope, message: WireMessage) => void
  readonly #payload = new PayloadReader()
  readonly #head = emptyHead()
  readonly #partialHead = Buffer.allocUnsafeSlow(headBytes)
  #partialHeadLength = 0
  /** The codec of the frame whose head has been read and whose body has not. */
  #codec: AnyCodec | undefined
  #partialBody: Buffer | undefined
  #partialBodyLength = 0
  #stopped = false
  #envelope: Envelope = linkEnvelope
  #nameBytes: Buffer = Buffer.alloc(0)
  #historyHigh = 0
  #historyLow = 0

  /** @param deliver is called within {@link push}, once for each message */
  constructor(deliver: (envelope: Envelope, message: WireMessage) => void) {
    this.#deliver = deliver
  }

  /** Whether the last byte was in the middle of a frame. */
  get inFrame(): boolean {
    return this.#partialHeadLength > 0 || this.#codec !== undefined
  }

  /** Makes {@link push} return after the message that is being delivered; nothing follows. */
  stop(): void {
    this.#stopped = true
  }

  /** Takes the next bytes; `lent`: only until this returns. Throws E_FRAME or E_VERSION. */
  push(chunk: Buffer, lent = false): void {
    let at = 0
    while (at < chunk.length && !this.#stopped) {
      at = this.#codec === undefined
        ? this.#takeHead(chunk, at)
        : this.#takeBody(chunk, at, lent, this.#codec)
    }
  }

  #takeHead(chunk: Buffer, at: number): number {
    const have = this.#partialHeadLength
    if (have === 0 && chunk.length - at >= headBytes) {
      readHead(chunk, at, this.#head)
      this.#headRead()
      return at + headBytes
    }
    const end = Math.min(chunk.length, at + headBytes - have)
    chunk.copy(this.#partialHead, have, at, end)
    this.#partialHeadLength += end - at
    if (this.#partialHeadLength === headBytes) {
      this.#partialHeadLength = 0
      readHead(this.#partialHead, 0, this.#head)
      this.#headRead()
    }
    return end
  }

  #headRead(): void {
    const { version, type, payloadLength, nameLength } = this.#head
    const isGreeting = greetingTypes.includes(type)
    const codec = codecNumbered(type)
    if (codec === undefined || isGreeting !== (version === greetingVersion)) {
      throw new TailgateError('E_FRAME', `a message of type ${type} has no place here in the protocol`, {
        context: { type, version }
      })
    }
    if (!isGreeting && version !== this.version) throw this.#wrongVersion(version)
    if (payloadLength > codec.payloadBytesMax) {
      throw new TailgateError('E_FRAME', `a message of type ${type} is longer than its limit`, {
        context: { type, payloadLength, payloadBytesMax: codec.payloadBytesMax }
      })
    }
    this.#codec = codec
    if (nameLength + payloadLength === 0) this.#bodyRead(nothing, codec)
  }

  #takeBody(chunk: Buffer, at: number, lent: boolean, codec: AnyCodec): number {
    const length = this.#head.nameLength + this.#head.payloadLength
    if (this.#partialBody === undefined) {
      if (chunk.length - at >= length) {
        const body = chunk.subarray(at, at + length)
        this.#bodyRead(lent ? Buffer.from(body) : body, codec)
        return at + length
      }
      this.#partialBody = Buffer.allocUnsafeSlow(length)
      this.#partialBodyLength = 0
    }
    const body = this.#partialBody
    const end = Math.min(chunk.length, at + length - this.#partialBodyLength)
    chunk.copy(body, this.#partialBodyLength, at, end)
    this.#partialBodyLength += end - at
    if (this.#partialBodyLength === length) {
      this.#partialBody = undefined
      this.#bodyRead(body, codec)
    }
    return end
  }

  #bodyRead(body: Buffer, codec: AnyCodec): void {
    const head = this.#head
    if (crc32(body) !== head.bodyCrc) {
      throw new TailgateError('E_FRAME', 'a frame on the link is damaged: its checksum is wrong', {
        context: { type: head.type, payloadLength: head.payloadLength }
      })
    }
    this.#codec = undefined
    const envelope = this.#envelopeOf(body)
    this.#payload.begin(body, head.nameLength)
    const message = codec.read(this.#payload)
    this.#payload.finish()
    this.#deliver(envelope, message)
  }

  /** The last frame's envelope, if this one's says the same: it seldom changes, and so costs nothing. */
  #envelopeOf(body: Buffer): Envelope {
    const head = this.#head
    const known = this.#envelope
    if (head.generation === known.generation && head.historyLow === this.#historyLow
      && head.historyHigh === this.#historyHigh && head.nameLength === this.#nameBytes.length
      && body.compare(this.#nameBytes, 0, head.nameLength, 0, head.nameLength) === 0) return known
    const name = Buffer.from(body.subarray(0, head.nameLength))
    this.#envelope = {
      guest: decodeText(name),
      generation: generation(head.generation),
      history: historyOf(head.historyHigh, head.historyLow)
    }
    this.#nameBytes = name
    this.#historyHigh = head.historyHigh
    this.#historyLow = head.historyLow
    return this.#envelope
  }

  #wrongVersion(version: number): TailgateError {
    const sentence = this.version === greetingVersion
      ? `the other side began with a frame of version ${version} instead of a hello`
      : `a frame of version ${version} came on a link that speaks version ${this.version}`
    return new TailgateError('E_VERSION', sentence, {
      context: { version, ours: [protocolVersionMin, protocolVersionMax] }
    })
  }
}

const nothing = Buffer.alloc(0)
