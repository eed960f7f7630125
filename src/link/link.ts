import type { HostName } from '../core/ids.ts'
import type { Envelope, Message } from '../core/message.ts'

/** Who is at the other end of a link, as its hello says and (but on loopback) its certificate bears out. */
export interface LinkPeer {
  readonly name: HostName
  readonly role: 'gateway' | 'agent'
}

/**
 * One established connection that carries messages in order and whole, or ends. It never loses one in the
 * middle: a bad checksum, length or version ends it with E_FRAME or E_VERSION.
 */
export interface LinkConnection {
  readonly peer: LinkPeer
  /**
   * Queues a message; those of one turn leave in one write. The bytes in it must not change any more. After
   * the end it does nothing.
   */
  send(envelope: Envelope, message: Message): void
  /** Bytes queued that the kernel has not taken. */
  readonly backlog: number
  /**
   * Resolves at once, or when the backlog has fallen below its low-water mark; rejects with E_LINK_LOST at
   * the end.
   */
  drained(): Promise<void>
  /**
   * Stops receiving, so that the other side's backlog grows instead of ours; messages that were read already
   * still arrive. A paused link does not notice that its peer is gone.
   */
  pause(): void
  resume(): void
  /** Ends the link after what is queued; `closed` follows. */
  close(): void
}

export interface LinkEvents {
  /** `message`'s bytes are views, valid for as long as they are referenced; nothing else writes to them. */
  message(envelope: Envelope, message: Message): void
  /** Once, after which nothing follows. */
  closed(reason: Error): void
}
