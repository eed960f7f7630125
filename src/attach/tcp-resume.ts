import { TailgateError } from '../base/errors.ts'
import {
  inputOffset, outputOffset, type ConnectionId, type InputOffset, type OutputOffset
} from '../core/ids.ts'
import type { AttachAnswer, OpenedPath } from '../core/path.ts'
import type { StreamEvents } from '../core/stream.ts'
import type { Endpoint } from '../net/ip-address.ts'
import { closeDescriptor } from '../net/libc.ts'
import { probeDistance, RawProbe, type ProbeAnswer } from '../net/raw-probe.ts'
import { placeNearest, placeUpTo, sequenceOf, serialDifference } from '../net/sequence.ts'
import { setMark, setReusable } from '../net/socket-options.ts'
import type { SocketSide, Sockets } from '../net/sockets.ts'
import { leaveRepair, newSocket, originOf, rebuild } from '../net/tcp-repair.ts'
import { attachError, type Attach, type Opening } from './attach.ts'
import { clientSocket } from './client-source.ts'
import { FloorWatch } from './floor-watch.ts'
import { decodePath, encodePath, type TcpPathState } from './tcp-path.ts'
import { TcpPlaces, type TcpPlacesBook } from './tcp-places.ts'
import { TcpSide, TcpSideEars, type TcpSideOwner, type TcpSideStart } from './tcp-side.ts'
import { letGo, TcpAttach } from './tcp.ts'

/**
 * SO_MARK of every guest-facing socket that can be resumed. Rules of this machine that go by marks may use it
 * too.
 */
export const guestMark = 0x7467

export interface TcpResumeSettings {
  readonly sockets: Sockets
  /** How long a guest may take to accept a connection, or its kernel to answer for one, in milliseconds. */
  readonly connectMs: number
  /** What is remembered of the guest's connections over its generations. */
  readonly book: TcpPlacesBook
  /** Whether resets to the guest that are nobody's are held back at present. */
  readonly shielded: () => boolean
}

/** So many sockets are rebuilt in one turn of the event loop; each takes about a tenth of a millisecond. */
const rebuiltPerTurn = 32

/** Where both streams of a connection stand, as its guest answered. */
interface Standing {
  readonly input: number
  readonly output: number
  readonly resumesAt: number
}

/**
 * Guest-facing connections that are ordinary TCP with a guest that is restored as a whole, its kernel with
 * it: that kernel knows where each stream stands, and is asked (design, "Failover, step by step"). Needs
 * what {@link checkTcpResume} checks.
 *
 * - `path` is the connection's ends, first sequence numbers, options and clock ({@link encodePath}).
 * - Floors come from TCP_INFO. Nobody tells that a reset has arrived.
 * - When the guest's host dies nothing comes of its connections. A guest kernel that lives and ends or resets
 *   a connection does so by itself, as when a service of it dies: that is the guest's own doing.
 */
export class TcpResumeAttach implements Attach, TcpSideOwner {
  readonly silentOnDeath = true
  onFloor: ((connection: ConnectionId, floor: InputOffset) => void) | undefined
  onResetTaken: ((connection: ConnectionId) => void) | undefined
  readonly #settings: TcpResumeSettings
  readonly #plain: TcpAttach
  readonly #sides = new Set<TcpSide>()
  readonly #floors = new FloorWatch((side, floor) => this.onFloor?.(side.connection, inputOffset(floor)))
  #probe: RawProbe | undefined
  #turn: Promise<void> | undefined
  #inTurn = 0
  #closed = false

  constructor(settings: TcpResumeSettings) {
    this.#settings = settings
    this.#plain = new TcpAttach({ ...settings, makeSocket: guestSocket })
  }

