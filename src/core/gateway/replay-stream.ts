import {
  inputOffset, outputOffset, type ConnectionId, type InputOffset, type OutputHash, type OutputOffset
} from '../ids.ts'
import type { Hash } from '../ids.ts'
import { RecordKind, type DataRecord, type EndRecord } from '../record.ts'
import type { StreamEvents, StreamSide } from '../stream.ts'
import { Comparison } from './comparison.ts'
import type { Connection } from './connection.ts'

/** A place no stream reaches: a connection whose client is gone has nothing left to release. */
export const nowhere = outputOffset(Number.MAX_SAFE_INTEGER)

export type InputRecord = DataRecord | EndRecord

/**
 * One connection during replay: where its input stands in the restored guest, and what of its output has been
 * made again. `alive` is the client's connection, if the client is still there; a connection that ended after
 * the mark is replayed too, because what it did is part of the guest's state.
 */
export class ReplayStream implements StreamEvents {
  readonly id: ConnectionId
  readonly service: number
  readonly alive: Connection | undefined
  readonly #onProgress: () => void
  readonly #acknowledge: (received: OutputOffset) => void
  readonly #onSent: (bytes: number) => void
  readonly #leaving: () => void
  readonly #hash: Hash
  /**
   * `unopened`: the guest had not taken it so far in the tail; its live connection, if there is one, dials
   * again. `diverged`: its client is reset, and what its guest says is nobody's; but its input, which others
   * may have been told of, is still sent. `leaving`: all of its input was sent, and its side is reset when
   * the guest has taken that (see departures.ts). `gone`: finished inside the checkpoint, reset, or
   * ambiguous: nothing is sent or awaited any more. `live`: handed over.
   */
  state: 'unopened' | 'resolving' | 'joined' | 'diverged' | 'leaving' | 'live' | 'gone' = 'unopened'
  side: StreamSide | undefined
  path: Uint8Array = new Uint8Array(0)
  /** The client as the log has it, `address:port`: it may be gone. */
  clientAddress = ''
  comparison: Comparison
  /** Where the next input record of the tail begins. */
  logged: InputOffset
  /** What the guest has, or has been sent. */
  sent: InputOffset = inputOffset(0)
  /** How much of its input the guest has acknowledged. */
  #floor: InputOffset = inputOffset(0)
  /** It was sent something after the guest had said something on it for the last time. */
  #isUnanswered = false
  #isEndSent = false
  /** The guest has taken its input, or was given the time to. */
  mayBeReset = false
  /** What the client has been given: nothing beyond it needs to be made again. */
  cap: OutputOffset = nowhere
  /** The furthest place of output that the tail so far waits for. */
  wanted: OutputOffset = outputOffset(0)
  /** So far its guest had come before it stood still: what of that is missing it sends again by itself. */
  repeatsTo: OutputOffset = outputOffset(0)
  /** What speaks for it that its output needs the input of others (see replay-stall.ts). */
  provoked = 0
  /** Of one that diverged: it has said nothing for a while, so it has done what it was sent. */
  quiet = false
  /** Of one that diverged: so many bytes less than before are awaited, since it may say less. */
  #shortBy = 0
  /** The place that was asked for last. */
  #asked: OutputOffset = outputOffset(0)
  /** Something arrived since the last look. */
  progressed = false
  /** Once replay is over: where events go. */
  #live: StreamEvents | undefined
  #paused = false
  /** Nothing that it says is compared or kept any more. */
  #onlyEndWanted = false
  readonly #pendingMax: number

  constructor(
    id: ConnectionId, service: number, alive: Connection | undefined, logged: InputOffset,
    options: {
      readonly hash: Hash, readonly pendingMax: number, readonly onProgress: () => void
      /** Output up to there has been read: a guest that is not told keeps it, and stops at some point. */
      readonly acknowledge: (received: OutputOffset) => void
      /** Its side is to be reset as soon as its guest has taken its input. */
      readonly leaving: () => void
      /** So much input was given to its side. */
      readonly onSent: (bytes: number) => void
    }
  ) {
    this.id = id
    this.service = service
    this.alive = alive
    this.logged = logged
    this.#hash = options.hash
    this.#pendingMax = options.pendingMax
    this.#onProgress = options.onProgress
    this.#acknowledge = options.acknowledge
    this.#onSent = options.onSent
    this.#leaving = options.leaving
    this.comparison = new Comparison(options.hash, outputOffset(0), undefined)
  }

