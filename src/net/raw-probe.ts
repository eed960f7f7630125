import { TailgateError } from '../base/errors.ts'
import { openCapture, type Capture } from './capture.ts'
import type { Endpoint } from './ip-address.ts'
import { RawSender } from './raw-sender.ts'
import { TcpFlag, writeSegment, type ReadSegment } from './tcp-segment.ts'

/** A connection that is asked about. */
export interface Question {
  readonly local: Endpoint
  readonly remote: Endpoint
  /** The sequence number after the last byte that was ever sent. */
  readonly sendNext: number
  /**
   * The sequence number of the next byte expected. A guest that has seen no more than the SYN resets the
   * connection for any other than that of the first byte.
   */
  readonly receiveNext: number
  /**
   * Without the byte, which a guest to whom it is not old takes for input. Such a guest may not answer, and
   * `sequence` of an answer may be one too low.
   */
  readonly bare?: boolean
}

/** What the other side says of it: where its streams stand, or that there is no such connection. */
export type ProbeAnswer =
  | {
    readonly known: true
    /** The next byte that it expects. */
    readonly acknowledgement: number
    /** The next byte that it sends; a FIN that it has sent counts. */
    readonly sequence: number
    /** How much it takes, unscaled. */
    readonly window: number
    /** The last TSval that it has seen of this side. */
    readonly echo: number | undefined
  }
  | { readonly known: false }

/**
 * So far below the last byte sent lies a probe: below everything that a guest may still expect, for tails of
 * up to 1.75 GiB, and above the half of the sequence space that counts as ahead.
 */
export const probeDistance = 2 ** 31 - 2 ** 28

/** A probe is repeated after so long, then after twice that, up to the second. Milliseconds. */
const repeatLeastMs = 25
const repeatMostMs = 200
/**
 * So many times in a row nothing was asked any more, and packets are no longer captured: each one that the
 * guest sends to anybody costs as much as an answer.
 */
const idleLooksMax = 2
const probeByte = new Uint8Array(1)
const noByte = new Uint8Array(0)

/** A question that waits for its answer. */
class Asked {
  readonly question: Question
  readonly packet: Buffer
  readonly probe: number
  readonly deadline: number
  repeatAt: number
  repeatMs = repeatLeastMs
  /** An answer that does not name the probe, and is believed when it comes a second time. */
  unconfirmed: ReadSegment | undefined
  readonly resolve: (answer: ProbeAnswer) => void
  readonly reject: (error: TailgateError) => void

  constructor(
    question: Question, now: number, timeoutMs: number,
    settle: { resolve: (answer: ProbeAnswer) => void, reject: (error: TailgateError) => void }
  ) {
    this.question = question
    this.probe = (question.sendNext + 2 ** 32 - probeDistance) % 2 ** 32
    this.packet = writeSegment({
      from: question.local, to: question.remote, sequence: this.probe,
      acknowledgement: question.receiveNext, flags: TcpFlag.ack, window: 0xffff
    }, question.bare === true ? noByte : probeByte)
    this.deadline = now + timeoutMs
    this.repeatAt = now + repeatLeastMs
    this.resolve = settle.resolve
    this.reject = settle.reject
  }
}

/**
 * Asks a kernel where the streams of a connection stand, without having a socket for it: with a segment of
 * one byte that was acknowledged long ago, which every state of TCP answers with an acknowledgement (RFC
 * 9293, 3.10.7.4), and a kernel that has no such connection with a reset.
 *
 *     probe   SEQ = SND.NXT - 1.75 GiB, one byte ──►
 *             ◄── ACK = its RCV.NXT, SEQ = its SND.NXT, a duplicate SACK that names the probe (RFC 2883)
 *             ◄── or RST, SEQ = the probe's ACK
 *
 * Answers are read by packet capture, for all questions together, as long as there are any.
 */
export class RawProbe {
  readonly #sender = new RawSender()
  readonly #captures = new Map<string, Capture>()
  readonly #asked = new Map<string, Asked>()
  #timer: NodeJS.Timeout | undefined
  #idleLooks = 0

