import { inet, inet6, socketAddress, endpointOf, type Endpoint } from './ip-address.ts'
import { callFailed, closeDescriptor, libc } from './libc.ts'
import { getBytes, getNumber, setBytes, setMark, setNumber, setTransparent } from './socket-options.ts'
import { levelTcp, tcpInfo, type TcpInfo } from './tcp-info.ts'

/*
 * TCP_REPAIR (linux/tcp.h, net/ipv4/tcp.c; needs CAP_NET_ADMIN): the kernel's way to take a connection apart
 * and to put it together again without a packet, made for CRIU. The order in which a socket is rebuilt is
 * that of CRIU's libsoccr.
 */

const tcpMaxSegment = 2
const tcpRepair = 19
const tcpRepairQueue = 20
const tcpQueueSequence = 21
const tcpRepairOptions = 22
const tcpTimestamp = 24
const tcpRepairWindow = 29

const off = 0
const on = 1
/** Leaves repair mode without the window probe that {@link off} sends. */
const offSilently = -1

const noQueue = 0
export const receiveQueue = 1
export const sendQueue = 2

/** Kinds of TCP options (RFC 9293, 3.1; RFC 7323; RFC 2018). */
const optionMss = 2
const optionScale = 3
const optionSack = 4
const optionTimestamps = 8

const streamType = 1
const nonBlocking = 0o4000
const closeOnExec = 0o2000000

/** What both ends agreed on when the connection was made, and keep for its life. */
export interface TcpAgreement {
  /** The largest segment that the other side takes, in bytes. */
  readonly mss: number
  /** By how many bits windows are shifted (RFC 7323, 2); undefined where no scaling was agreed on. */
  readonly scales: { readonly send: number, readonly receive: number } | undefined
  readonly sack: boolean
  readonly timestamps: boolean
}

/** A connection that is to be put together, with nothing in its queues. */
export interface TcpConnection extends TcpAgreement {
  readonly local: Endpoint
  readonly remote: Endpoint
  /** The sequence number of the next byte that this side sends, and of the next one that it expects. */
  readonly sendNext: number
  readonly receiveNext: number
  /** TSval for a packet that leaves now. Ignored without timestamps. */
  readonly timestamp: number
  /** How much the other side lets this one send, in bytes. */
  readonly sendWindow: number
}

/** struct tcp_repair_window. */
export interface RepairWindow {
  readonly sendSequence: number
  readonly sendWindow: number
  readonly maxWindow: number
  readonly receiveWindow: number
  readonly receiveUpdate: number
}

/** Where both streams of a connection begin, and what was agreed on. */
export interface TcpOrigin extends TcpAgreement {
  readonly local: Endpoint
  readonly remote: Endpoint
  /** Sequence numbers of the first byte in either direction. */
  readonly sendBase: number
  readonly receiveBase: number
  /** TSval of a packet that would leave now. */
  readonly timestamp: number
}

/** Segments that arrive may spoil a look, but hardly so many in a row. */
const looksMax = 100
const bytesNotAcknowledged = 0x5411

/** What the calls below write into. */
const count = Buffer.alloc(4)
const address = Buffer.alloc(28)
const size = Buffer.alloc(4)

/**
 * Reads where a connection of this machine began, from what it has sent and received since. The other side
 * may have said something already. For a connection that this machine opened; needs CAP_NET_ADMIN. Throws
 * E_ATTACH.
 */
export function originOf(descriptor: number): TcpOrigin {
  for (let look = 0; look < looksMax; look++) {
    const before = tcpInfo(descriptor)
    const seen = lookInside(descriptor)
    const after = tcpInfo(descriptor)
    if (before.bytesAcked !== after.bytesAcked || before.bytesReceived !== after.bytesReceived) continue
    const { sendNext, receiveNext, unacknowledged, mss } = seen
    return {
      ...agreementOf(after, mss), local: nameOf(descriptor, 'local'), remote: nameOf(descriptor, 'remote'),
      timestamp: timestampOf(descriptor),
      // The SYN counts among what is acknowledged, and not among what was received.
      sendBase: wrapped(sendNext - unacknowledged - after.bytesAcked + 1),
      receiveBase: wrapped(receiveNext - after.bytesReceived)
    }
  }
  throw callFailed('the origin of a connection cannot be read, it moves too fast', 'EAGAIN')
}

