import { randomBytes } from 'node:crypto'
import { TailgateError } from '../base/errors.ts'
import {
  connectionId, inputOffset, outputOffset, type ConnectionId, type InputOffset, type OutputOffset
} from '../core/ids.ts'
import type { AttachAnswer, OpenedPath } from '../core/path.ts'
import type { StreamEvents } from '../core/stream.ts'
import { PlaceKind } from '../guest/wire.ts'
import type { Sockets } from '../net/sockets.ts'
import { attachError, type Attach, type Opening } from './attach.ts'
import { EmbeddedSide, type SideOwner } from './embedded-side.ts'
import { dialGuest, GuestControl } from './guest-control.ts'

export interface EmbeddedAttachSettings {
  readonly sockets: Sockets
  /**
   * Picked once by a gateway process ({@link newIncarnation}); with a connection's id it names a stream for
   * ever.
   */
  readonly incarnation: bigint
  /** How long the guest may take to accept a connection, and then to answer, in milliseconds. */
  readonly connectMs: number
}

/** Acknowledged places gather so long before the guest is told, in milliseconds ... */
const acknowledgeDelayMs = 10
/** ... or until this much output waits for it: a quarter of what stops a stream in the guest. Bytes. */
const acknowledgeBytes = 256 * 1024

/** A number for a gateway process that no other one has picked. */
export function newIncarnation(): bigint {
  return randomBytes(8).readBigUInt64LE()
}

/**
 * Joins the embedded guest, which names its own offsets. `path` is empty: the guest finds a stream by the
 * gateway's incarnation and the connection's id.
 */
export class EmbeddedAttach implements Attach, SideOwner {
  readonly silentOnDeath = true
  onFloor: ((connection: ConnectionId, floor: InputOffset) => void) | undefined
  onResetTaken: ((connection: ConnectionId) => void) | undefined
  #settings: EmbeddedAttachSettings
  #control: GuestControl
  #sides = new Map<number, EmbeddedSide>()
  /** Connections whose reset the guest has not taken yet, with the place to which their input had come. */
  #resetting = new Map<number, number>()
  #unacknowledged: EmbeddedSide[] = []
  #unacknowledgedBytes = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(settings: EmbeddedAttachSettings) {
    this.#settings = settings
    this.#control = new GuestControl(settings, {
      place: (kind, connection, place) => this.#place(kind, connection, place),
      renewed: () => {
        for (const side of [...this.#sides.values()]) side.guestReset()
        for (const [connection, place] of [...this.#resetting]) this.#resetTaken(connection, place)
      }
    })
  }

  open(endpoint: string, connection: ConnectionId, events: StreamEvents, opening: Opening): void {
    this.#open(endpoint, connection, events).then(
      path => opening.opened(path), (error: unknown) => opening.failed(attachError(error, endpoint)))
  }

