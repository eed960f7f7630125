import { addressBytes, addressOfBytes, type Endpoint } from './ip-address.ts'

/*
 * One TCP segment in its IP packet, as bytes (RFC 791, RFC 8200, RFC 9293).
 */

export const TcpFlag = { fin: 1, syn: 2, rst: 4, push: 8, ack: 16 } as const

export interface Segment {
  readonly from: Endpoint
  readonly to: Endpoint
  readonly sequence: number
  readonly acknowledgement: number
  /** Of {@link TcpFlag}, added up. */
  readonly flags: number
  /** As it stands in the header: not scaled. */
  readonly window: number
}

/** A segment that was read. */
export interface ReadSegment extends Segment {
  /** Bytes of data in it. */
  readonly length: number
  /** The first block of its SACK option (RFC 2018; RFC 2883 where it tells of a duplicate). */
  readonly sackBlock: readonly [left: number, right: number] | undefined
  /** TSval and TSecr (RFC 7323). */
  readonly timestamps: readonly [value: number, echo: number] | undefined
}

const protocolTcp = 6
const headerBytes = 20
const hopsDefault = 64
const optionEnd = 0
const optionNothing = 1
const optionSack = 5
const optionTimestamps = 8

/** The packet of a segment; `options` are whole words. */
export function writeSegment(
  segment: Segment, data: Uint8Array, options: Uint8Array = new Uint8Array(0)
): Buffer {
  const source = addressBytes(segment.from.address)
  const target = addressBytes(segment.to.address)
  const tcp = Buffer.alloc(headerBytes + options.length + data.length)
  tcp.writeUInt16BE(segment.from.port, 0)
  tcp.writeUInt16BE(segment.to.port, 2)
  tcp.writeUInt32BE(segment.sequence, 4)
  tcp.writeUInt32BE(segment.acknowledgement, 8)
  tcp[12] = (headerBytes + options.length) / 4 << 4
  tcp[13] = segment.flags
  tcp.writeUInt16BE(segment.window, 14)
  tcp.set(options, headerBytes)
  tcp.set(data, headerBytes + options.length)
  const covered = Buffer.alloc(4)
  covered.writeUInt16BE(protocolTcp, 0)
  covered.writeUInt16BE(tcp.length, 2)
  tcp.writeUInt16BE(checksum([source, target, covered, tcp]), 16)
  return Buffer.concat([ipHeader(source, target, tcp.length), tcp])
}

function ipHeader(source: Uint8Array, target: Uint8Array, length: number): Buffer {
  if (source.length === 16) {
    const header = Buffer.alloc(40)
    header[0] = 0x60
    header.writeUInt16BE(length, 4)
    header[6] = protocolTcp
    header[7] = hopsDefault
    header.set(source, 8)
    header.set(target, 24)
    return header
  }
  const header = Buffer.alloc(20)
  header[0] = 0x45
  header.writeUInt16BE(header.length + length, 2)
  header[8] = hopsDefault
  header[9] = protocolTcp
  header.set(source, 12)
  header.set(target, 16)
  header.writeUInt16BE(checksum([header]), 10)
  return header
}

/** The Internet checksum (RFC 1071); every piece but the last has an even length. */
export function checksum(pieces: readonly Uint8Array[]): number {
  let sum = 0
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; at += 2) sum += (piece[at] ?? 0) << 8 | (piece[at + 1] ?? 0)
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

/** The TCP segment in an IP packet; undefined where there is none, or not all of its header. */
export function readSegment(packet: Buffer): ReadSegment | undefined {
  const version = (packet[0] ?? 0) >> 4
  if (version === 4) {
    const header = ((packet[0] ?? 0) & 15) * 4
    if (packet.length < header + headerBytes || packet[9] !== protocolTcp) return undefined
    const length = packet.readUInt16BE(2) - header
    return readTcp(packet.subarray(header), length, packet.subarray(12, 16), packet.subarray(16, 20))
  }
  if (version !== 6 || packet.length < 40 + headerBytes || packet[6] !== protocolTcp) return undefined
  return readTcp(packet.subarray(40), packet.readUInt16BE(4), packet.subarray(8, 24), packet.subarray(24, 40))
}

/** `length`: of header and data, of which the data need not have been captured. */
function readTcp(
  tcp: Buffer, length: number, source: Uint8Array, target: Uint8Array
): ReadSegment | undefined {
  const header = ((tcp[12] ?? 0) >> 4) * 4
  if (header < headerBytes || tcp.length < header) return undefined
  return {
    from: { address: addressOfBytes(source), port: tcp.readUInt16BE(0) },
    to: { address: addressOfBytes(target), port: tcp.readUInt16BE(2) },
    sequence: tcp.readUInt32BE(4),
    acknowledgement: tcp.readUInt32BE(8),
    flags: (tcp[13] ?? 0) & 63,
    window: tcp.readUInt16BE(14),
    length: length - header,
    ...readOptions(tcp.subarray(headerBytes, header))
  }
}

function readOptions(options: Buffer): Pick<ReadSegment, 'sackBlock' | 'timestamps'> {
  let sackBlock: readonly [number, number] | undefined
  let timestamps: readonly [number, number] | undefined
  for (let at = 0; at < options.length;) {
    const kind = options[at] ?? optionEnd
    if (kind === optionEnd) break
    if (kind === optionNothing) {
      at += 1
      continue
    }
    const length = options[at + 1] ?? 0
    if (length < 2 || at + length > options.length) break
    const pair = (): readonly [number, number] => [options.readUInt32BE(at + 2), options.readUInt32BE(at + 6)]
    if (kind === optionSack && length >= 10) sackBlock = pair()
    else if (kind === optionTimestamps && length === 10) timestamps = pair()
    at += length
  }
  return { sackBlock, timestamps }
}