function lookInside(descriptor: number): {
  sendNext: number, receiveNext: number, unacknowledged: number, mss: number
} {
  enterRepair(descriptor)
  try {
    selectQueue(descriptor, sendQueue)
    const sendNext = queueSequence(descriptor)
    selectQueue(descriptor, receiveQueue)
    const receiveNext = queueSequence(descriptor)
    if (libc().ioctl(descriptor, bytesNotAcknowledged, count) !== 0) throw callFailed('SIOCOUTQ')
    return { sendNext, receiveNext, unacknowledged: count.readUInt32LE(), mss: segmentSizeOf(descriptor) }
  } finally {
    leaveRepair(descriptor)
  }
}

/** Numbers come from this side of 2^53, of which sequence numbers keep the low 32 bits. */
function wrapped(number: number): number {
  const rest = number % 2 ** 32
  return rest < 0 ? rest + 2 ** 32 : rest
}

function setRepair(descriptor: number, mode: number): void {
  setNumber(descriptor, levelTcp, tcpRepair, mode, 'TCP_REPAIR')
}

export function enterRepair(descriptor: number): void {
  setRepair(descriptor, on)
}

/** `probing`: a segment leaves that tells the other side this one's place and window, and is answered. */
export function leaveRepair(descriptor: number, probing = false): void {
  selectQueue(descriptor, noQueue)
  setRepair(descriptor, probing ? off : offSilently)
}

/** What is read and written in repair mode, and whose sequence number is meant. */
export function selectQueue(descriptor: number, queue: number): void {
  setNumber(descriptor, levelTcp, tcpRepairQueue, queue, 'TCP_REPAIR_QUEUE')
}

/** Of the selected queue: where the next byte that is written, or that arrives, belongs. */
export function queueSequence(descriptor: number): number {
  return getNumber(descriptor, levelTcp, tcpQueueSequence, 'TCP_QUEUE_SEQ')
}

/** Possible only while the socket is not connected. */
export function setQueueSequence(descriptor: number, sequence: number): void {
  setNumber(descriptor, levelTcp, tcpQueueSequence, sequence, 'TCP_QUEUE_SEQ')
}

/** The largest segment that the other side takes; only in repair mode is it told. */
export function segmentSizeOf(descriptor: number): number {
  return getNumber(descriptor, levelTcp, tcpMaxSegment, 'TCP_MAXSEG')
}

/** What was agreed on. */
export function agreementOf(info: TcpInfo, mss: number): TcpAgreement {
  const { sack, timestamps, sendScale, receiveScale } = info
  const scales = sendScale === undefined || receiveScale === undefined
    ? undefined : { send: sendScale, receive: receiveScale }
  return { mss, scales, sack, timestamps }
}

/** TSval of a packet that would leave now, without the bit that tells microseconds (Linux 6.7). */
export function timestampOf(descriptor: number): number {
  return (getNumber(descriptor, levelTcp, tcpTimestamp, 'TCP_TIMESTAMP') & ~1) >>> 0
}

export function windowOf(descriptor: number): RepairWindow {
  const bytes = Buffer.alloc(20)
  getBytes(descriptor, levelTcp, tcpRepairWindow, bytes, 'TCP_REPAIR_WINDOW')
  const [sendSequence, sendWindow, maxWindow, receiveWindow, receiveUpdate] =
    [0, 4, 8, 12, 16].map((at) => bytes.readUInt32LE(at)) as [number, number, number, number, number]
  return { sendSequence, sendWindow, maxWindow, receiveWindow, receiveUpdate }
}

export function setWindow(descriptor: number, window: RepairWindow): void {
  const { sendSequence, sendWindow, maxWindow, receiveWindow, receiveUpdate } = window
  const bytes = Buffer.alloc(20)
  for (const [n, value] of [sendSequence, sendWindow, maxWindow, receiveWindow, receiveUpdate].entries()) {
    bytes.writeUInt32LE(value, n * 4)
  }
  setBytes(descriptor, levelTcp, tcpRepairWindow, bytes, 'TCP_REPAIR_WINDOW')
}