  open(endpoint: string, connection: ConnectionId, events: StreamEvents, opening: Opening): void {
    const ears = new TcpSideEars(events)
    const { from } = opening
    this.#plain.open(endpoint, connection, ears, {
      from,
      opened: ({ side }) => {
        const opened = this.#opened(side as SocketSide, connection, ears)
        opening.opened(new ResumablePath(opened, from !== undefined))
      },
      failed: (error) => opening.failed(error)
    })
  }

  #opened(socket: SocketSide, connection: ConnectionId, ears: TcpSideEars): TcpSide {
    if (socket.descriptor >= 0) setMark(socket.descriptor, guestMark)
    const start = { input: 0, output: 0, acknowledged: 1 }
    return this.#begin(socket, connection, new TcpPlaces(), start, ears)
  }

  #begin(
    socket: SocketSide, connection: ConnectionId, places: TcpPlaces, start: TcpSideStart, ears: TcpSideEars
  ): TcpSide {
    const side = new TcpSide(socket, connection, places, start, this)
    ears.side = side
    this.#settings.book.begin(connection, places)
    this.#sides.add(side)
    return side
  }

  async attach(
    endpoint: string, connection: ConnectionId, path: Uint8Array, received: OutputOffset, events: StreamEvents
  ): Promise<AttachAnswer> {
    try {
      return await this.#attach(endpoint, connection, path, received, events)
    } catch (error) {
      throw attachError(error, endpoint)
    }
  }

  async #attach(
    endpoint: string, connection: ConnectionId, path: Uint8Array, received: number, events: StreamEvents
  ): Promise<AttachAnswer> {
    // It was not made before the mark, so the guest has taken nothing of it: another one will do as well.
    if (path.length === 0) return { known: false }
    const state = this.#joinable(endpoint, connection, path)
    const before = this.#settings.book.of(connection)
    const answer = await this.#ask(state, before?.input ?? 0, received)
    if (!answer.known) return { known: false }
    await this.#myTurn()
    if (this.#closed) throw letGo(endpoint)
    const standing = standingOf(state, answer, received, before)
    const side = this.#rebuild(state, answer, standing, { connection, before, events })
    return {
      known: true, side, input: inputOffset(standing.input), output: outputOffset(standing.output),
      resumesAt: outputOffset(standing.resumesAt)
    }
  }

  /**
   * Asks the guest where it stands. The byte of a probe must be old to it, or it would be input; where so
   * much was sent in all that it may not be, the guest is asked without one before. Rejects with E_ATTACH for
   * a tail that is too long.
   *
   *     input   ──── in the checkpoint ────│───────────── tail ─────────────│ sent
   *                  byte of a probe ▲     └ would be input from here on
   *                                  └──────────────── 1.75 GiB ────────────┘
   */
  async #ask(state: TcpPathState, sent: number, received: number): Promise<ProbeAnswer> {
    const { connectMs } = this.#settings
    const probe = this.#probe ??= new RawProbe()
    const { local, remote } = state
    const sendNext = sequenceOf(state.sendBase, sent)
    const question = { local, remote, sendNext, receiveNext: sequenceOf(state.receiveBase, received) }
    if (sent >= probeDistance) {
      const first = await probe.ask({ ...question, bare: true }, connectMs)
      if (!first.known) return first
      const tail = sent - placeUpTo(state.sendBase, first.acknowledgement, sent)
      if (tail >= probeDistance) throw tailTooLong(tail)
    }
    return await probe.ask(question, connectMs)
  }

  /** Throws E_ATTACH for one that cannot be asked about. */
  #joinable(endpoint: string, connection: ConnectionId, path: Uint8Array): TcpPathState {
    if (this.#closed) throw letGo(endpoint)
    const what = `connection ${connection} to ${endpoint} cannot be joined`
    const state = decodePath(path)
    if (state === undefined) {
      throw new TailgateError('E_ATTACH', `${what}: its log does not tell its sequence numbers`)
    }
    if (!this.#settings.shielded()) {
      throw new TailgateError('E_ATTACH', `${what}: the kernel here would reset it; the log says why`)
    }
    return state
  }

  #rebuild(
    state: TcpPathState, answer: ProbeAnswer & { known: true }, standing: Standing,
    about: { connection: ConnectionId, before: TcpPlaces | undefined, events: StreamEvents }
  ): TcpSide {
    const descriptor = rebuild({
      ...state,
      sendNext: sequenceOf(state.sendBase, standing.input),
      receiveNext: sequenceOf(state.receiveBase, standing.resumesAt),
      timestamp: timestampFor(state, answer.echo),
      sendWindow: answer.window * 2 ** (state.scales?.send ?? 0)
    }, { mark: guestMark, transparent: state.transparent === true })
    const { connection, before, events } = about
    const ears = new TcpSideEars(events)
    const socket = this.#adopt(descriptor, state.transparent === true)
    socket.attach(ears)
    const places = placesAt(standing, before)
    const start = { input: standing.input, output: standing.resumesAt, acknowledged: 0 }
    const side = this.#begin(socket, connection, places, start, ears)
    if (places.inputEnded && places.outputEnded) side.holdEnded()
    return side
  }

  /** The probe that leaves tells the guest how far it is acknowledged, and that the window is open. */
  #adopt(descriptor: number, transparent: boolean): SocketSide {
    try {
      leaveRepair(descriptor, true)
      if (transparent) setReusable(descriptor)
    } catch (error) {
      closeDescriptor(descriptor)
      throw error
    }
    return this.#settings.sockets.adopt(descriptor)
  }

  /** Resolves at once for the first few, and for each few more in a later turn of the event loop. */
  async #myTurn(): Promise<void> {
    while (this.#inTurn >= rebuiltPerTurn) {
      this.#turn ??= new Promise((resolve) => setImmediate(() => {
        this.#inTurn = 0
        this.#turn = undefined
        resolve()
      }))
      await this.#turn
    }
    this.#inTurn++
  }

  unacknowledged(side: TcpSide): void {
    this.#floors.add(side)
  }

  done(side: TcpSide): void {
    this.#sides.delete(side)
    this.#floors.remove(side)
    this.#settings.book.end(side.connection, side.places)
  }

  /** The kernel acknowledges output by itself; there is nothing to tell the guest. */
  acknowledge(): void {
    return
  }

  close(): void {
    this.#closed = true
    this.#probe?.close()
    for (const side of [...this.#sides]) side.abandon()
    this.#plain.close()
    this.#floors.close()
  }
}

/** Asks the kernel where the connection began only when that is wanted. */
class ResumablePath implements OpenedPath {
  readonly side: TcpSide
  readonly #transparent: boolean

  /** `transparent`: its address here is the client's. */
  constructor(side: TcpSide, transparent: boolean) {
    this.side = side
    this.#transparent = transparent
  }

  get path(): Uint8Array {
    try {
      const { timestamp, ...origin } = originOf(this.side.descriptor)
      const clock = origin.timestamps ? (timestamp - monotonicMs()) >>> 0 : 0
      if (!this.#transparent) return encodePath({ ...origin, clock })
      // To look had taken it away; the client's next connection may come from the same port.
      setReusable(this.side.descriptor)
      return encodePath({ ...origin, clock, transparent: true })
    } catch (error) {
      // The guest has reset it already, which it will be told; there is nothing to join again.
      if (error instanceof TailgateError) return new Uint8Array(0)
      throw error
    }
  }
}

/** What TCP's timestamps of this machine count. */
function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n % 0x1_0000_0000n)
}