  /** The guest's side is there: input goes on at `input`, output comes from `resumesAt`. */
  join(side: StreamSide, input: InputOffset, resumesAt: OutputOffset, known: OutputHash | undefined): void {
    this.side = side
    this.sent = this.#floor = input
    this.comparison = new Comparison(this.#hash, resumesAt, known)
    this.state = 'joined'
    this.progressed = true
    side.resume()
  }

  /** Sends an input record, or what of it the guest does not have yet. */
  send(record: InputRecord): void {
    const place = this.logged
    let length = record.kind === RecordKind.end ? 1 : 0
    if (record.kind === RecordKind.data) length = record.bytes.length
    this.logged = inputOffset(place + length)
    if (this.state !== 'joined' && this.state !== 'diverged') return
    this.quiet = false
    if (record.kind === RecordKind.reset) return this.part()
    if (this.logged <= this.sent) return
    if (record.kind === RecordKind.data) {
      const bytes = record.bytes.subarray(Math.max(0, this.sent - place))
      this.side?.write(bytes)
      this.#onSent(bytes.length)
      this.#isUnanswered = true
    } else {
      this.side?.end()
      this.#isEndSent = true
      this.#isUnanswered ||= this.comparison.end === 'open'
    }
    this.mayBeReset = false
    this.sent = this.logged
  }

  /** The guest has acknowledged its input up to `floor`. */
  noteFloor(floor: InputOffset): void {
    if (floor > this.#floor) this.#floor = floor
  }

  /**
   * Grows with what the guest does about it: takes input, and when it has all, says something. What it says
   * before says nothing of whether it ever takes that.
   */
  get progress(): number {
    return this.#floor < this.sent ? this.#floor : this.#floor + this.comparison.regenerated
  }

  /**
   * Whether the guest has taken what it was sent, so that no reset undoes that. What was acknowledged may
   * still lie unread, unless the guest has spoken since, or `isQuiet`: it has been silent for so long that it
   * does nothing any more. One that is over for both sides is not acted on.
   */
  hasTaken(isQuiet: boolean): boolean {
    const { side } = this
    if (side === undefined) return true
    if (this.#isUnanswered && !isQuiet && !this.quiet) return false
    if (this.#isEndSent && this.comparison.end === 'ended') return true
    return this.#floor >= this.sent || side.unacknowledged === 0
  }

  /** Its output is not what it was: see {@link state}. */
  diverge(): void {
    this.state = 'diverged'
    this.quiet = true
    this.comparison.takeRest()
    this.#steer()
  }

  /** It has diverged, and does not say as much as before: what it was asked for last is awaited no more. */
  passOver(): void {
    this.#shortBy = Math.max(this.#shortBy, this.#asked - this.comparison.regenerated)
  }

  /** All input was sent, and nothing is awaited any more: the side is reset when its guest has taken that. */
  part(): void {
    if (this.side === undefined) return this.forget()
    this.state = 'leaving'
    this.comparison.takeRest()
    this.#steer()
    this.#leaving()
  }

  /** Its guest has taken its input, or does not: resets the side of one that is leaving. */
  depart(): void {
    this.mayBeReset = true
    if (this.state === 'leaving') this.leave()
  }

  /** Resets the guest's side at once; nothing is awaited of it any more. */
  leave(): void {
    this.side?.reset()
    this.forget()
  }

  /** Nothing is sent or awaited any more; the guest's side needs no word. */
  forget(): void {
    this.side = undefined
    this.state = 'gone'
  }

  /** Places up to this one must be made again before what follows in the tail may be sent. */
  target(place: OutputOffset): OutputOffset {
    return outputOffset(Math.min(place, this.cap))
  }

  get isJoined(): boolean { return this.state === 'joined' }

  /** Whether what comes next is what its guest had sent before: its timer for that is over at some time. */
  get isRepeating(): boolean { return this.comparison.regenerated < this.repeatsTo }

  /** Whether output up to `place`, as far as the client was given it, has been made again. */
  has(place: OutputOffset): boolean {
    return this.state === 'joined' && this.comparison.regenerated >= this.target(place)
  }

  /** Whether output up to `place` has been made again; if not, it is read on, however much is kept. */
  reach(place: OutputOffset): boolean {
    if (this.state === 'gone' || this.state === 'leaving' || this.state === 'live') return true
    this.#asked = place
    if (this.state === 'diverged') {
      return this.comparison.end !== 'open' || this.comparison.regenerated + this.#shortBy >= place
    }
    if (this.has(place)) return true
    this.want(place, undefined)
    return false
  }

  /** Whether its output has ended, or it was reset; if not, it is read on, and what it says is nobody's. */
  reachEnd(): boolean {
    if (this.comparison.end !== 'open') return true
    this.#onlyEndWanted = true
    this.comparison.takeRest()
    this.#steer()
    return false
  }

  /** The tail, read ahead, says that the output had come to `place`. */
  want(place: OutputOffset, hash: OutputHash | undefined): void {
    if (place > this.wanted) this.wanted = this.target(place)
    if (hash !== undefined && place <= this.cap) this.comparison.expect(place, hash)
    this.#steer()
  }

  /**
   * Replay is over for this stream: `rejoin` gives its side to the live connection, which alone pauses it
   * from now on, and answers where its events go.
   */
  handOver(rejoin: () => StreamEvents): void {
    this.wanted = nowhere
    this.#steer()
    this.state = 'live'
    const live = this.#live = rejoin()
    for (const bytes of this.comparison.takeRest()) live.data(bytes)
    // A reset that came after the end does not take it back: who has ended its own direction sees none.
    if (this.comparison.ended) live.end()
    if (this.comparison.end === 'reset') live.reset()
  }

  data(bytes: Uint8Array): void {
    if (this.#live !== undefined) return this.#live.data(bytes)
    this.comparison.push(new Uint8Array(bytes))
    this.#isUnanswered = false
    const isNobodys = this.#onlyEndWanted || this.state === 'diverged' || this.state === 'leaving'
    if (isNobodys) this.comparison.takeRest()
    if (!this.#onlyEndWanted) this.progressed = true
    this.#acknowledge(this.comparison.regenerated)
    this.#steer()
    this.#onProgress()
  }

  end(): void {
    if (this.#live !== undefined) return this.#live.end()
    this.progressed = true
    this.#isUnanswered = false
    this.comparison.finish('ended')
    this.#acknowledge(this.comparison.regenerated)
    this.#onProgress()
  }

  reset(): void {
    if (this.#live !== undefined) return this.#live.reset()
    this.progressed = true
    this.comparison.finish('reset')
    this.side = undefined
    this.#onProgress()
  }

  drain(): void {
    this.#live?.drain()
  }

  /** Stops reading what is only kept, at its limit; reads on for what is awaited. */
  #steer(): void {
    const { pendingBytes, regenerated } = this.comparison
    const full = pendingBytes > this.#pendingMax && regenerated >= this.wanted
    if (full === this.#paused) return
    this.#paused = full
    if (full) this.side?.pause()
    else this.side?.resume()
  }
}
