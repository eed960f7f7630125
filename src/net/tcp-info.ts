import { TailgateError } from '../base/errors.ts'
import { getBytes } from './socket-options.ts'

export const levelTcp = 6
const tcpInfoOption = 11

/** As far as `tcpi_notsent_bytes`, which Linux has had since 4.6. */
const lengthLeast = 148
const bytes = Buffer.alloc(lengthLeast)

/** States of a TCP socket, by the kernel's numbers (net/tcp_states.h). */
export const TcpState = {
  established: 1, synSent: 2, synReceived: 3, finWait1: 4, finWait2: 5, timeWait: 6, close: 7, closeWait: 8,
  lastAck: 9, listen: 10, closing: 11
} as const

/** What TCP_INFO tells (struct tcp_info of linux/tcp.h), as far as anything here needs it. */
export interface TcpInfo {
  /** One of {@link TcpState}. */
  readonly state: number
  /** How often the retransmission timer has doubled. */
  readonly backoff: number
  readonly timestamps: boolean
  readonly sack: boolean
  /** Undefined where no scaling was agreed on. */
  readonly sendScale: number | undefined
  readonly receiveScale: number | undefined
  /**
   * Bytes of ours that the other side has acknowledged. SYN and FIN count one each; a rebuilt socket begins
   * with 0.
   */
  readonly bytesAcked: number
  /** Bytes that arrived in order; FIN counts one, SYN does not. */
  readonly bytesReceived: number
  /** Bytes written that have never been sent. */
  readonly notSent: number
}

/** Asks the kernel. Throws E_ATTACH, also where the kernel is older than 4.6 and tells less. */
export function tcpInfo(descriptor: number): TcpInfo {
  readInfo(descriptor)
  const options = bytes[5] ?? 0
  const scales = bytes[6] ?? 0
  const scaled = (options & 4) !== 0
  return {
    state: bytes[0] ?? 0,
    backoff: bytes[4] ?? 0,
    timestamps: (options & 1) !== 0,
    sack: (options & 2) !== 0,
    sendScale: scaled ? scales & 15 : undefined,
    receiveScale: scaled ? scales >> 4 : undefined,
    bytesAcked: Number(bytes.readBigUInt64LE(120)),
    bytesReceived: Number(bytes.readBigUInt64LE(128)),
    notSent: bytes.readUInt32LE(144)
  }
}

function readInfo(descriptor: number): void {
  const length = getBytes(descriptor, levelTcp, tcpInfoOption, bytes, 'TCP_INFO')
  if (length >= lengthLeast) return
  throw new TailgateError('E_ATTACH',
    `TCP_INFO of this kernel is ${length} bytes long, and ${lengthLeast} are needed: take Linux 4.6 or newer`)
}
