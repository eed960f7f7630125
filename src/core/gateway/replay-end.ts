import { outputOffset, type ConnectionId, type Millis } from '../ids.ts'
import type { Connection } from './connection.ts'
import type { Departures } from './departures.ts'
import type { ReplayCounts, ReplayOptions } from './replay-options.ts'
import type { Stall } from './replay-stall.ts'
import { nowhere, type ReplayStream } from './replay-stream.ts'
import type { SetAside } from './set-aside.ts'

export interface ReplayEndOptions {
  readonly replay: ReplayOptions
  readonly streams: ReadonlyMap<ConnectionId, ReplayStream>
  readonly stall: Stall
  readonly aside: SetAside
  readonly departures: Departures
  readonly counts: ReplayCounts
  readonly diverge: (stream: ReplayStream, reason: string) => void
}

/**
 * The end of a replay: the tail is sent, every client's connection is brought to where its client left it,
 * and goes live. Where streams that were set aside are the only ones left, the others go live before them.
 */
export class ReplayEnd {
  readonly #options: ReplayEndOptions
  #isLive = false
  #settlingSince: Millis | undefined
  #servesOthers = false
  /** Those that do not stand where their clients left them, or may not. */
  #unsettled: ReplayStream[] | undefined

  constructor(options: ReplayEndOptions) {
    this.#options = options
  }

  /**
   * Waits for each connection; true once all are where they have to be, and those that are to be reset have
   * taken their input. Then comes {@link goLive}.
   */
  settle(now: Millis): boolean {
    // One that stands where its client left it stays there: nothing more is sent.
    this.#settlingSince ??= now
    const { streams, stall, departures } = this.#options
    const unsettled = this.#unsettled ??= [...streams.values()].reverse()
    for (let last = unsettled.at(-1); last !== undefined; last = unsettled.at(-1)) {
      if (!this.#isSettled(last, now)) {
        stall.at(last, nowhere)
        return false
      }
      unsettled.pop()
    }
    if (departures.none) this.#seeOff()
    return departures.none
  }

  /** What the guest has not taken when the next history begins would be in no log. */
  #seeOff(): void {
    const { streams, departures } = this.#options
    for (const stream of streams.values()) if (this.#isReset(stream)) departures.add(stream)
  }

  /** Whether its side will be reset: one that ended when held output was delivered is left to the guest. */
  #isReset({ state, alive }: ReplayStream): boolean {
    if (state !== 'joined' || alive === undefined) return state === 'joined' || state === 'diverged'
    const { counts, replay: { dataPath, settings } } = this.#options
    const isAll = counts.diverged > 0 && settings.onDivergence === 'reset-all'
    return (isAll || alive.client === undefined) && dataPath.connections.has(alive.id)
  }

  /** Hands every connection that was replayed to its client. */
  goLive(): void {
    this.#beginLive()
    for (const stream of this.#options.streams.values()) {
      this.#countUnverified(stream)
      if (stream.state !== 'joined' && stream.state !== 'diverged') continue
      if (stream.alive === undefined || stream.state === 'diverged') stream.leave()
      else this.#handOver(stream, stream.alive)
    }
    this.#endOthers()
    this.#options.replay.done()
  }

  /** Whether clients are served though streams that were set aside are left. */
  get isServingOthers(): boolean { return this.#servesOthers }

  /** Only streams set aside are left. True when the clients of the others are served from now on. */
  beginsServingOthers(): boolean {
    const { replay: { settings, port, diverged }, aside, streams } = this.#options
    if (this.#servesOthers || aside.silentMs < settings.replayTimeoutMs / 2) return false
    if (![...streams.values()].some(stream => this.#isOther(stream))) return false
    this.#servesOthers = true
    port.report({ type: 'served-early' })
    diverged('clients were served before all input was replayed')
    return true
  }

  /** What those that were set aside wait for may come of what another client does next. */
  serveOthers(now: Millis): void {
    const { streams, stall, replay } = this.#options
    for (const stream of streams.values()) {
      const { alive } = stream
      if (alive === undefined || !this.#isOther(stream)) continue
      if (!this.#isSettled(stream, now)) stall.at(stream, nowhere)
      else if (stream.isJoined && this.#mayBeServed(stream, alive)) {
        this.#handOver(stream, alive)
        replay.dataPath.thawOne(alive)
      }
    }
  }

  /** The guest had finished with it before the mark: its client is given what there is, and its end. */
  deliverFinished(connection: Connection): void {
    const { counts, replay: { held, dataPath } } = this.#options
    held.deliver(connection, nowhere)
    if (!dataPath.connections.has(connection.id)) return
    counts.reset++
    dataPath.kill(connection, 'guest-reset')
  }

  /** Whether it has a client and waits for nothing but those that were set aside. */
  #isOther(stream: ReplayStream): boolean {
    return stream.alive !== undefined && stream.isJoined && !this.#options.aside.has(stream)
  }

  /** One whose client is gone will be reset. */
  #mayBeServed(stream: ReplayStream, { client }: Connection): boolean {
    if (client !== undefined) return true
    this.#options.departures.add(stream)
    return stream.mayBeReset
  }

  #isSettled(stream: ReplayStream, now: Millis): boolean {
    if (stream.state === 'resolving') return false
    if (stream.state === 'diverged') {
      return stream.quiet || stream.comparison.end !== 'open' || this.#isSettlingLong(now)
    }
    const { alive } = stream
    if (alive === undefined || !stream.isJoined) return true
    const bytes = outputOffset(alive.endReleased ? alive.released - 1 : alive.released)
    stream.want(bytes, alive.releasedHash)
    if (!stream.reach(alive.released)) return this.#endedEarly(stream)
    if (stream.comparison.differs) this.#options.diverge(stream, 'it said something else than before')
    return true
  }

  /** A stream that has diverged and talks on and on is not waited for without end. */
  #isSettlingLong(now: Millis): boolean {
    return now - (this.#settlingSince ?? now) >= this.#options.replay.settings.replayTimeoutMs
  }

  #endedEarly(stream: ReplayStream): boolean {
    if (stream.comparison.end === 'open') return false
    this.#options.diverge(stream, 'it ended before it had made again what it had said')
    return true
  }

  #beginLive(): void {
    if (this.#isLive) return
    this.#isLive = true
    this.#options.replay.goingLive()
  }

  #handOver(stream: ReplayStream, connection: Connection): void {
    if (stream.side === undefined && stream.comparison.end !== 'reset') return
    const { counts, replay: { dataPath } } = this.#options
    counts.kept++
    this.#beginLive()
    stream.handOver(() => dataPath.rejoin(connection, stream.side, stream.path))
  }

  #countUnverified(stream: ReplayStream): void {
    const { counts, replay: { port } } = this.#options
    const { unverifiedBytes: bytes } = stream.comparison
    counts.unverifiedBytes += bytes
    // Of others nothing was told to a client that goes on.
    const goesOn = stream.alive !== undefined && (stream.state === 'joined' || stream.state === 'live')
    if (bytes > 0 && goesOn) port.report({ type: 'unverified', connection: stream.id, bytes })
  }

  /** Clients whose connection has no place in the tail: the guest had finished with it before the mark. */
  #endOthers(): void {
    const { streams, replay: { dataPath } } = this.#options
    for (const connection of [...dataPath.connections.values()]) {
      if (streams.has(connection.id) || dataPath.isWaiting(connection)) continue
      this.deliverFinished(connection)
    }
  }
}
