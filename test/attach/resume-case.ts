import type { Test } from 'tap'
import type { AttachAnswer } from '../../src/core/path.ts'
import type { StreamSide } from '../../src/core/stream.ts'
import { TcpPlacesBook } from '../../src/attach/tcp-places.ts'
import { decodePath, type TcpPathState } from '../../src/attach/tcp-path.ts'
import { guestMark, TcpResumeAttach } from '../../src/attach/tcp-resume.ts'
import { inputOffset, outputOffset, type ConnectionId } from '../../src/core/ids.ts'
import { RstShield } from '../../src/net/rst-shield.ts'
import type { Sockets } from '../../src/net/sockets.ts'
import type { TcpImage } from '../net/tcp-image.ts'
import { nextConnection } from './compliance.ts'
import { openPath } from './open-path.ts'
import { Recorder } from './recorder.ts'
import { guestAddress, type RewoundGuest } from './rewound-guest.ts'

/** What a guest made with so much of its connection's input and output, and what a gateway had logged. */
export interface Logged {
  input: string
  inputEnded: boolean
  output: string
  outputEnded: boolean
}

/**
 * One connection through a failover: opened, brought to a state, saved with its guest, brought on, and joined
 * again in the guest that went back.
 */
export class ResumeCase {
  readonly guest: RewoundGuest
  readonly connection: ConnectionId = nextConnection()
  readonly events = new Recorder()
  readonly logged: Logged = { input: '', inputEnded: false, output: '', outputEnded: false }
  readonly #sockets: Sockets
  readonly #book = new TcpPlacesBook()
  readonly #shield: RstShield
  #attach: TcpResumeAttach
  #side: StreamSide | undefined
  #path: Uint8Array = new Uint8Array(0)
  /** The guest's number of it, in either life. */
  at = -1
  /** What the guest had read before it was saved. */
  #heard = 0
  #received = 0

  constructor(guest: RewoundGuest, sockets: Sockets, shield: RstShield) {
    this.guest = guest
    this.#sockets = sockets
    this.#shield = shield
    this.#attach = this.#newAttach()
  }

  #newAttach(): TcpResumeAttach {
    const shielded = (): boolean => this.#shield.armed
    return new TcpResumeAttach({ sockets: this.#sockets, connectMs: 5000, book: this.#book, shielded })
  }

  get side(): StreamSide {
    if (this.#side === undefined) throw new Error('the connection is not open')
    return this.#side
  }

  get path(): Uint8Array { return this.#path }
  set path(path: Uint8Array) { this.#path = path }
  get received(): number { return this.#received }

  async open(endpoint: string): Promise<void> {
    const { side, path } = await openPath(this.#attach, endpoint, this.connection, this.events)
    this.#side = side
    this.#path = path
    this.at = await this.guest.nextAccepted()
    side.resume()
  }

  input(text: string): void {
    this.logged.input += text
    this.side.write(Buffer.from(text))
  }

  endInput(): void {
    this.logged.inputEnded = true
    this.side.end()
  }

  async output(text: string): Promise<void> {
    this.logged.output += text
    await this.guest.write(this.at, text)
  }

  async endOutput(): Promise<void> {
    this.logged.outputEnded = true
    await this.guest.end(this.at)
  }

  /** Everything that the guest has said has been read here. */
  async read(): Promise<void> {
    await this.events.until(() => this.events.length === this.logged.output.length)
    if (this.logged.outputEnded) await this.events.untilTold('end')
  }

  /** The guest's process has read all of the input. */
  async heard(): Promise<void> {
    await this.guest.resume(this.at)
    await this.guest.heard(this.at, this.logged.input.length)
    if (this.logged.inputEnded) await this.guest.told(this.at, 'end')
    this.#heard = this.logged.input.length
  }

  /** The guest's kernel has acknowledged all input. */
  async acknowledged(): Promise<void> {
    const { input, inputEnded } = this.logged
    const all = input.length + (inputEnded ? 1 : 0)
    await new Promise<void>((resolve) => this.onFloor((floor) => { if (floor === all) resolve() }))
  }

  /** Where a stream stands in an image, by its sequence numbers. */
  inputPlace(image: TcpImage): number {
    const { sendBase } = this.#state
    return (image.receiveNext - sendBase + 2 ** 32) % 2 ** 32
  }

  outputPlace(image: TcpImage): number {
    const { receiveBase } = this.#state
    return (image.sendNext - receiveBase + 2 ** 32) % 2 ** 32
  }

  get #state(): TcpPathState {
    const state = decodePath(this.#path)
    if (state === undefined) throw new Error('the path tells no sequence numbers')
    return state
  }

  /** The guest stands still: this is what its process knows, and what the gateway has read. */
  async mark(): Promise<TcpImage> {
    this.markClosed()
    return this.guest.dump(this.at)
  }

  /** The same for a guest that has nothing left of the connection. */
  markClosed(): void {
    this.#received = this.events.length + (this.events.told.includes('end') ? 1 : 0)
  }

  /** The guest is gone, and the gateway's sockets with it. */
  async cut(): Promise<void> {
    await this.#shield.arm([guestAddress[4], guestAddress[6]])
    if (this.at >= 0) await this.guest.vanish(this.at)
    this.#attach.close()
    this.#attach = this.#newAttach()
  }

  async restore(image: TcpImage): Promise<void> {
    this.at = await this.guest.restore(image)
  }

  async join(endpoint: string, events: Recorder): Promise<AttachAnswer> {
    const received = outputOffset(this.#received)
    const answer = await this.#attach.attach(endpoint, this.connection, this.#path, received, events)
    if (answer.known) this.#side = answer.side
    return answer
  }

  /** Sends what was logged from `place` on, as a replay does. */
  replay(place: number): void {
    const { input, inputEnded } = this.logged
    if (place < input.length) this.side.write(Buffer.from(input.slice(place)))
    if (inputEnded && place <= input.length) this.side.end()
  }

  /** The guest's process, which begins again where it was saved, comes to know all input. */
  async checkInput(t: Test): Promise<void> {
    const expected = this.logged.input.slice(this.#heard)
    await this.guest.resume(this.at)
    t.equal(await this.guest.heard(this.at, expected.length), expected, 'the guest has all input, once')
    if (this.logged.inputEnded) await this.guest.told(this.at, 'end')
  }

  /** Told by a side that joined at `resumesAt`. */
  async checkOutput(t: Test, events: Recorder, resumesAt: number): Promise<void> {
    const { output, outputEnded } = this.logged
    const expected = output.slice(resumesAt)
    await events.until(() => events.length >= expected.length)
    t.equal(events.text, expected, 'output comes from the place that was named')
    if (outputEnded && resumesAt <= output.length) await events.untilTold('end')
    t.notOk(events.told.includes('reset'))
  }

  /** The places of the input that the log may still hold. */
  onFloor(told: (floor: number) => void): void {
    this.#attach.onFloor = (connection, floor) => {
      if (connection === this.connection) told(floor - inputOffset(0))
    }
  }

  async close(): Promise<void> {
    this.#attach.close()
    if (this.at >= 0) await this.guest.vanish(this.at)
  }
}

/** The shield of the tests. */
export function testShield(): RstShield {
  return new RstShield({ name: 'test', mark: guestMark })
}
