import { closeDescriptor, duplicate, shutdownWriting } from '../../../src/net/libc.ts'
import type { StreamEvents } from '../../../src/core/stream.ts'
import type { SocketSide } from '../../../src/net/sockets.ts'
import { tcpInfo, TcpState } from '../../../src/net/tcp-info.ts'
import { dump, queuesOf, withFinTaken, type TcpImage } from '../../net/tcp-image.ts'
import { answerTo, connectionOf, isLast } from './requests.ts'

/** What the guest's process knows of a connection beside its socket. */
interface Known {
  name: string
  /** The beginning of a request. */
  begun: string
  /** Requests that it has carried out and not answered. */
  owed: string[]
  handled: number
  inputEnded: boolean
  outputEnded: boolean
}

/** A connection in an image. */
export interface SavedConnection {
  readonly known: Known
  readonly image: TcpImage
  /** Output that the process had written and the kernel had not taken. */
  readonly notTaken: Buffer
}

/** What a test asks to see. */
export interface Look extends Readonly<Omit<Known, 'owed'>> {
  readonly owed: number
  /** By the number of {@link TcpState}. */
  readonly state: number
  /** The gateway's port. */
  readonly port: number
  readonly unread: number
  readonly unacknowledged: number
  readonly unsent: number
  readonly isReset: boolean
}

/** One connection of the guest: requests are carried out as they come, and answered if that is not held. */
export class GuestConnection implements StreamEvents {
  readonly #known: Known
  readonly #executed: (request: string) => void
  /** A descriptor of its own, so that the socket can be looked at, and saved, whatever became of its side. */
  readonly #descriptor: number
  readonly #port: number
  #side: SocketSide | undefined
  #holding = false
  #isReset = false
  /** The newest output, as much as the kernel may not have taken. */
  #written: Buffer = Buffer.alloc(0)
  /** How the socket was before the other side's end came, which it does not outlive. */
  #parting: TcpImage | undefined

  /** `descriptor`: of a socket that was put back, and has no side yet. */
  constructor(
    executed: (request: string) => void, from: { descriptor: number, port: number, known?: Known }
  ) {
    this.#executed = executed
    this.#descriptor = from.descriptor
    this.#port = from.port
    this.#known = from.known
      ?? { name: '', begun: '', owed: [], handled: 0, inputEnded: false, outputEnded: false }
  }

  static accepted(side: SocketSide, executed: (request: string) => void): GuestConnection {
    const port = Number(side.remote.split(':').at(-1))
    const connection = new GuestConnection(executed, { descriptor: duplicate(side.descriptor), port })
    connection.join(side)
    side.resume()
    return connection
  }

  get name(): string { return this.#known.name }
  get port(): number { return this.#port }

  /** `side` is not read from before it is resumed. */
  join(side: SocketSide): void {
    this.#side = side
    side.attach(this)
  }

  // ---- what comes

  data(bytes: Uint8Array): void {
    const known = this.#known
    const requests = (known.begun + Buffer.from(bytes).toString('latin1')).split(';')
    known.begun = requests.pop() ?? ''
    for (const request of requests) {
      known.name = connectionOf(request)
      known.handled++
      this.#executed(request)
      known.owed.push(request)
    }
    this.#answer()
  }

  end(): void {
    this.#known.inputEnded = true
    this.#answer()
  }

  reset(): void {
    this.#isReset = true
    this.#side = undefined
  }

  drain(): void {
    return
  }

  // ---- what a test orders

  hold(holding: boolean): void {
    this.#holding = holding
    this.#answer()
  }

  read(reading: boolean): void {
    if (reading) this.#side?.resume()
    else this.#side?.pause()
  }

  /** The other side's end comes next, and takes the socket away. */
  part(): void {
    this.#parting = dump(this.#descriptor)
  }

  look(): Look {
    const { owed, ...known } = this.#known
    const { state } = tcpInfo(this.#descriptor)
    const about = { ...known, owed: owed.length, state, port: this.#port, isReset: this.#isReset }
    if (state === TcpState.close) return { ...about, unread: 0, unacknowledged: 0, unsent: 0 }
    return { ...about, ...queuesOf(this.#descriptor) }
  }

  // ---- answers

  #answer(): void {
    const known = this.#known
    if (this.#holding || this.#side === undefined || known.outputEnded) return
    for (const request of known.owed.splice(0)) {
      this.#write(Buffer.from(answerTo(request)))
      if (isLast(request)) return this.#endOutput()
    }
    if (known.inputEnded) this.#endOutput()
  }

  #write(bytes: Buffer): void {
    const untaken = this.#notTaken()
    this.#written = Buffer.concat([untaken, bytes])
    this.#side?.write(bytes)
  }

  #notTaken(): Buffer {
    const backlog = this.#side?.backlog ?? 0
    return this.#written.subarray(this.#written.length - backlog)
  }

  #endOutput(): void {
    this.#known.outputEnded = true
    this.#shutWhenTaken()
  }

  #shutWhenTaken(): void {
    if (this.#side === undefined) return
    if (this.#side.backlog > 0) setImmediate(() => this.#shutWhenTaken())
    else shutdownWriting(this.#descriptor)
  }

  // ---- images

  /** Undefined for one of which the kernel knows nothing any more. */
  save(): SavedConnection | undefined {
    const image = this.#image()
    if (image === undefined) return undefined
    return { known: { ...this.#known, owed: [...this.#known.owed] }, image, notTaken: this.#notTaken() }
  }

  #image(): TcpImage | undefined {
    if (tcpInfo(this.#descriptor).state !== TcpState.close) return dump(this.#descriptor)
    if (this.#parting === undefined || this.#isReset) return undefined
    return withFinTaken(this.#parting, TcpState.timeWait)
  }

  /** Goes on where it was saved; it answers when it is told so. */
  static restored(
    saved: SavedConnection, descriptor: number, adopt: (descriptor: number) => SocketSide,
    executed: (request: string) => void
  ): GuestConnection {
    const { known, image, notTaken } = saved
    const port = image.remote.port
    const connection = new GuestConnection(executed, { descriptor: duplicate(descriptor), port, known })
    connection.#holding = true
    if (image.state === TcpState.timeWait) closeDescriptor(descriptor)
    else {
      connection.join(adopt(descriptor))
      if (notTaken.length > 0) connection.#write(notTaken)
      const isEnding = image.state === TcpState.established || image.state === TcpState.closeWait
      if (known.outputEnded && isEnding) connection.#shutWhenTaken()
    }
    return connection
  }
}
