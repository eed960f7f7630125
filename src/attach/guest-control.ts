import { TailgateError, messageOf } from '../base/errors.ts'
import { encodeGreeting, PlaceReader, PlaceWriter, takeAnswer, type PlaceKind } from '../guest/wire.ts'
import { parseAddress } from '../net/address.ts'
import type { SocketSide, Sockets } from '../net/sockets.ts'

/** Waits between attempts to reach a guest again whose control connection broke, in milliseconds. */
const retryMsFirst = 100
const retryMsMax = 2000

export interface ControlEvents {
  place(kind: PlaceKind, connection: number, place: number): void
  /** The connection had broken and is there again: every stream of before has been reset by the guest. */
  renewed(): void
}

export interface ControlSettings {
  readonly sockets: Sockets
  readonly incarnation: bigint
  /** How long the guest may take to accept, and to answer, in milliseconds. */
  readonly connectMs: number
}

/** Connects to `host:port`. Rejects with E_ATTACH. */
export async function dialGuest(sockets: Sockets, endpoint: string, timeoutMs: number): Promise<SocketSide> {
  const address = parseAddress(endpoint)
  if (address === undefined) throw new TailgateError('E_ATTACH', `'${endpoint}' is not host:port`)
  try {
    return await sockets.dial(address.host, address.port, { timeoutMs })
  } catch (error) {
    throw new TailgateError('E_ATTACH', messageOf(error), { cause: error, context: { endpoint } })
  }
}

/** The one control connection of an attach; opened when first needed, and again when it broke. */
export class GuestControl {
  #settings: ControlSettings
  #events: ControlEvents
  #writer = new PlaceWriter()
  #socket: SocketSide | undefined
  #opening: Promise<void> | undefined
  #endpoint = ''
  #wasUp = false
  #closed = false
  #retry: NodeJS.Timeout | undefined
  #retryMs = retryMsFirst

  constructor(settings: ControlSettings, events: ControlEvents) {
    this.#settings = settings
    this.#events = events
  }

  /** Resolves when the connection is there. Rejects with E_ATTACH. */
  ready(endpoint: string): Promise<void> {
    if (this.#closed) return Promise.reject(new TailgateError('E_ATTACH', 'the guest has been let go'))
    if (this.#socket !== undefined) return Promise.resolve()
    this.#endpoint = endpoint
    this.#opening ??= this.#open(endpoint).finally(() => { this.#opening = undefined })
    return this.#opening
  }

  add(kind: PlaceKind, connection: number, place: number): void {
    this.#writer.add(kind, connection, place)
  }

  flush(): void {
    const bytes = this.#writer.take()
    if (bytes !== undefined) this.#socket?.write(bytes)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#retry)
    this.#socket?.abandon()
    this.#socket = undefined
  }

  async #open(endpoint: string): Promise<void> {
    const socket = await dialGuest(this.#settings.sockets, endpoint, this.#settings.connectMs)
    await this.#greet(socket)
    if (this.#closed) {
      socket.abandon()
      throw new TailgateError('E_ATTACH', 'the guest has been let go')
    }
    this.#socket = socket
    this.#retryMs = retryMsFirst
    this.#writer.take()
    if (this.#wasUp) this.#events.renewed()
    this.#wasUp = true
  }

  #greet(socket: SocketSide): Promise<void> {
    return new Promise((resolve, reject) => {
      let early: Buffer | undefined = Buffer.alloc(0)
      const fail = (why: string): void => {
        clearTimeout(timer)
        socket.abandon()
        reject(new TailgateError('E_ATTACH', `the embedded guest gives no control connection: ${why}`))
      }
      const timer = setTimeout(() => fail('it does not answer'), this.#settings.connectMs)
      const reader = new PlaceReader()
      const read = (bytes: Uint8Array): void => reader.feed(bytes, (...place) => this.#events.place(...place))
      const greeted = (bytes: Uint8Array): void => {
        early = Buffer.concat([early ?? Buffer.alloc(0), bytes])
        const taken = takeAnswer(early)
        if (taken === undefined) return
        if (taken.value.kind !== 'accepted') throw new TailgateError('E_FRAME', 'it refuses')
        clearTimeout(timer)
        const rest = early.subarray(taken.bytes)
        early = undefined
        resolve()
        read(rest)
      }
      socket.attach({
        data: (bytes) => {
          try {
            if (early === undefined) read(bytes)
            else greeted(bytes)
          } catch (error) {
            if (early !== undefined) fail(messageOf(error))
            else this.#broke(socket)
          }
        },
        end: () => early === undefined ? this.#broke(socket) : fail('it closed the connection'),
        reset: () => early === undefined ? this.#broke(socket) : fail('the connection broke'),
        drain: () => undefined
      })
      socket.write(encodeGreeting({ kind: 'control', incarnation: this.#settings.incarnation }))
      socket.resume()
    })
  }

  /**
   * The host may be dead, of which this side says nothing; or only the path was cut, and the guest is found
   * again.
   */
  #broke(socket: SocketSide): void {
    socket.abandon()
    if (this.#socket === socket) this.#socket = undefined
    if (!this.#closed) this.#tryLater()
  }

  #tryLater(): void {
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => {
      this.ready(this.#endpoint).catch(() => { if (!this.#closed) this.#tryLater() })
    }, this.#retryMs)
    this.#retryMs = Math.min(this.#retryMs * 2, retryMsMax)
  }
}