  async #open(endpoint: string, connection: ConnectionId, events: StreamEvents): Promise<OpenedPath> {
    const { incarnation, connectMs } = this.#settings
    const side = await this.#dial(endpoint, connection, events)
    const answer = await side.greet({ kind: 'open', incarnation, connection }, connectMs)
    if (answer.kind !== 'accepted') throw this.#refused(side, endpoint)
    return { side, path: new Uint8Array(0) }
  }

  async attach(
    endpoint: string, connection: ConnectionId, _path: Uint8Array, received: OutputOffset,
    events: StreamEvents
  ): Promise<AttachAnswer> {
    const { incarnation, connectMs } = this.#settings
    const side = await this.#dial(endpoint, connection, events)
    const answer = await side.greet({ kind: 'attach', incarnation, connection, received }, connectMs)
    if (answer.kind === 'unknown') {
      side.abandon()
      return { known: false }
    }
    if (answer.kind !== 'known') throw this.#refused(side, endpoint)
    const resumesAt = outputOffset(Math.min(received, answer.output))
    side.startAt(answer.input, resumesAt)
    return {
      known: true, side, input: inputOffset(answer.input), output: outputOffset(answer.output), resumesAt
    }
  }

  acknowledge(connection: ConnectionId, received: OutputOffset): void {
    const side = this.#sides.get(connection)
    // What was received in an earlier generation is not acknowledged before this guest has made it again.
    if (side !== undefined) this.#acknowledge(side, Math.min(received, side.outputPlace))
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    for (const side of [...this.#sides.values()]) side.abandon()
    this.#control.close()
  }

  clientReset(side: EmbeddedSide): void {
    this.#resetting.set(side.connection, side.input)
    this.#control.add(PlaceKind.clientReset, side.connection, side.input)
    this.#control.flush()
  }

  endTold(side: EmbeddedSide): void {
    this.#acknowledge(side, side.outputPlace)
  }

  done(side: EmbeddedSide): void {
    if (this.#sides.get(side.connection) === side) this.#sides.delete(side.connection)
  }

  async #dial(endpoint: string, connection: ConnectionId, events: StreamEvents): Promise<EmbeddedSide> {
    await this.#control.ready(endpoint)
    const socket = await dialGuest(this.#settings.sockets, endpoint, this.#settings.connectMs)
    const side = new EmbeddedSide(socket, connection, this, events)
    if (this.#closed) throw this.#refused(side, endpoint)
    // The guest would refuse a second one, and what it announces of the stream would reach that one only.
    if (this.#sides.has(connection)) {
      side.abandon()
      throw new TailgateError('E_ATTACH', `connection ${connection} to ${endpoint} is joined already`)
    }
    this.#sides.set(connection, side)
    return side
  }

  #refused(side: EmbeddedSide, endpoint: string): TailgateError {
    side.abandon()
    const why = this.#closed ? 'it has been let go' : 'it refuses the connection'
    return new TailgateError('E_ATTACH', `the embedded guest at ${endpoint} could not be joined: ${why}`)
  }

  #place(kind: PlaceKind, connection: number, place: number): void {
    switch (kind) {
      // Floors gather in the guest, so the last one of a connection may come after all else of it is over.
      case PlaceKind.floor: return this.onFloor?.(connectionId(connection), inputOffset(place))
      case PlaceKind.clientReset: return this.#resetTaken(connection, place)
      case PlaceKind.end: return this.#sides.get(connection)?.guestEnded(place)
      case PlaceKind.reset:
        this.#resetTaken(connection, this.#resetting.get(connection))
        return this.#sides.get(connection)?.guestReset()
      case PlaceKind.acknowledged: // It comes from nobody but a gateway.
    }
  }

  /**
   * The guest forgot the stream that was reset at this place, be it that it took the client's reset, or that
   * it reset the stream itself.
   */
  #resetTaken(connection: number, place: number | undefined): void {
    if (place === undefined || this.#resetting.get(connection) !== place) return
    this.#resetting.delete(connection)
    this.onResetTaken?.(connectionId(connection))
  }

  #acknowledge(side: EmbeddedSide, place: number): void {
    if (place <= side.acknowledged) return
    this.#unacknowledgedBytes += place - side.acknowledged
    side.acknowledged = place
    if (!side.acknowledgeQueued) {
      side.acknowledgeQueued = true
      this.#unacknowledged.push(side)
    }
    if (this.#unacknowledgedBytes >= acknowledgeBytes) this.#tellAcknowledged()
    else this.#timer ??= setTimeout(() => this.#tellAcknowledged(), acknowledgeDelayMs)
  }

  #tellAcknowledged(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const side of this.#unacknowledged) {
      side.acknowledgeQueued = false
      this.#control.add(PlaceKind.acknowledged, side.connection, side.acknowledged)
    }
    this.#unacknowledged = []
    this.#unacknowledgedBytes = 0
    this.#control.flush()
  }
}