/**
 * A TSval that is beyond every one that the guest has seen: a smaller one would pass for a segment that was
 * under way for a whole round of the clock, and be dropped without a word (RFC 7323, 5).
 */
function timestampFor({ clock }: TcpPathState, echo: number | undefined): number {
  // An even number: an odd one counts in microseconds, from Linux 6.7 on.
  const byClock = (clock + monotonicMs() + 2 & ~1) >>> 0
  return echo === undefined || serialDifference(byClock, echo) > 0 ? byClock : (echo + 2 & ~1) >>> 0
}

/**
 * The places that an answer names. What the guest has said beyond `received` it repeats, if nobody here has
 * acknowledged it before the checkpoint; else it can be had only from where the old side had come to.
 */
function standingOf(
  { sendBase, receiveBase }: TcpPathState, answer: ProbeAnswer & { known: true }, received: number,
  before: TcpPlaces | undefined
): Standing {
  const input = before === undefined
    ? placeNearest(sendBase, answer.acknowledgement, 0)
    : placeUpTo(sendBase, answer.acknowledgement, before.input)
  const output = placeNearest(receiveBase, answer.sequence, received)
  const isForgotten = before?.maybeForgottenBeyond(received) === true || endsAt(received, output, before)
  const wanted = isForgotten ? before?.output ?? received : received
  return { input, output, resumesAt: Math.min(wanted, output) }
}

/**
 * All that is beyond `received` is the end of the output, which was read here. The guest has said it, and may
 * have had it acknowledged before the checkpoint: then it does not say it again.
 */
function endsAt(received: number, output: number, before: TcpPlaces | undefined): boolean {
  return before?.outputEnded === true && before.output === output && output === received + 1
}

/** Ends that lie before these places are not told again. */
function placesAt({ input, resumesAt }: Standing, before: TcpPlaces | undefined): TcpPlaces {
  const places = new TcpPlaces(input, resumesAt)
  places.inputEnded = before?.inputEnded === true && input === before.input
  places.outputEnded = before?.outputEnded === true && resumesAt === before.output
  return places
}

/**
 * A restored guest may still have a connection with the port that the kernel here picks for a new one. It
 * answers the SYN as that one, and the reset that clears it away must pass the shield: so the mark is there
 * before the SYN is.
 */
function guestSocket(family: 4 | 6, from?: Endpoint): number | undefined {
  if (from !== undefined) return markedClientSocket(family, from)
  let descriptor = -1
  try {
    descriptor = newSocket(family)
    setMark(descriptor, guestMark)
    return descriptor
  } catch (error) {
    if (!(error instanceof TailgateError)) throw error
    if (descriptor >= 0) closeDescriptor(descriptor)
    return undefined
  }
}

function markedClientSocket(family: 4 | 6, from: Endpoint): number {
  const descriptor = clientSocket(family, from)
  try {
    setMark(descriptor, guestMark)
    return descriptor
  } catch (error) {
    closeDescriptor(descriptor)
    throw error
  }
}

function tailTooLong(tail: number): TailgateError {
  const gib = (bytes: number): string => (bytes / 2 ** 30).toFixed(2)
  return new TailgateError('E_ATTACH',
    `a connection with ${gib(tail)} GiB of input since the checkpoint cannot be joined, only one with less `
      + `than ${gib(probeDistance)} GiB: shorten checkpoint_interval`, { context: { tail } })
}
