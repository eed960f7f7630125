import { recordDataBytesMax } from '../core/record-codec.ts'

/*
 * What the link will carry at most (docs/LINK_PROTOCOL.md, Limits). A frame that says it is longer ends the
 * link before a byte of it is stored: nobody can make the other side allocate more than the largest of these.
 */

/** Room for the fields beside the bytes that a message carries, in bytes. */
const slackBytes = 64 * 1024

/** The records of one epoch, in bytes: the largest `limits.epoch` allowed, and the record that crossed it. */
export const epochRecordsBytesMax = 16 * 1024 * 1024 + recordDataBytesMax
/** The records of one piece of the tail, in bytes: a piece holds one record at least, however long. */
export const tailRecordsBytesMax = 4 * 1024 * 1024 + recordDataBytesMax
/** One piece of a checkpoint, in bytes. */
export const checkpointDataBytesMax = 1024 * 1024

export const epochPayloadBytesMax = epochRecordsBytesMax + slackBytes
export const tailPayloadBytesMax = tailRecordsBytesMax + slackBytes
export const checkpointPayloadBytesMax = checkpointDataBytesMax + slackBytes
/** Every other message, in bytes. */
export const smallPayloadBytesMax = 128 * 1024
/** Messages before the other side is known: whoever connects cannot make us store more than this. */
export const greetingPayloadBytesMax = 2048

/** A reason or an address, in bytes of UTF-8; a longer reason is cut, because it is for people. */
export const textBytesMax = 1024
/** The name of a guest, gateway or agent, in bytes of UTF-8. */
export const nameBytesMax = 255
/** Endpoints of one guest: one per service. */
export const endpointsMax = 256

/** How one link behaves; every field has a default in {@link defaultLinkLimits}. */
export interface LinkLimits {
  /** From the TCP connection to the end of the hello exchange, in milliseconds. */
  readonly handshakeMs: number
  /** How often a silent peer is asked for a sign of life, in milliseconds; 0 for never. */
  readonly pingMs: number
  /** A link ends when this many pings in a row brought nothing. */
  readonly pingMisses: number
  /** How long a closing link waits for the other side to take what is queued, in milliseconds. */
  readonly closeMs: number
  /** `drained()` waits from this backlog on, in bytes... */
  readonly backlogHighBytes: number
  /** ...until it has fallen to this. */
  readonly backlogLowBytes: number
  /**
   * A sender that goes on regardless loses the link here, in bytes: memory is not endless. It must be above
   * what the guests of a gateway may have in flight together.
   */
  readonly backlogBytesMax: number
  /** Links that one listener holds at a time; more are closed at once. */
  readonly linksMax: number
}

export const defaultLinkLimits: LinkLimits = {
  handshakeMs: 5000,
  pingMs: 2000,
  pingMisses: 3,
  closeMs: 1000,
  backlogHighBytes: 4 * 1024 * 1024,
  backlogLowBytes: 1024 * 1024,
  backlogBytesMax: 1024 * 1024 * 1024,
  linksMax: 256
}