  /** Whether packets are captured at present. */
  get isListening(): boolean { return this.#captures.size > 0 }

  /** Rejects with E_TIMEOUT without an answer, and with E_ATTACH where it cannot be asked. */
  ask(question: Question, timeoutMs: number): Promise<ProbeAnswer> {
    return new Promise((resolve, reject) => {
      this.#listenTo(question.remote.address)
      const key = keyOf(question.remote, question.local)
      const before = this.#asked.get(key)
      before?.reject(new TailgateError('E_ATTACH', `${key} is asked about a second time`))
      const asked = new Asked(question, performance.now(), timeoutMs, { resolve, reject })
      this.#asked.set(key, asked)
      this.#timer ??= setInterval(() => this.#repeat(), repeatLeastMs)
      this.#sender.send(asked.packet, question.remote.address)
    })
  }

  /** Sends a segment without data, for a caller that has one to say. */
  say(packet: Buffer, address: string): void {
    this.#sender.send(packet, address)
  }

  close(): void {
    this.#rest()
    this.#sender.close()
    for (const [key, asked] of this.#asked) {
      asked.reject(new TailgateError('E_ATTACH', `${key}: its guest has been let go`))
    }
    this.#asked.clear()
  }

  /** Nothing is asked: what the guest says is others' from now on. */
  #rest(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#idleLooks = 0
    for (const capture of this.#captures.values()) capture.close()
    this.#captures.clear()
  }

  #listenTo(address: string): void {
    if (this.#captures.has(address)) return
    const filter = `tcp and src host ${address}`
    this.#captures.set(address, openCapture({ filter }, (segment) => this.#arrived(segment)))
  }

  #arrived(segment: ReadSegment): void {
    const key = keyOf(segment.from, segment.to)
    const asked = this.#asked.get(key)
    if (asked === undefined) return
    const answer = this.#answerIn(segment, asked)
    if (answer === undefined) return
    this.#asked.delete(key)
    asked.resolve(answer)
  }

  #answerIn(segment: ReadSegment, asked: Asked): ProbeAnswer | undefined {
    const { flags, sequence, acknowledgement, window, sackBlock, timestamps } = segment
    if ((flags & TcpFlag.rst) !== 0) {
      return sequence === asked.question.receiveNext ? { known: false } : undefined
    }
    if (flags !== TcpFlag.ack || segment.length !== 0) return undefined
    // A keepalive or a window probe tells as well what is expected next.
    const isNamed = asked.question.bare === true || sackBlock?.[0] === asked.probe
    if (!isNamed && !this.#isConfirmed(segment, asked)) return undefined
    return { known: true, acknowledgement, sequence, window, echo: timestamps?.[1] }
  }

  /**
   * An acknowledgement that does not name the probe (no SACK, SYN-RECEIVED, TIME-WAIT) may be a keepalive or
   * a window probe, whose sequence number is another. So the guest is asked once more.
   */
  #isConfirmed(segment: ReadSegment, asked: Asked): boolean {
    const { unconfirmed } = asked
    asked.unconfirmed = segment
    if (unconfirmed?.sequence === segment.sequence
      && unconfirmed.acknowledgement === segment.acknowledgement) return true
    this.#sender.send(asked.packet, asked.question.remote.address)
    return false
  }

  #repeat(): void {
    const now = performance.now()
    this.#idleLooks = this.#asked.size === 0 ? this.#idleLooks + 1 : 0
    if (this.#idleLooks >= idleLooksMax) return this.#rest()
    for (const [key, asked] of this.#asked) {
      if (now >= asked.deadline) {
        this.#asked.delete(key)
        asked.reject(this.#unanswered(key))
      } else if (now >= asked.repeatAt) {
        asked.repeatMs = Math.min(asked.repeatMs * 2, repeatMostMs)
        asked.repeatAt = now + asked.repeatMs
        this.#sender.send(asked.packet, asked.question.remote.address)
      }
    }
  }

  #unanswered(key: string): TailgateError {
    const { refused, lastRefusal } = this.#sender
    const sent = refused === 0 ? '' : `; ${refused} packets could not be sent: ${lastRefusal}`
    return new TailgateError('E_TIMEOUT', `the guest's kernel has not answered for ${key}${sent}`)
  }
}

function keyOf(remote: Endpoint, local: Endpoint): string {
  return `${remote.address} ${remote.port} to ${local.address} ${local.port}`
}
