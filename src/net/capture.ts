import { createSocket } from 'node:dgram'
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

/**
 * The package leaves a closed session's poll handle in the event loop's list, in memory that goes with the
 * session. So none is ever let go of: a few hundred bytes for each time that something is asked.
 */
const everOpened: PcapSession[] = []

/** A capture that runs until it is closed. */
export interface Capture {
  close(): void
}

export interface CaptureOptions {
  /** As pcap-filter(7) has it. */
  readonly filter: string
  readonly load?: LoadPackage
}

/** All devices, also those that come later. */
const device = 'any'
/** Nothing of this machine uses the discard port (RFC 863) of its own loopback. */
const wakeAddress = '127.0.0.1'
const wakePort = 9

/**
 * Tells `arrived` of each TCP segment that the filter lets through. One may be told twice where a packet
 * passes two devices. Throws E_ATTACH.
 */
export function openCapture(options: CaptureOptions, arrived: (segment: ReadSegment) => void): Capture {
  const pcap = optionalPackage('pcap', options.load ?? installedPackage) as PcapPackage
  const session = openSession(pcap, options.filter)
  const skipped = linkHeaderBytes[session.link_type]
  if (skipped === undefined) {
    closeSession(session)
    const what = `captured packets cannot be read: their link layer is ${session.link_type}`
    throw new TailgateError('E_ATTACH', `${what}; take a libpcap that gives LINKTYPE_LINUX_SLL`)
  }
  session.on('packet', ({ buf, header }) => {
    const segment = readSegment(buf.subarray(skipped, header.readUInt32LE(8)))
    if (segment !== undefined) arrived(segment)
  })
  return { close: () => closeSession(session) }
}

function openSession(pcap: PcapPackage, filter: string): PcapSession {
  try {
    const session = pcap.createSession(device, {
      filter: `(${filter}) or (udp and dst host ${wakeAddress} and dst port ${wakePort})`,
      snap_length: snapBytes, buffer_size: ringBytes, promiscuous: false,
      // Packets are told when they come; the package's own default waits a second for more.
      buffer_timeout: 0
    })
    everOpened.push(session)
    return session
  } catch (cause) {
    const why = 'packets cannot be captured; give this process the capability cap_net_raw'
    throw new TailgateError('E_ATTACH', `${why}: ${messageOf(cause)}`, { cause })
  }
}

/**
 * The package lets go of its descriptor, which keeps the process alive, only when it comes to read a packet
 * the next time. So it is sent one that every filter lets through.
 */
function closeSession(session: PcapSession): void {
  session.close()
  const socket = createSocket('udp4')
  // Refused is as good as taken: the packet has passed.
  socket.on('error', () => undefined)
  socket.send('', wakePort, wakeAddress, () => socket.close())
}
