import { InvariantError } from '../../base/invariant.ts'
import {
  inputOffset, outputOffset, type ConnectionId, type InputOffset, type Millis, type OutputOffset
} from '../ids.ts'
import { RecordCursor } from '../record-codec.ts'
import { RecordKind, type AdoptRecord, type LogRecord, type OpenRecord } from '../record.ts'
import { DeferredInputs } from './deferred-inputs.ts'
import { Departures, quietAfterMs } from './departures.ts'
import type { Ending } from './connection.ts'
import { ForeseenOutput } from './foreseen-output.ts'
import { ReplayEnd } from './replay-end.ts'
import { ReplayJoins } from './replay-joins.ts'
import { backlogMax, ReplayBacklog } from './replay-backlog.ts'
import type { ReplayCounts, ReplayOptions } from './replay-options.ts'
import { ReplayQueue, type Queued } from './replay-queue.ts'
import { Stall } from './replay-stall.ts'
import { nowhere, ReplayStream, type InputRecord } from './replay-stream.ts'
import { SetAside } from './set-aside.ts'

/** So much is read ahead to find an input's first output. */
const window = { records: 4096, inputBytes: backlogMax } as const
/** A dial that was not answered is tried again after so many milliseconds. */
const retryMs = 20

/**
 * Replays the tail into a restored guest (design, "Failover, step by step", 4 to 6).
 *
 * Records are taken in lsn order and causally: a READ record is passed only when the output it names has been
 * made again, so no input is sent before the outputs that had been received before it. Inputs that overlapped
 * have no recorded order; with `replay.order: output` the last input before an output waits for the place of
 * that output: such inputs are sent one at a time, in the order in which their first output was received:
 *
 *   tail      D(a) D(b) R(b) R(a) D(a) …
 *   sent      D(b), await R(b), D(a), await R(a), D(a) …
 *
 * An input that was never answered, as the last ones before the primary died, comes after all that were. But
 * one that was not because its client reset the connection is sent in its place: it was most likely executed
 * when it came. The reset, too, has its place (see departures.ts).
 *
 * Inputs that wait so are sent before their turn when an output does not come, which may need them (see
 * replay-stall.ts). If it does not come even then, another connection may hold what it needs, as a lock of a
 * database, and let go of it only later in the tail: then its stream is set aside, the others go on, and its
 * own records wait until it has made its output. What is sent so breaks the causal order; nothing but what is
 * compared tells whether that mattered, so it is counted, and done only with `on_divergence: reset`.
 */
