import type { Socket } from 'node:net'
import type { GuestStream } from './guest-stream.ts'
import { PlaceKind, PlaceReader, PlaceWriter } from './wire.ts'

/** How long floors gather before they leave, in milliseconds. */
export const floorDelayMs = 10
/** A client may reset before its stream's own socket shows all input; more than this is a broken gateway. */
const controlBacklogMax = 16 * 1024 * 1024

export interface ControlEvents {
  /** The lease has run out: `bytes` come again if it is renewed. */
  holdsBack(bytes: Buffer): boolean
  /** Bytes are about to be written, so that a path whose lease has run out is shut first. */
  sending(): void
  place(kind: PlaceKind, connection: number, place: number): void
  /** It broke; once. */
  closed(): void
}

/** The connection over which one gateway process and this guest tell each other places. */
export class ControlConnection {
  readonly incarnation: bigint
  #socket: Socket
  #writer = new PlaceWriter()
  #floors: GuestStream[] = []
  #timer: NodeJS.Timeout | undefined
  #open = true
  #sending: () => void

  constructor(socket: Socket, incarnation: bigint, first: Buffer, events: ControlEvents) {
    this.incarnation = incarnation
    this.#socket = socket
    const reader = new PlaceReader()
    const read = (bytes: Buffer): void => {
      if (events.holdsBack(bytes)) return
      try {
        reader.feed(bytes, (kind, connection, place) => events.place(kind, connection, place))
      } catch {
        // Whoever sends nonsense here is no gateway of ours: its streams end with it.
        socket.destroy()
      }
    }
    socket.on('data', read)
    socket.on('end', () => socket.destroy())
    socket.on('close', () => {
      if (!this.#open) return
      this.close()
      events.closed()
    })
    this.#sending = () => { events.sending() }
    if (first.length > 0) read(first)
  }

  /** Input of `stream` has been taken; told with others a little later. */
  floorMoved(stream: GuestStream): void {
    if (stream.floorQueued) return
    stream.floorQueued = true
    this.#floors.push(stream)
    this.#timer ??= setTimeout(() => this.flush(), floorDelayMs)
  }

  ended(stream: GuestStream): void {
    this.#writer.add(PlaceKind.end, stream.connection, stream.endPlace)
  }

  reset(stream: GuestStream): void {
    this.#writer.add(PlaceKind.reset, stream.connection, stream.output)
  }

  /** The client's reset of a stream has been taken, whose input had come to `place`; told a little later. */
  resetTaken(connection: number, place: number): void {
    this.#writer.add(PlaceKind.clientReset, connection, place)
    this.#timer ??= setTimeout(() => this.flush(), floorDelayMs)
  }

  /** Sends everything gathered. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const stream of this.#floors) {
      stream.floorQueued = false
      this.#writer.add(PlaceKind.floor, stream.connection, stream.input)
    }
    this.#floors = []
    this.sendUrgent()
  }

  /** Sends ends and resets, which do not wait. */
  sendUrgent(): void {
    const bytes = this.#writer.take()
    if (bytes === undefined || !this.#open) return
    this.#sending()
    this.#socket.write(bytes)
    if (this.#socket.writableLength > controlBacklogMax) this.#socket.destroy()
  }

  /** Lets go of it; no event follows. */
  close(): void {
    this.#open = false
    clearTimeout(this.#timer)
    for (const stream of this.#floors) stream.floorQueued = false
    this.#floors = []
    this.#socket.destroy()
  }
}
