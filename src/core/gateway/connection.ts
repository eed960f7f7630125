import {
  inputOffset, noLsn, outputHash, outputOffset,
  type ConnectionId, type InputOffset, type Lsn, type OutputHash, type OutputOffset
} from '../ids.ts'
import type { StreamSide } from '../stream.ts'
import type { ReadNote } from './log-writer.ts'
import type { ReleaseMode } from './settings.ts'

/** Why a client is not read from. */
export const ClientPause = {
  /** The guest has not taken the connection yet. */
  opening: 1,
  /** The guest does not take what was sent. */
  backlog: 2,
  /** The log is at its limit. */
  congestion: 4,
  failover: 8
} as const

/** Why the guest is not read from. */
export const GuestPause = {
  /** The client does not take what was released, or too much is held for it. */
  backlog: 1,
  /** Too much is held over all connections. */
  held: 2
} as const

/** The client, `address:port`, or who knows it: to ask costs a system call that is seldom needed. */
export type ClientAddress = string | { readonly remote: string }

/** How a connection came to its end; the shells make termination codes of it. */
export type Ending =
  | 'finished' | 'client-reset' | 'guest-reset' | 'guest-refused' | 'diverged' | 'ambiguous' | 'reset-all'
  | 'lost' | 'shutdown'

const noPath = new Uint8Array(0)

/**
 * One client's connection: its two sides, and where its two streams stand.
 *
 *   client ── input ──► logged ──► guest         (floor: the guest has acknowledged it)
 *   client ◄── released ── held ── received ◄── output ── guest
 */
export class Connection implements ReadNote {
  readonly id: ConnectionId
  /** Index in the guest's services. */
  readonly service: number
  readonly release: ReleaseMode
  /** Undefined once the client is gone. */
  client: StreamSide | undefined
  /** Undefined while there is none: opening, failing over, or the guest reset it. */
  guest: StreamSide | undefined
  /** The guest took it: CONNECTED is logged. */
  connected = false
  path: Uint8Array = noPath
  /** The lsn of its OPEN record; 0 while it waits for one. */
  openedLsn: Lsn = noLsn

  /** It is served though the others are still in a failover. */
  thawed = false

  inputLogged: InputOffset = inputOffset(0)
  inputEnded = false
  /** Who ended first, where both did so in order. */
  clientEndedFirst = false
  /** The client ended its input at a time when that could not be passed on. */
  endPending = false
  /** How often the guest was dialed without an answer. */
  dials = 0
  /** The number of the dial for it that is under way; 0 while there is none. */
  dial = 0
  floor: InputOffset = inputOffset(0)
  /** True while a FLOOR record is due. */
  floorNoted = false
  /** The lsn of its RESET record; 0 while there is none. */
  resetLsn: Lsn = noLsn
  /** How many marks were refused because the guest had not acknowledged its input. */
  marksRefused = 0
  /** Input logged before the present history began: a checkpoint counts only when the guest had all of it. */
  historyInput: InputOffset = inputOffset(0)

  outputReceived: OutputOffset = outputOffset(0)
  outputHash: OutputHash = outputHash(0)
  /** The guest ended its output, or reset the connection, and it was read. */
  outputEnd: 'open' | 'ended' | 'reset' = 'open'
  released: OutputOffset = outputOffset(0)
  releasedHash: OutputHash = outputHash(0)
  /** The end of the output has gone to the client. */
  endReleased = false
  heldItems = 0
  heldBytes = 0
  readNoted = false

  readonly #clientAddress: ClientAddress
  #clientPause: number = ClientPause.opening
  #guestPause = 0

  constructor(
    id: ConnectionId, service: number, release: ReleaseMode, client: StreamSide, clientAddress: ClientAddress
  ) {
    this.id = id
    this.service = service
    this.release = release
    this.client = client
    this.#clientAddress = clientAddress
  }

  get clientAddress(): string {
    return typeof this.#clientAddress === 'string' ? this.#clientAddress : this.#clientAddress.remote
  }

  /** Both directions are done as far as the client is concerned, or it is gone. */
  get over(): boolean {
    return this.client === undefined || (this.inputEnded && this.endReleased)
  }

  /**
   * The guest has acknowledged all input, or will read none of it: it has reset the connection, or has taken
   * the client's reset. Of a connection that the client has reset only the latter will do.
   */
  get settled(): boolean {
    return this.outputEnd === 'reset' || (this.resetLsn === noLsn && this.floor >= this.inputLogged)
  }

  get clientPaused(): boolean { return this.#clientPause !== 0 }

  pauseClient(reason: number): void {
    if (this.#clientPause === 0) this.client?.pause()
    this.#clientPause |= reason
  }

  resumeClient(reason: number): void {
    if ((this.#clientPause & reason) === 0) return
    this.#clientPause &= ~reason
    if (this.#clientPause === 0) this.client?.resume()
  }

  pauseGuest(reason: number): void {
    if (this.#guestPause === 0) this.guest?.pause()
    this.#guestPause |= reason
  }

  resumeGuest(reason: number): void {
    if ((this.#guestPause & reason) === 0) return
    this.#guestPause &= ~reason
    if (this.#guestPause === 0) this.guest?.resume()
  }

  /** A new guest-facing side takes over. */
  joinGuest(side: StreamSide): void {
    this.guest = side
    if (this.#guestPause === 0) side.resume()
    else side.pause()
  }
}
