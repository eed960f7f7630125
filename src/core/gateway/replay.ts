import { invariant } from '../../base/invariant.ts'
import {
  inputOffset, outputOffset, type ConnectionId, type Millis, type OutputOffset
} from '../ids.ts'
import { RecordCursor } from '../record-codec.ts'
import { RecordKind, type AdoptRecord, type LogRecord, type OpenRecord } from '../record.ts'
import { DeferredInputs } from './deferred-inputs.ts'
import type { Ending, Connection } from './connection.ts'
import { ForeseenOutput } from './foreseen-output.ts'
import { ReplayJoins } from './replay-joins.ts'
import type { ReplayCounts, ReplayOptions } from './replay-options.ts'
import { ReplayQueue, type Queued } from './replay-queue.ts'
import { Stall } from './replay-stall.ts'
import { nowhere, ReplayStream, type InputRecord } from './replay-stream.ts'
import { SetAside } from './set-aside.ts'

/** How many records are read ahead to find an input's first output. */
const windowRecords = 4096
/**
 * So long a stream that has diverged must have been silent to be taken for done. Milliseconds; the ticks make
 * it a little longer.
 */
const quietAfterMs = 60
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
 * Inputs that wait so are sent before their turn when an output does not come, which may need them (see
 * replay-stall.ts). If it does not come even then, another connection may hold what it needs, as a lock of a
 * database, and let go of it only later in the tail: then its stream is set aside, the others go on, and its
 * own records wait until it has made its output. What is sent so breaks the causal order; nothing but what is
 * compared tells whether that mattered, so it is counted, and done only with `on_divergence: reset`.
 */