export function nameOf(descriptor: number, end: 'local' | 'remote'): Endpoint {
  size.writeUInt32LE(address.length)
  const { getsockname, getpeername } = libc()
  const done = (end === 'local' ? getsockname : getpeername)(descriptor, address, size)
  if (done !== 0) throw callFailed(`the ${end} address of a socket cannot be read`)
  return endpointOf(address)
}

/** A new TCP socket that does not block. Throws E_ATTACH. */
export function newSocket(family: 4 | 6): number {
  const kind = streamType | nonBlocking | closeOnExec
  const descriptor = libc().socket(family === 4 ? inet : inet6, kind, levelTcp)
  if (descriptor < 0) throw callFailed('a TCP socket cannot be made')
  return descriptor
}

export interface RebuildOptions {
  /** SO_MARK of the new socket. */
  readonly mark: number
  /** The local address is not this machine's (TPROXY). */
  readonly transparent?: boolean
}

/**
 * Makes a socket for a connection that exists on the other side already. No packet leaves. The socket is in
 * repair mode, for the caller to end with {@link leaveRepair}; nothing else may have both addresses and
 * ports, but for a connection that is in TIME_WAIT. Throws E_ATTACH, and nothing is left open then.
 */
export function rebuild(connection: TcpConnection, options: RebuildOptions): number {
  const family = socketAddress(connection.local).length === 16 ? 4 : 6
  const descriptor = newSocket(family)
  try {
    enterRepair(descriptor)
    setMark(descriptor, options.mark)
    if (options.transparent === true) setTransparent(descriptor, family)
    place(descriptor, connection)
    agree(descriptor, connection)
    open(descriptor, connection)
    return descriptor
  } catch (error) {
    closeDescriptor(descriptor)
    throw error
  }
}

function place(descriptor: number, { local, remote, sendNext, receiveNext }: TcpConnection): void {
  const from = socketAddress(local)
  if (libc().bind(descriptor, from, from.length) !== 0) {
    throw callFailed(`the port ${local.port} of ${local.address} cannot be taken again`)
  }
  selectQueue(descriptor, receiveQueue)
  setQueueSequence(descriptor, receiveNext)
  selectQueue(descriptor, sendQueue)
  setQueueSequence(descriptor, sendNext)
  const to = socketAddress(remote)
  if (libc().connect(descriptor, to, to.length) !== 0) {
    throw callFailed(`the connection from port ${local.port} cannot be rebuilt beside another one`)
  }
}

function agree(descriptor: number, { mss, scales, sack, timestamps, timestamp }: TcpConnection): void {
  const options: [code: number, value: number][] = []
  if (sack) options.push([optionSack, 0])
  if (scales !== undefined) options.push([optionScale, scales.send | scales.receive << 16])
  if (timestamps) options.push([optionTimestamps, 0])
  options.push([optionMss, mss])
  const bytes = Buffer.alloc(options.length * 8)
  for (const [n, [code, value]] of options.entries()) {
    bytes.writeUInt32LE(code, n * 8)
    bytes.writeUInt32LE(value, n * 8 + 4)
  }
  setBytes(descriptor, levelTcp, tcpRepairOptions, bytes, 'TCP_REPAIR_OPTIONS')
  if (timestamps) setNumber(descriptor, levelTcp, tcpTimestamp, timestamp & ~1, 'TCP_TIMESTAMP')
}

/** The largest window that TCP can name (RFC 7323, 2.3). */
const windowMax = 2 ** 30

function open(descriptor: number, { receiveNext, sendWindow }: TcpConnection): void {
  const fresh = windowOf(descriptor)
  // A segment may be at most half the largest window ever seen, so that is not to look small.
  const maxWindow = Math.min(windowMax, Math.max(fresh.maxWindow, sendWindow * 2, 65_535))
  setWindow(descriptor, { ...fresh, sendSequence: receiveNext, sendWindow, maxWindow })
}

/**
 * Ends a connection without a word to the other side: neither FIN nor RST leaves, nor anything that was
 * queued. The descriptor stays, and is closed by whoever has it. Throws E_ATTACH.
 */
export function disconnectSilently(descriptor: number): void {
  enterRepair(descriptor)
  const nowhere = Buffer.alloc(16)
  if (libc().connect(descriptor, nowhere, nowhere.length) !== 0) {
    throw callFailed('a connection cannot be let go of')
  }
}
