import {
  FrameEncoder, flatFrame, greetingVersion, linkEnvelope, protocolVersionMax
} from '../../src/link/frame.ts'
import { FrameReader } from '../../src/link/frame-reader.ts'
import type { Envelope } from '../../src/core/message.ts'
import type { WireMessage } from '../../src/link/message-codec.ts'

export interface Framed {
  readonly envelope: Envelope
  readonly message: WireMessage
}

export const isGreeting = ({ type }: WireMessage): boolean => type === 'hello' || type === 'refused'

export const versionOf = (message: WireMessage): number => {
  return isGreeting(message) ? greetingVersion : protocolVersionMax
}

/** `message` as one frame of the version that it has its place in. */
export function frameOf({ envelope, message }: Framed, encoder = new FrameEncoder()): Buffer {
  return flatFrame(encoder.encode(versionOf(message), envelope, message))
}

/** A reader of messages of `version`, and what it has read. */
export function readerOf(version: number): { reader: FrameReader, read: Framed[] } {
  const read: Framed[] = []
  const reader = new FrameReader((envelope, message) => { read.push({ envelope, message }) })
  reader.version = version
  return { reader, read }
}

/** What is in `bytes`, which must hold whole frames of `version`. */
export function framesIn(bytes: Buffer, version: number): Framed[] {
  const { reader, read } = readerOf(version)
  reader.push(bytes)
  if (reader.inFrame) throw new Error('the bytes end in the middle of a frame')
  return read
}

export { linkEnvelope }