export class Replay {
  readonly #options: ReplayOptions
  readonly #joins: ReplayJoins
  readonly #streams = new Map<ConnectionId, ReplayStream>()
  readonly #cursor = new RecordCursor()
  readonly #queue = new ReplayQueue()
  readonly #deferred = new DeferredInputs()
  readonly #stall: Stall
  readonly #aside: SetAside
  readonly #foreseen = new ForeseenOutput()
  readonly #counts: ReplayCounts = {
    records: 0, inputBytes: 0, kept: 0, reset: 0, diverged: 0, reordered: 0, unverifiedBytes: 0
  }
  #tailEnded = false
  #finished = false
  #isLive = false
  #settlingSince: Millis | undefined
  #onlyAsideLeft = false
  #servesOthers = false
  /** So long streams that have diverged were waited for in vain, in milliseconds. */
  #quietMs = 0
  /** At the end of the tail: those that do not stand where their clients left them, or may not. */
  #unsettled: ReplayStream[] | undefined
  #advancing = false
  #again = false
  #retried: Millis
  #now: Millis

  constructor(options: ReplayOptions) {
    const { port, dataPath, held } = options
    this.#options = options
    this.#retried = this.#now = options.now
    this.#stall = new Stall(options.now, () => this.#deferred.sendFirst())
    this.#aside = new SetAside(options.now)
    this.#joins = new ReplayJoins({
      port, dataPath, held, joined: stream => this.#foreseen.tell(stream),
      finishedInside: alive => this.#deliverFinished(alive),
      drop: (stream, ending, reason) => this.#drop(stream, ending, reason), resolved: () => this.#advance()
    })
  }

  get counts(): Readonly<ReplayCounts> { return this.#counts }
  /** Records read and not yet passed; the caller gives credit for more while it is small. */
  get queued(): number { return this.#queue.waiting }
  get finished(): boolean { return this.#finished }
  /** Whether every connection of the base has been asked about. */
  get attached(): boolean { return this.#joins.attached }

  /** Takes a piece of the tail. */
  feed(records: Uint8Array): void {
    this.#cursor.reset(records)
    while (this.#cursor.next()) this.#enqueue(this.#cursor.record())
    this.#advance()
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
    this.#considerOthers()
    if (now - this.#retried < retryMs) return
    this.#retried = now
    this.#joins.retry()
  }

  /** Only streams that were set aside are left, and none gets on: serves the clients of the others. */
  #considerOthers(): void {
    const { replayTimeoutMs } = this.#options.settings
    if (this.#servesOthers || !this.#onlyAsideLeft || this.#aside.silentMs < replayTimeoutMs / 2) return
    if (![...this.#streams.values()].some(stream => this.#isOther(stream))) return
    this.#servesOthers = true
    this.#options.port.report({ type: 'served-early' })
    this.#options.diverged('clients were served before all input was replayed')
    this.#advance()
  }

  /** What can be done about a stream that has made no progress for a while. */
  #press(stream: ReplayStream, isOverdue: boolean): void {
    const { replayTimeoutMs, onDivergence } = this.#options.settings
    const { silentMs } = this.#stall
    // Where one connection waited for another's lock, the next one need not be given as long.
    const asideMs = this.#counts.reordered > 0 ? 0 : replayTimeoutMs / 2
    const mayReorder = onDivergence === 'reset' && this.queued > 0
    if (silentMs >= replayTimeoutMs) this.#giveUp(stream)
    else if (stream.state === 'diverged' && silentMs >= quietAfterMs) this.#passOver(stream)
    else if (isOverdue && mayReorder && silentMs >= asideMs) this.#setAside(stream)
  }

  #giveUp(stream: ReplayStream): void {
    this.#stall.forget()
    this.#aside.delete(stream)
    this.#diverge(stream, stream.state === 'resolving'
      ? this.#joins.whyUnresolved(stream) : 'it did not make again what it had said')
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
    this.#stall.look()
    this.#aside.look()
    const isThrough = this.#queue.passThrough(queued => this.#tryToPass(queued))
    if (isThrough && this.#tailEnded) {
      if (this.#queue.waiting === 0) this.#settle()
      else if (this.#servesOthers) this.#serveOthers()
    }
    this.#onlyAsideLeft = isThrough && this.#tailEnded && this.#queue.waiting > 0
    this.#stall.looked()
  }

  /** Records of a stream that is set aside hold up none but its own. */
  #tryToPass(queued: Queued): 'passed' | 'waits' | 'blocks' {
    const { record } = queued
    const stream = 'connection' in record ? this.#streams.get(record.connection) : undefined
    if (stream !== undefined && this.#aside.isWaiting(stream)) return 'waits'
    if (this.#pass(queued)) {
      this.#aside.passed(stream)
      return 'passed'
    }
    return this.#aside.waits(stream) ? 'waits' : 'blocks'
  }

  /** True when the record is done with. */
  #pass(queued: Queued): boolean {
    const { record } = queued
    if (this.#isOfFinished(record)) return true
    switch (record.kind) {
      case RecordKind.adopt: return this.#passAdopt(record)
      case RecordKind.floor: case RecordKind.mark: return true
      case RecordKind.open: {
        this.#newStream(record, 0)
        return true
      }
      case RecordKind.connected: return this.attached && this.#passConnected(record.connection)
      case RecordKind.data: case RecordKind.end: case RecordKind.reset:
        return this.attached && this.#passInput(queued, record)
      case RecordKind.read: return this.#passOutput(record.connection, record.output)
      case RecordKind.guestEnd: return this.#passOutput(record.connection, outputOffset(record.output + 1))
      case RecordKind.guestReset: return this.#passGuestReset(record.connection)
    }
  }

  /**
   * A connection that had finished before the mark is not in the base, yet something of it may be logged
   * later: what the guest said last, a floor, the client's reset.
   */
  #isOfFinished(record: LogRecord): boolean {
    switch (record.kind) {
      case RecordKind.adopt: case RecordKind.open: case RecordKind.mark:
      case RecordKind.data: case RecordKind.end: return false
      case RecordKind.connected: case RecordKind.floor: case RecordKind.read: case RecordKind.reset:
      case RecordKind.guestEnd: case RecordKind.guestReset: return !this.#streams.has(record.connection)
    }
  }

  #stream(connection: ConnectionId): ReplayStream {
    const stream = this.#streams.get(connection)
    const what = 'a record of the tail belongs to a connection that came before it'
    invariant(stream !== undefined, what, { connection })
    return stream
  }

  /** Only now is it opened anew: of those that never came so far, the guest knew nothing. */
  #passConnected(connection: ConnectionId): boolean {
    const stream = this.#stream(connection)
    if (stream.state === 'unopened') this.#joins.open(stream)
    return this.#isResolved(connection)
  }

  #isResolved(connection: ConnectionId): boolean {
    const stream = this.#stream(connection)
    if (stream.state === 'resolving') this.#stall.at(stream, nowhere)
    return stream.state !== 'resolving'
  }

  #passInput(queued: Queued, record: InputRecord): boolean {
    if (!this.#isResolved(record.connection)) return false
    const stream = this.#stream(record.connection)
    if (stream.state === 'unopened') stream.forget()
    if (this.#options.settings.replayOrder === 'output') {
      const isUndecided = this.#queue.isUndecided(queued)
      if (isUndecided && !this.#tailEnded && this.queued < windowRecords) return false
      if (queued.turn !== undefined || this.#deferred.has(stream)) {
        this.#deferred.add(stream, record, queued.turn)
        return true
      }
    }
    stream.send(record)
    return true
  }

  #passOutput(connection: ConnectionId, place: OutputOffset): boolean {
    if (!this.#isResolved(connection)) return false
    const stream = this.#stream(connection)
    this.#deferred.send(stream)
    if (stream.reach(place)) return this.#reached(stream)
    if (stream.state === 'diverged' && !this.#awaitsDiverged) return true
    if (stream.comparison.end !== 'open') {
      this.#diverge(stream, 'it ended before it had made again what it had said')
      return true
    }
    this.#await(stream, place)
    return false
  }

  /** A stream that was set aside is not awaited in its place. */
  #await(stream: ReplayStream, place: OutputOffset): void {
    if (!this.#aside.has(stream)) this.#stall.at(stream, place)
  }

  #reached(stream: ReplayStream): boolean {
    if (this.#stall.stream === stream) this.#stall.over()
    return this.#compared(stream)
  }

  #compared(stream: ReplayStream): boolean {
    if (stream.state === 'joined' && stream.comparison.differs) {
      this.#diverge(stream, 'it said something else than before')
    }
    return true
  }

  #passGuestReset(connection: ConnectionId): boolean {
    if (!this.#isResolved(connection)) return false
    const stream = this.#stream(connection)
    if (stream.state === 'unopened') stream.forget()
    this.#deferred.send(stream)
    if (stream.alive !== undefined || stream.state === 'gone' || stream.state === 'diverged') return true
    if (stream.reachEnd()) {
      stream.leave()
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
      acknowledge: received => port.acknowledge(id, received)
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

  #deliverFinished(connection: Connection): void {
    this.#options.held.deliver(connection, nowhere)
    if (!this.#options.dataPath.connections.has(connection.id)) return
    this.#counts.reset++
    this.#options.dataPath.kill(connection, 'guest-reset')
  }

  // ---- ends

  /**
   * Others may have been told of what its input did, so that is still sent to a guest that takes it. Only its
   * output is of no use any more.
   */
  #diverge(stream: ReplayStream, reason: string): void {
    if (stream.state !== 'joined' || stream.comparison.end !== 'open') {
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

  /** Whether it has a client and waits for nothing but those that were set aside. */
  #isOther(stream: ReplayStream): boolean {
    return stream.alive !== undefined && stream.isJoined && !this.#aside.has(stream)
  }

  /** What those that were set aside wait for may come of what another client does next. */
  #serveOthers(): void {
    for (const stream of this.#streams.values()) {
      const { alive } = stream
      if (alive === undefined || !this.#isOther(stream)) continue
      if (!this.#isSettled(stream)) this.#stall.at(stream, nowhere)
      else if (stream.isJoined) {
        this.#goLive(stream, alive)
        this.#options.dataPath.thawOne(alive)
      }
    }
  }

  /**
   * The tail is sent: waits until every client's connection stands where its client left it, then goes live.
   */
  #settle(): void {
    // One that stands where its client left it stays there: nothing more is sent.
    this.#settlingSince ??= this.#now
    const unsettled = this.#unsettled ??= [...this.#streams.values()].reverse()
    for (let last = unsettled.at(-1); last !== undefined; last = unsettled.at(-1)) {
      if (!this.#isSettled(last)) return this.#stall.at(last, nowhere)
      unsettled.pop()
    }
    this.#finished = true
    this.#joins.end()
    this.#beginLive()
    for (const stream of this.#streams.values()) {
      this.#counts.unverifiedBytes += stream.comparison.unverifiedBytes
      if (stream.state !== 'joined' && stream.state !== 'diverged') continue
      if (stream.alive === undefined || stream.state === 'diverged') stream.leave()
      else this.#goLive(stream, stream.alive)
    }
    this.#settleOthers()
    this.#options.done()
  }

  #beginLive(): void {
    if (this.#isLive) return
    this.#isLive = true
    this.#options.goingLive()
  }

  /** A stream that has diverged and talks on and on is not waited for without end. */
  get #isSettlingLong(): boolean {
    return this.#now - (this.#settlingSince ?? this.#now) >= this.#options.settings.replayTimeoutMs
  }

  #isSettled(stream: ReplayStream): boolean {
    if (stream.state === 'gone' || stream.state === 'unopened' || stream.state === 'live') return true
    if (stream.state === 'resolving') return false
    if (stream.state === 'diverged') {
      return stream.quiet || stream.comparison.end !== 'open' || this.#isSettlingLong
    }
    const { alive } = stream
    if (alive === undefined) return true
    const bytes = outputOffset(alive.endReleased ? alive.released - 1 : alive.released)
    stream.want(bytes, alive.releasedHash)
    if (!stream.reach(alive.released)) return this.#endedEarly(stream)
    this.#compared(stream)
    return true
  }

  #endedEarly(stream: ReplayStream): boolean {
    if (stream.comparison.end === 'open') return false
    this.#diverge(stream, 'it ended before it had made again what it had said')
    return true
  }

  #goLive(stream: ReplayStream, connection: Connection): void {
    if (stream.side === undefined && stream.comparison.end !== 'reset') return
    this.#counts.kept++
    this.#beginLive()
    stream.handOver(() => this.#options.dataPath.rejoin(connection, stream.side, stream.path))
  }

  /** Clients whose connection has no place in the tail: the guest had finished with it before the mark. */
  #settleOthers(): void {
    const { dataPath } = this.#options
    for (const connection of [...dataPath.connections.values()]) {
      if (this.#streams.has(connection.id) || dataPath.isWaiting(connection)) continue
      this.#deliverFinished(connection)
    }
  }
}
