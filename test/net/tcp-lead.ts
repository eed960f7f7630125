import { TcpState } from '../../src/net/tcp-info.ts'
import { TcpFlag, writeSegment } from '../../src/net/tcp-segment.ts'
import type { TcpImage } from './tcp-image.ts'

/** What brings a socket that was put back to the ends that its streams had come to. */
export interface Leading {
  /** The socket's own process ends its output. */
  end(): Promise<void> | void
  /** A packet of the other side's arrives. */
  arrives(packet: Buffer): Promise<void>
  /** Resolves when the socket has come to this state. */
  until(state: number): Promise<void>
}

/**
 * Makes the ends of a connection that was put back come about as they had: the other side's FIN is said once
 * more in its name, and this side's is acknowledged if it had been. Other output stays as it was.
 *
 *     the other side    ◄── FIN (1)                LAST-ACK: 2, 1    CLOSING, TIME-WAIT: 1, 2
 *                       FIN (2) ──►                FIN-WAIT-2: 1, then ACK ──►
 */
export async function leadTo(image: TcpImage, leading: Leading): Promise<void> {
  const { state, sendNext, receiveNext } = image
  const { closeWait, finWait1, finWait2, closing, lastAck, timeWait, established, close } = TcpState
  const fin = before(receiveNext, 1)
  const outstanding = image.unacknowledged.length + image.unsent.length
  const say = (sequence: number, acknowledgement: number, flags: number): Promise<void> =>
    leading.arrives(segmentOf(image, { sequence, acknowledgement, flags }))
  switch (state) {
    case established: return
    case closeWait: await say(fin, before(sendNext, outstanding), TcpFlag.fin); break
    case lastAck:
      await say(fin, before(sendNext, outstanding + 1), TcpFlag.fin)
      await leading.until(closeWait)
      await leading.end()
      break
    case finWait1: case finWait2: case closing: case timeWait: {
      await leading.end()
      await leading.until(finWait1)
      if (state === finWait2) await say(receiveNext, sendNext, 0)
      if (state === closing) await say(fin, before(sendNext, outstanding + 1), TcpFlag.fin)
      if (state === timeWait) await say(fin, sendNext, TcpFlag.fin)
      break
    }
    default: throw new Error(`no connection is led to the state ${state}`)
  }
  // A socket that comes to TIME-WAIT leaves its place to a smaller one, and is closed itself.
  await leading.until(state === timeWait ? close : state)
}

/** A segment without data as the other side had sent it; every one acknowledges. */
function segmentOf(
  image: TcpImage,
  { sequence, acknowledgement, flags }: { [key in 'sequence' | 'acknowledgement' | 'flags']: number }
): Buffer {
  const { local: to, remote: from } = image
  const segment = { from, to, sequence, acknowledgement, flags: flags | TcpFlag.ack, window: 0xffff }
  return writeSegment(segment, new Uint8Array(0))
}

function before(sequence: number, bytes: number): number {
  return (sequence - bytes + 2 ** 32) % 2 ** 32
}
