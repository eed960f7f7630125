import type { Envelope } from '../../src/core/message.ts'
import { RecordCursor } from '../../src/core/record-codec.ts'
import { RecordKind } from '../../src/core/record.ts'
import { FrameReader } from '../../src/link/frame-reader.ts'
import { protocolVersionMax } from '../../src/link/frame.ts'
import type { WireMessage } from '../../src/link/message-codec.ts'
import type { Direction, Forwarder } from './forwarder.ts'

export interface SpiedMessage {
  readonly direction: Direction
  readonly envelope: Envelope
  readonly message: WireMessage
}

/** Reads along on a plain link: `told` gets each message just before the last of its bytes passes. */
export function spy(forwarder: Forwarder, told: (spied: SpiedMessage) => void): void {
  const readers = new Map<string, FrameReader>()
  forwarder.watch((connection, direction, bytes) => {
    const key = `${direction} ${connection}`
    const reader = readers.get(key) ?? new FrameReader((envelope, message) => {
      // Both sides are of one release here, so its newest version is the one they agree on.
      if (message.type === 'hello') reader.version = protocolVersionMax
      told({ direction, envelope, message })
    })
    readers.set(key, reader)
    reader.push(bytes)
  })
}

/** What the link to a backup has shown of its present history: the inputs, and what was acknowledged. */
export class CommitWatch {
  #inputs: { readonly lsn: number, readonly text: string }[] = []
  #acknowledged = 0

  constructor(forwarder: Forwarder) {
    spy(forwarder, ({ message }) => { this.#take(message) })
  }

  /** The gateway has been sent the backup's word that it holds this input. */
  committed(input: string): boolean {
    return this.#inputs.some(({ text, lsn }) => lsn <= this.#acknowledged && text.includes(input))
  }

  #take(message: WireMessage): void {
    if (message.type === 'ack') this.#acknowledged = message.lsn
    if (message.type === 'begin') {
      this.#inputs = []
      this.#acknowledged = 0
    }
    if (message.type !== 'epoch') return
    const cursor = new RecordCursor(Buffer.concat(message.records))
    for (let lsn: number = message.firstLsn; cursor.next(); lsn++) {
      if (cursor.kind !== RecordKind.data) continue
      this.#inputs.push({ lsn, text: Buffer.from(cursor.payload()).toString('latin1') })
    }
  }
}
