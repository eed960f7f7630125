import { closeDescriptor, libc } from '../../src/net/libc.ts'
import { tcpInfo, TcpState } from '../../src/net/tcp-info.ts'
import {
  agreementOf, enterRepair, leaveRepair, nameOf, queueSequence, rebuild, receiveQueue, segmentSizeOf,
  selectQueue, sendQueue, setWindow, timestampOf, windowOf, type RepairWindow, type TcpConnection
} from '../../src/net/tcp-repair.ts'

/*
 * A whole socket as a checkpoint of its kernel would hold it, queues and all: what makes a peer in a test
 * really go back in time.
 */

export interface TcpImage extends TcpConnection {
  readonly state: number
  /** Input that its process has not read. */
  readonly unread: Buffer
  /** Output that was sent and not acknowledged, and output that was never sent. */
  readonly unacknowledged: Buffer
  readonly unsent: Buffer
  readonly window: RepairWindow
}

const siocInq = 0x541b
const siocOutq = 0x5411
const siocOutqNotSent = 0x894b
const peek = 2

function counted(descriptor: number, request: number): number {
  const count = Buffer.alloc(4)
  if (libc().ioctl(descriptor, request, count) !== 0) throw new Error(`ioctl: ${libc().lastError()}`)
  return count.readUInt32LE()
}

function peeked(descriptor: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  if (length === 0) return bytes
  const got = libc().recv(descriptor, bytes, length, peek)
  if (got !== length) throw new Error(`only ${got} of ${length} bytes: ${libc().lastError()}`)
  return bytes
}

/** How many bytes wait in each queue of a socket; a FIN that is not acknowledged counts one. */
export function queuesOf(
  descriptor: number
): { readonly unread: number, readonly unacknowledged: number, readonly unsent: number } {
  const unsent = counted(descriptor, siocOutqNotSent)
  const outstanding = counted(descriptor, siocOutq)
  return { unread: counted(descriptor, siocInq), unacknowledged: outstanding - unsent, unsent }
}

/** Looks at a connection, which goes on. */
export function dump(descriptor: number): TcpImage {
  enterRepair(descriptor)
  try {
    const { state } = tcpInfo(descriptor)
    const { sent: finSent } = finsOf(state)
    selectQueue(descriptor, receiveQueue)
    const receiveNext = queueSequence(descriptor)
    const unread = peeked(descriptor, counted(descriptor, siocInq))
    selectQueue(descriptor, sendQueue)
    const sendNext = queueSequence(descriptor)
    const outstanding = Math.max(0, counted(descriptor, siocOutq) - (finSent ? 1 : 0))
    const unsent = Math.max(0, counted(descriptor, siocOutqNotSent) - (finSent ? 1 : 0))
    const output = peeked(descriptor, outstanding)
    const window = windowOf(descriptor)
    return {
      ...agreementOf(tcpInfo(descriptor), segmentSizeOf(descriptor)),
      local: nameOf(descriptor, 'local'), remote: nameOf(descriptor, 'remote'),
      timestamp: timestampOf(descriptor), sendWindow: window.sendWindow, window, state,
      receiveNext, sendNext, unread,
      unacknowledged: output.subarray(0, outstanding - unsent),
      unsent: output.subarray(outstanding - unsent)
    }
  } finally {
    leaveRepair(descriptor)
  }
}

/** An image that went over IPC, where a Buffer becomes an object. */
export function revived(image: TcpImage): TcpImage {
  const { unread, unacknowledged, unsent } = image
  return {
    ...image, unread: Buffer.from(unread), unacknowledged: Buffer.from(unacknowledged),
    unsent: Buffer.from(unsent)
  }
}

/** The image as it is when the guest's process has ended its output a moment later, unacknowledged. */
export function withFinSent(image: TcpImage, state: number): TcpImage {
  return { ...image, state, sendNext: (image.sendNext + 1) % 2 ** 32 }
}

/** The image as it is when the other side's end has come a moment later. */
export function withFinTaken(image: TcpImage, state: number): TcpImage {
  return { ...image, state, receiveNext: (image.receiveNext + 1) % 2 ** 32 }
}

/** Whether the socket's own FIN, and the other side's, count in its sequence numbers. */
function finsOf(state: number): { readonly sent: boolean, readonly taken: boolean } {
  const { established, closeWait, lastAck, closing, timeWait } = TcpState
  return {
    sent: state !== established && state !== closeWait,
    taken: [closeWait, lastAck, closing, timeWait].some((one) => one === state)
  }
}

/**
 * Rebuilds the socket as it was, but for the ends of its streams: to those it is led by real segments (see
 * rewound-guest.ts). No packet leaves before what had never been sent.
 */
export function restore(image: TcpImage): number {
  const { unread, unacknowledged, unsent } = image
  const { sent, taken } = finsOf(image.state)
  const reached = before(image.receiveNext, taken ? 1 : 0)
  const outstanding = unacknowledged.length + unsent.length + (sent ? 1 : 0)
  const descriptor = rebuild({
    ...image, receiveNext: before(reached, unread.length), sendNext: before(image.sendNext, outstanding)
  }, { mark: 0 })
  try {
    fill(descriptor, receiveQueue, unread)
    fill(descriptor, sendQueue, unacknowledged)
    setWindow(descriptor, { ...image.window, sendSequence: reached, receiveUpdate: reached })
    leaveRepair(descriptor)
    if (unsent.length > 0) sendAll(descriptor, unsent)
    return descriptor
  } catch (error) {
    closeDescriptor(descriptor)
    throw error
  }
}

function before(sequence: number, bytes: number): number {
  return (sequence - bytes + 2 ** 32) % 2 ** 32
}

function fill(descriptor: number, queue: number, bytes: Buffer): void {
  selectQueue(descriptor, queue)
  sendAll(descriptor, bytes)
}

function sendAll(descriptor: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length;) {
    const piece = bytes.subarray(at, at + 16_384)
    const sent = libc().send(descriptor, piece, piece.length, 0)
    if (sent <= 0) throw new Error(`a queue takes no more: ${libc().lastError()}`)
    at += sent
  }
}