export class Replay {
  readonly #options: ReplayOptions
  readonly #joins: ReplayJoins
  readonly #end: ReplayEnd
  readonly #streams = new Map<ConnectionId, ReplayStream>()
  readonly #cursor = new RecordCursor()
  readonly #queue = new ReplayQueue()
  readonly #deferred = new DeferredInputs()
  readonly #stall: Stall
  readonly #aside: SetAside
  readonly #departures: Departures
  readonly #backlog: ReplayBacklog
  readonly #foreseen = new ForeseenOutput()
  readonly #counts: ReplayCounts = {
    records: 0, inputBytes: 0, kept: 0, reset: 0, diverged: 0, reordered: 0, unverifiedBytes: 0
  }
  #tailEnded = false
  #finished = false
  #onlyAsideLeft = false
  /** So long streams that have diverged were waited for in vain, in milliseconds. */
  #quietMs = 0
  #advancing = false
  #again = false
  #retried: Millis
  #now: Millis

  constructor(options: ReplayOptions) {
    const { port, dataPath, held, settings } = options
    this.#options = options
    this.#retried = this.#now = options.now
    this.#stall = new Stall(options.now, () => this.#deferred.sendFirst())
    this.#aside = new SetAside(options.now)
    this.#departures = new Departures(options.now, settings)
    this.#backlog = new ReplayBacklog(options.now, settings.replayTimeoutMs / 2)
    this.#end = new ReplayEnd({
      replay: options, streams: this.#streams, stall: this.#stall, aside: this.#aside, counts: this.#counts,
      departures: this.#departures,
      diverge: (stream, reason) => this.#diverge(stream, reason)
    })
    this.#joins = new ReplayJoins({
      port, dataPath, held, joined: stream => this.#foreseen.tell(stream),
      finishedInside: alive => this.#end.deliverFinished(alive),
      drop: (stream, ending, reason) => this.#drop(stream, ending, reason), resolved: () => this.#advance()
    })
  }

  get counts(): Readonly<ReplayCounts> { return this.#counts }
  /** Whether the caller is to give credit for more of the tail. */
  get wantsMore(): boolean {
    return this.#queue.waiting < window.records && !this.#backlog.isFull(this.#queue.inputBytes)
  }

  get finished(): boolean { return this.#finished }
  /** Whether every connection of the base has been asked about. */
  get attached(): boolean { return this.#joins.attached }

  /** Takes a piece of the tail. */
  feed(records: Uint8Array): void {
    this.#cursor.reset(records)
    while (this.#cursor.next()) this.#enqueue(this.#cursor.record())
    this.#advance()
  }

  /** The restored guest has acknowledged input up to `floor`. */
  noteFloor(connection: ConnectionId, floor: InputOffset): void {
    this.#streams.get(connection)?.noteFloor(floor)
    if (!this.#departures.none) this.#advance()
  }

  tailEnd(): void {
    this.#tailEnded = true
    this.#advance()
  }

  /** Time passes: a connection that makes no progress for too long diverges. */
  tick(now: Millis): void {
    if (this.#finished) return
    this.#now = now
    const isOverdue = this.#stall.tick(now)
    const { stream } = this.#stall
    if (stream !== undefined) this.#press(stream, isOverdue)
    const late = this.#aside.tick(now, this.#options.settings.replayTimeoutMs)
    for (const other of late) if (this.#aside.has(other)) this.#giveUp(other)
    const hasDeparted = this.#departures.tick(now)
    if (hasDeparted || this.#onlyAsideLeft && this.#end.beginsServingOthers()) this.#advance()
    this.#lookAtBacklog()
    if (now - this.#retried < retryMs) return
    this.#retried = now
    this.#joins.retry()
  }

  #lookAtBacklog(): void {
    const { wantsMore } = this
    this.#backlog.tick(this.#now, this.#queue.inputBytes)
    if (!wantsMore && this.wantsMore) this.#options.progress()
  }

  /** What can be done about a stream that has made no progress for a while. */
  #press(stream: ReplayStream, isOverdue: boolean): void {
    const { replayTimeoutMs, onDivergence } = this.#options.settings
    const { silentMs } = this.#stall
    // Where one connection waited for another's lock, the next one need not be given as long.
    const asideMs = this.#counts.reordered > 0 ? 0 : replayTimeoutMs / 2
    const mayReorder = onDivergence === 'reset' && this.#queue.waiting > 0
    if (silentMs >= replayTimeoutMs) this.#giveUp(stream)
    else if (stream.state === 'diverged' && silentMs >= quietAfterMs) this.#passOver(stream)
    else if (isOverdue && mayReorder && silentMs >= asideMs) this.#setAside(stream)
  }

  #giveUp(stream: ReplayStream): void {
    this.#stall.forget()
    this.#aside.delete(stream)
    this.#diverge(stream, stream.state === 'resolving'
      ? this.#joins.giveUp(stream) : 'it did not make again what it had said')
    this.#advance()
  }

  /** Their order is not what it was any more, so all of them together are given the time of one. */
  get #awaitsDiverged(): boolean { return this.#quietMs < this.#options.settings.replayTimeoutMs }

  #passOver(stream: ReplayStream): void {
    this.#quietMs += this.#stall.silentMs
    stream.passOver()
    const diverged = [...this.#streams.values()].filter(({ state }) => state === 'diverged')
    // While the guest works on what one of them was sent, what it was sent of another may wait unread.
    const isBusy = diverged.some(({ progressed }) => progressed)
    for (const other of diverged) {
      other.quiet = !isBusy
      other.progressed = false
    }
    if (isBusy) this.#stall.forget()
    this.#advance()
  }

  #setAside(stream: ReplayStream): void {
    this.#stall.forget()
    this.#aside.add(stream)
    this.#counts.reordered++
    this.#advance()
  }

  /** Given up from outside: nothing is sent any more, and what still arrives is not looked at. */
  abort(): void {
    this.#finished = true
    this.#joins.end()
  }

  // ---- reading ahead

  #enqueue(record: LogRecord): void {
    this.#queue.push(record)
    // What stands for the connections of before the mark is joined, not replayed.
    if (record.kind !== RecordKind.adopt) this.#counts.records++
    if (record.kind === RecordKind.data) this.#counts.inputBytes += record.bytes.length
    if (record.kind === RecordKind.read) this.#foreseen.note(record, this.#streams.get(record.connection))
  }

  // ---- passing records

  /** Passes records until one has to wait. What arrives meanwhile makes it look once more. */
  #advance(): void {
    this.#again = true
    if (this.#advancing) return
    this.#advancing = true
    while (this.#again && !this.#finished) {
      this.#again = false
      this.#passAll()
    }
    this.#advancing = false
    if (!this.#finished) this.#options.progress()
  }

  #passAll(): void {
    this.#departures.look()
    this.#stall.look()
    this.#aside.look()
    const isThrough = this.#queue.passThrough(queued => this.#tryToPass(queued))
    if (isThrough && this.#tailEnded) {
      this.#deferred.sendLast()
      if (this.#queue.waiting === 0) this.#settle()
      else if (this.#end.isServingOthers) this.#end.serveOthers(this.#now)
    }
    this.#onlyAsideLeft = isThrough && this.#tailEnded && this.#queue.waiting > 0
    this.#stall.looked()
  }

  #settle(): void {
    if (!this.#end.settle(this.#now)) return
    this.#finished = true
    this.#joins.end()
    this.#end.goLive()
  }

  /** Records of a stream that is set aside hold up none but its own. */
  #tryToPass(queued: Queued): 'passed' | 'waits' | 'blocks' {
    const { record } = queued
    const stream = 'connection' in record ? this.#streams.get(record.connection) : undefined
    if (stream !== undefined && this.#aside.isWaiting(stream)) return 'waits'
    if (this.#pass(queued, stream)) {
      this.#aside.passed(stream)
      return 'passed'
    }
    return this.#aside.waits(stream) ? 'waits' : 'blocks'
  }

  /** True when the record is done with. */
  #pass(queued: Queued, stream: ReplayStream | undefined): boolean {
    const { record } = queued
    if (stream === undefined) return this.#passWithout(record)
    switch (record.kind) {
      case RecordKind.floor: return true
      case RecordKind.connected: return this.#mayBeSent && this.#passConnected(stream)
      case RecordKind.data: case RecordKind.end:
        return this.#mayBeSent && this.#passInput(queued, record, stream)
      case RecordKind.reset: return this.attached && this.#passInput(queued, record, stream)
      case RecordKind.read: return this.#passOutput(stream, record.output)
      case RecordKind.guestEnd: return this.#passOutput(stream, outputOffset(record.output + 1))
      case RecordKind.guestReset: return this.#passGuestReset(stream)
      case RecordKind.adopt: case RecordKind.open: case RecordKind.mark:
        throw new InvariantError('a connection begins once', { connection: stream.id })
    }
  }

  /**
   * Passes a record that begins a stream, or has none: a connection that had finished before the mark is not
   * in the base, yet something of it may be logged later: what the guest said last, a floor, the client's
   * reset.
   */
  #passWithout(record: LogRecord): boolean {
    switch (record.kind) {
      case RecordKind.adopt: return this.#passAdopt(record)
      case RecordKind.open: {
        this.#newStream(record, 0)
        return true
      }
      case RecordKind.data: case RecordKind.end:
        throw new InvariantError(
          'input belongs to a connection that came before it', { connection: record.connection }
        )
      case RecordKind.mark: case RecordKind.connected: case RecordKind.floor: case RecordKind.read:
      case RecordKind.reset: case RecordKind.guestEnd: case RecordKind.guestReset: return true
    }
  }

  /** Whether anything new may be sent now; another reset may follow one that waits for its guest. */
  get #mayBeSent(): boolean { return this.attached && !this.#departures.blocks }

  /** Only now is it opened anew: of those that never came so far, the guest knew nothing. */
  #passConnected(stream: ReplayStream): boolean {
    if (stream.state === 'unopened') this.#joins.open(stream)
    return this.#isResolved(stream)
  }

  #isResolved(stream: ReplayStream): boolean {
    if (stream.state === 'resolving') this.#stall.at(stream, nowhere)
    return stream.state !== 'resolving'
  }

  #passInput(queued: Queued, record: InputRecord, stream: ReplayStream): boolean {
    if (!this.#isResolved(stream)) return false
    if (stream.state === 'unopened') stream.forget()
    if (this.#options.settings.replayOrder === 'output') {
      const isUndecided = this.#queue.isUndecided(queued)
      if (isUndecided && !this.#tailEnded && this.#readsAhead) return false
      const isLast = isUndecided && this.#tailEnded
      if (isLast || queued.turn !== undefined || this.#deferred.has(stream)) {
        this.#deferred.add(stream, record, queued.turn)
        return true
      }
    }
    stream.send(record)
    return true
  }

  /** Whether there is room for more of the tail before something has to be passed. */
  get #readsAhead(): boolean {
    return this.#queue.waiting < window.records && this.#queue.inputBytes < window.inputBytes
  }

  #passOutput(stream: ReplayStream, place: OutputOffset): boolean {
    if (!this.#isResolved(stream) || !this.#sendDeferred(stream)) return false
    if (stream.reach(place)) {
      this.#reached(stream)
      return true
    }
    if (stream.state === 'diverged' && !this.#awaitsDiverged) return true
    if (stream.comparison.end !== 'open') {
      this.#diverge(stream, 'it ended before it had made again what it had said')
      return true
    }
    this.#await(stream, place)
    return false
  }

  /** Sends what of it was deferred, if it may be sent now. */
  #sendDeferred(stream: ReplayStream): boolean {
    if (this.#deferred.has(stream) && this.#departures.blocks) return false
    this.#deferred.send(stream)
    return true
  }

  /** A stream that was set aside is not awaited in its place. */
  #await(stream: ReplayStream, place: OutputOffset): void {
    if (!this.#aside.has(stream)) this.#stall.at(stream, place)
  }

  #reached(stream: ReplayStream): void {
    if (this.#stall.stream === stream) this.#stall.over()
    if (stream.state !== 'joined' || !stream.comparison.differs) return
    this.#diverge(stream, 'it said something else than before')
  }

  #passGuestReset(stream: ReplayStream): boolean {
    if (!this.#isResolved(stream)) return false
    if (stream.state === 'unopened') stream.forget()
    if (!this.#sendDeferred(stream)) return false
    if (stream.alive !== undefined || !stream.isJoined) return true
    if (stream.reachEnd()) {
      stream.part()
      return true
    }
    this.#await(stream, nowhere)
    return false
  }

  // ---- resolving connections

  #newStream(record: AdoptRecord | OpenRecord, logged: number): ReplayStream {
    const { connection: id, service, client } = record
    const { settings, port, dataPath } = this.#options
    const alive = dataPath.connections.get(id)
    const stream = new ReplayStream(id, service, alive, inputOffset(logged), {
      hash: port.hash, pendingMax: settings.connectionBytes, onProgress: () => this.#advance(),
      acknowledge: received => port.acknowledge(id, received),
      onSent: bytes => this.#backlog.sent(stream, bytes), leaving: () => this.#departures.add(stream)
    })
    stream.clientAddress = client
    stream.cap = alive?.released ?? this.#givenBefore(record)
    this.#streams.set(id, stream)
    return stream
  }

  /** The furthest that a client which is gone may have been given. */
  #givenBefore(record: AdoptRecord | OpenRecord): OutputOffset {
    const { release } = this.#options.settings.services[record.service] ?? {}
    if (release !== 'checkpoint') return nowhere
    return record.kind === RecordKind.adopt ? record.output : outputOffset(0)
  }

  #passAdopt(record: AdoptRecord): boolean {
    if (!this.#joins.hasRoom) return false
    this.#joins.attach(this.#newStream(record, record.input), record)
    return true
  }

  // ---- ends

  /**
   * Others may have been told of what its input did, so that is still sent to a guest that takes it. Only its
   * output is of no use any more.
   */
  #diverge(stream: ReplayStream, reason: string): void {
    if (stream.state !== 'joined' || stream.comparison.end === 'reset') {
      return this.#drop(stream, 'diverged', reason)
    }
    stream.diverge()
    this.#tellDivergence(stream, 'diverged', reason)
  }

  #drop(stream: ReplayStream, ending: Ending, reason: string): void {
    stream.leave()
    this.#tellDivergence(stream, ending, reason)
  }

  #tellDivergence(stream: ReplayStream, ending: Ending, reason: string): void {
    const { dataPath, port } = this.#options
    const { alive, id } = stream
    this.#counts.diverged++
    port.report({ type: 'diverged', connection: id, alive: alive !== undefined, reason })
    if (alive !== undefined && dataPath.connections.has(id)) {
      this.#counts.reset++
      dataPath.kill(alive, ending)
    }
    this.#options.diverged(reason)
  }
}
