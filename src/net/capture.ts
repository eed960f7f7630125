import { messageOf, TailgateError } from '../base/errors.ts'
import { installedPackage, optionalPackage, type LoadPackage } from './optional-package.ts'
import { readSegment, type ReadSegment } from './tcp-segment.ts'

/*
 * TCP segments as they come in, before any packet filter. The one file that knows pcap; needs CAP_NET_RAW.
 */

interface PcapPacket {
  readonly buf: Buffer
  /** Seconds, microseconds, length captured, length sent. */
  readonly header: Buffer
  readonly link_type: string
}

interface PcapSession {
  readonly link_type: string
  on(event: 'packet', told: (packet: PcapPacket) => void): void
  close(): void
  readonly session: { read_callback(): void }
}

interface PcapPackage {
  createSession(device: string, options: Readonly<Record<string, unknown>>): PcapSession
}

/** IP and TCP headers with all their options. */
const snapBytes = 160
const ringBytes = 8 * 1024 * 1024

/** Bytes before the IP header, by the name of the link layer. */
const linkHeaderBytes: Readonly<Record<string, number>> = {
  LINKTYPE_ETHERNET: 14, LINKTYPE_LINUX_SLL: 16, LINKTYPE_RAW: 0, LINKTYPE_NULL: 4
}

/** A capture that runs until it is closed. */
export interface Capture {
  close(): void
}

export interface CaptureOptions {
  /** `any` is all of them, also those that come later. */
  readonly device: string
  /** As pcap-filter(7) has it. */
  readonly filter: string
  readonly load?: LoadPackage
}

/**
 * Tells `arrived` of each TCP segment that the filter lets through. One may be told twice where a packet
 * passes two devices. Throws E_ATTACH.
 */
export function openCapture(options: CaptureOptions, arrived: (segment: ReadSegment) => void): Capture {
  const pcap = optionalPackage('pcap', options.load ?? installedPackage) as PcapPackage
  const session = openSession(pcap, options)
  const skipped = linkHeaderBytes[session.link_type]
  if (skipped === undefined) {
    closeSession(session, false)
    const what = `packets of ${options.device} cannot be read: its link layer is ${session.link_type}`
    throw new TailgateError('E_ATTACH', `${what}; name an Ethernet device`)
  }
  let reading = false
  session.on('packet', ({ buf, header }) => {
    const segment = readSegment(buf.subarray(skipped, header.readUInt32LE(8)))
    reading = true
    if (segment !== undefined) arrived(segment)
    reading = false
  })
  return { close: () => closeSession(session, reading) }
}

/**
 * The package lets go of its descriptor when it comes to read the next time, which without a packet is never;
 * so it is made to, unless it is reading at this moment.
 */
function closeSession(session: PcapSession, reading: boolean): void {
  session.close()
  if (!reading) session.session.read_callback()
}

function openSession(pcap: PcapPackage, { device, filter }: CaptureOptions): PcapSession {
  try {
    return pcap.createSession(device, {
      filter, snap_length: snapBytes, buffer_size: ringBytes, promiscuous: false,
      // Packets are told when they come; the package's own default waits a second for more.
      buffer_timeout: 0
    })
  } catch (cause) {
    const why = `packets of ${device} cannot be captured; give this process the capability cap_net_raw`
    throw new TailgateError('E_ATTACH', `${why}: ${messageOf(cause)}`, { cause })
  }
}
