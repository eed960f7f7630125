import { inputOffset, outputOffset, type OutputHash, type OutputOffset } from '../ids.ts'
import type { AttachAnswer } from '../path.ts'
import type { AdoptRecord } from '../record.ts'
import type { StreamSide } from '../stream.ts'
import type { Connection, Ending } from './connection.ts'
import type { DataPath } from './data-path.ts'
import type { HeldOutput } from './held-output.ts'
import type { AttachResult, GatewayPort, OpenResult } from './port.ts'
import type { ReplayStream } from './replay-stream.ts'

/** Connections asked about at the same time. */
const attachingMax = 256

export interface ReplayJoinsOptions {
  readonly port: GatewayPort
  readonly dataPath: DataPath
  readonly held: HeldOutput
  /** It has its place in the restored guest: what the tail awaits of it can be said. */
  readonly joined: (stream: ReplayStream) => void
  /** It had finished inside the checkpoint, and its client is still there. */
  readonly finishedInside: (alive: Connection) => void
  readonly drop: (stream: ReplayStream, ending: Ending, reason: string) => void
  /** A connection was resolved, one way or the other. */
  readonly resolved: () => void
}

/**
 * Finds each connection of a replay its place in the restored guest (design, "Failover, step by step", 4):
 * joins those that the guest knows, and opens anew those that came after the mark.
 */
export class ReplayJoins {
  readonly #options: ReplayJoinsOptions
  #attaching = 0
  /** Those that are opened again, with why it did not come about the last time. */
  readonly #unanswered = new Map<ReplayStream, string>()
  /** Services that have a connection in this guest, or have not taken one for so long: they say a true no. */
  readonly #decided = new Set<number>()
  #over = false

  constructor(options: ReplayJoinsOptions) {
    this.#options = options
  }

  /** Whether every connection that was asked about has been answered for. */
  get attached(): boolean { return this.#attaching === 0 }
  /** Whether one more may be asked about. */
  get hasRoom(): boolean { return this.#attaching < attachingMax }

  /** The replay has ended: what is still answered is let go of. */
  end(): void {
    this.#over = true
  }

  /** Asks the restored guest for the place of a connection that it may know. */
  attach(stream: ReplayStream, record: AdoptRecord): void {
    // What the gateway had read when the guest stood still was said before the checkpoint. All later output
    // is wanted again, also what the restored guest has made since its network opened: it is to be compared.
    const received = record.output
    this.#attaching++
    stream.state = 'resolving'
    this.#options.port.attach(record.connection, record.service, record.path, received, stream, result => {
      this.#attaching--
      const side = result.ok && result.answer.known ? result.answer.side : undefined
      if (!this.#isWanted(stream, side)) return
      this.#attached(stream, record, result)
      this.#options.resolved()
    })
  }

  /** Opens a connection that the restored guest cannot know. */
  open(stream: ReplayStream): void {
    stream.state = 'resolving'
    this.#options.port.open(stream.id, stream.service, stream, result => {
      if (!this.#isWanted(stream, result.ok ? result.path.side : undefined)) return
      this.#opened(stream, result)
      this.#options.resolved()
    }, stream)
  }

  /** Opens again what did not come about. Called now and then. */
  retry(): void {
    const again = [...this.#unanswered.keys()]
    this.#unanswered.clear()
    for (const stream of again) if (stream.state === 'resolving') this.open(stream)
  }

  /** This connection is not resolved, and not waited for any more. Returns why, in words. */
  giveUp(stream: ReplayStream): string {
    const reason = this.#unanswered.get(stream)
    if (reason === undefined) return 'the restored guest did not answer in time'
    this.#decided.add(stream.service)
    return notTaken(reason)
  }

  /** Whether this answer is waited for: the stream, or the whole replay, may have been given up meanwhile. */
  #isWanted(stream: ReplayStream, side: StreamSide | undefined): boolean {
    const isOpen = stream.state === 'resolving'
    if (isOpen && !this.#over) return true
    if (isOpen) side?.abandon()
    else side?.reset()
    if (!this.#over) this.#options.resolved()
    return false
  }

  /** The three answers to a probe (design, "Marks"). */
  #attached(stream: ReplayStream, record: AdoptRecord, result: AttachResult): void {
    const { drop } = this.#options
    if (!result.ok) drop(stream, 'ambiguous', `the restored guest could not be asked: ${result.reason}`)
    else if (result.answer.known) this.#join(stream, record, result.answer)
    else if (record.connected) this.#finishedInside(stream, record)
    else stream.state = 'unopened'
  }

  #join(stream: ReplayStream, record: AdoptRecord, answer: AttachAnswer & { known: true }): void {
    const { drop, dataPath, held } = this.#options
    if (answer.input < record.input) {
      answer.side.reset()
      drop(stream, 'ambiguous', 'its input in the restored guest ends before the log begins')
      return
    }
    const { alive } = stream
    if (alive !== undefined && answer.resumesAt > alive.outputReceived) {
      answer.side.reset()
      drop(stream, 'ambiguous', 'its guest holds output for acknowledged that was never read')
      return
    }
    stream.path = record.path
    let known = knownAt(record, answer.resumesAt)
    if (alive !== undefined) {
      dataPath.floors.restartAt(alive, answer.input)
      held.deliver(alive, answer.resumesAt)
      stream.cap = alive.released
      if (alive.released === answer.resumesAt) known = alive.releasedHash
    }
    stream.repeatsTo = answer.output
    stream.join(answer.side, answer.input, answer.resumesAt, known)
    this.#joined(stream)
  }

  /**
   * It had finished before the guest stood still, with everything read by then. If more was read since, the
   * restored guest may have run on and reset it: what it would have said nobody knows.
   */
  #finishedInside(stream: ReplayStream, record: AdoptRecord): void {
    const { alive } = stream
    if (alive !== undefined && alive.outputReceived > record.output) {
      this.#options.held.deliver(alive, record.output)
      const reason = 'the restored guest does not know it, though it had said more before'
      this.#options.drop(stream, 'ambiguous', reason)
      return
    }
    stream.forget()
    if (alive !== undefined) this.#options.finishedInside(alive)
  }

  /**
   * The guest had taken it once. One that says no may have been restored to a moment at which its service was
   * not there yet: it is asked again, as one that says nothing.
   */
  #opened(stream: ReplayStream, result: OpenResult): void {
    if (!result.ok) {
      const isFinal = result.refused && this.#decided.has(stream.service)
      if (isFinal) this.#options.drop(stream, 'diverged', notTaken(result.reason))
      else this.#unanswered.set(stream, result.reason)
      return
    }
    const { alive } = stream
    if (alive !== undefined) {
      this.#options.held.drop(alive)
      this.#options.dataPath.floors.restartAt(alive, inputOffset(0))
    }
    stream.path = result.path.path
    stream.join(result.path.side, inputOffset(0), outputOffset(0), undefined)
    this.#joined(stream)
  }

  #joined(stream: ReplayStream): void {
    this.#decided.add(stream.service)
    this.#options.joined(stream)
  }
}

function knownAt(record: AdoptRecord, place: OutputOffset): OutputHash | undefined {
  return record.output === place ? record.hash : undefined
}

function notTaken(reason: string): string {
  return `the guest did not take it again: ${reason}`
}
