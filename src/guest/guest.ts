import type { Socket } from 'node:net'
import { TailgateError } from '../base/errors.ts'
import { Application } from './application.ts'
import { GuestClock } from './clock.ts'
import { commands } from './commands/table.ts'
import { ControlConnection } from './control-connection.ts'
import { GuestStream, type StreamOwner } from './guest-stream.ts'
import type { GuestNetwork } from './network.ts'
import type { Peer } from './peer.ts'
import { PlainClient } from './plain-client.ts'
import type { GuestState } from './snapshot.ts'
import { StreamTable } from './stream-table.ts'
import {
  encodeAnswer, greetingBytesMax, PlaceKind, takeGreeting, type Answer, type Greeting, type Taken
} from './wire.ts'

/**
 * How long a stream whose path broke, while its gateway lives, waits to be attached again, in milliseconds.
 */
export const brokenPathGraceMs = 5000
/** How often expired keys and waiting clients are looked after, in milliseconds. */
const tickMs = 50
/** Session ids of plain clients begin here; those of streams are connection ids. */
const plainIdBase = 2 ** 40

/** Faults on order, for tests of what is around the guest. */
export interface Misbehaviour {
  /** Counters of keys that begin so count one too many, in a guest that was restored. */
  readonly skewAfterRestore?: string
  /** Commands of these clients (connection ids), or of all, are not executed. Empty: nobody's. */
  readonly stall?: 'all' | readonly number[]
  /** The process ends after half of a checkpoint's image. */
  readonly dieInCheckpoint?: boolean
  /** Half of a checkpoint's image is sent, and then nothing. */
  readonly hangInCheckpoint?: boolean
}

const nothing = Buffer.alloc(0)

/**
 * The guest: its application, its streams as its kernel would hold them, and who may talk to it. One turn of
 * the event loop takes whatever sockets brought; at the end of the turn each connection's replies leave in
 * one write.
 */
export class Guest implements StreamOwner {
  readonly app = new Application(new GuestClock(), commands)
  readonly network: GuestNetwork
  #streams = new StreamTable()
  #controls = new Map<bigint, ControlConnection>()
  #touched: Peer[] = []
  #plainClients = new Set<PlainClient>()
  #plainCount = 0
  #restored = false
  #stall: 'all' | ReadonlySet<number> = new Set<number>()

  constructor(network: GuestNetwork) {
    this.network = network
    network.onSocket = (socket) => this.#accept(socket)
    network.onReopened = () => this.#reopened()
  }

  /** Begins to run: time passes, and what restored streams had received is executed. */
  run(): void {
    this.app.clock.run()
    setInterval(() => this.app.tick(), tickMs)
    for (const stream of this.#streams.all()) stream.pump()
  }

  /** Puts everything that is ready on its way, so that it need not be done again after a restore. */
  settle(): void {
    // Where the path is shut, what is sent here waits in its socket.
    this.network.shutIfExpired()
    while (this.#touched.length > 0) this.#flush()
    for (const control of this.#controls.values()) control.flush()
  }

  /** The whole state. The caller lets nothing happen in between, and {@link settle} comes first. */
  capture(): GuestState {
    const streams = this.#streams.all()
    return {
      application: this.app.capture(streams.map((stream) => stream.session)),
      streams: streams.map((stream) => stream.capture())
    }
  }

  /** Takes a captured state. To be called before {@link run}, at most once. */
  restore(state: GuestState): void {
    this.app.clock.stand()
    const streams = state.streams.map((one) => GuestStream.restore(this, one))
    for (const stream of streams) this.#streams.add(stream)
    this.app.restore(state.application, streams.map((stream) => stream.session))
    this.#restored = true
  }

  /** Every connection worth keeping is attached: the others end as if their clients had gone. */
  closeUnattached(): void {
    for (const stream of this.#streams.all()) if (!stream.attached) stream.drop()
  }

  misbehave(how: Misbehaviour): void {
    if (how.skewAfterRestore !== undefined && this.#restored) this.app.skewPrefix = how.skewAfterRestore
    if (how.stall === undefined) return
    this.#stall = how.stall === 'all' ? 'all' : new Set(how.stall)
    for (const peer of [...this.#streams.all(), ...this.#plainClients]) peer.pump()
  }

  holdsBack(socket: Socket, bytes: Buffer): boolean {
    return this.network.holdsBack(socket, bytes)
  }

  stalled(sessionId: number): boolean {
    return this.#stall === 'all' || (this.#stall.size > 0 && this.#stall.has(sessionId))
  }

  flushLater(peer: Peer): void {
    if (peer.waitsForFlush) return
    peer.waitsForFlush = true
    this.#touched.push(peer)
    if (this.#touched.length === 1) setImmediate(() => this.#endTurn())
  }

  floorMoved(stream: GuestStream): void {
    this.#controls.get(stream.incarnation)?.floorMoved(stream)
  }

  ended(stream: GuestStream): void {
    this.#controls.get(stream.incarnation)?.ended(stream)
    this.flushLater(stream)
  }

  streamReset(stream: GuestStream): void {
    this.#controls.get(stream.incarnation)?.reset(stream)
    this.flushLater(stream)
  }

  forget(stream: GuestStream): void {
    this.#streams.delete(stream)
    const { resetAt, connection, incarnation } = stream
    if (resetAt !== undefined) this.#controls.get(incarnation)?.resetTaken(connection, resetAt)
  }

  pathBroke(stream: GuestStream): void {
    if (!this.#controls.has(stream.incarnation)) return
    setTimeout(() => {
      if (!stream.attached && this.#controls.has(stream.incarnation)) stream.reset()
    }, brokenPathGraceMs).unref()
  }

  #endTurn(): void {
    if (!this.network.shutIfExpired()) this.#flush()
  }

  #flush(): void {
    const touched = this.#touched
    this.#touched = []
    for (const peer of touched) {
      peer.waitsForFlush = false
      peer.endTurn()
    }
    for (const control of this.#controls.values()) control.sendUrgent()
  }

  /** The first bytes tell whose connection it is. */
  #accept(socket: Socket): void {
    let first: Buffer = nothing
    const read = (bytes: Buffer): void => {
      if (this.network.holdsBack(socket, bytes)) return
      first = first.length === 0 ? bytes : Buffer.concat([first, bytes])
      const greeting = first[0] === 0 ? this.#greeting(socket, first) : undefined
      if (first[0] === 0 && greeting === undefined && first.length < greetingBytesMax) return
      socket.off('data', read)
      socket.off('end', ended)
      if (first[0] !== 0) this.#plain(socket, first)
      else if (greeting !== undefined) this.#greeted(socket, greeting.value, first.subarray(greeting.bytes))
    }
    const ended = (): void => { socket.destroy() }
    socket.on('data', read)
    socket.on('end', ended)
  }

  #greeting(socket: Socket, first: Buffer): Taken<Greeting> | undefined {
    try {
      return takeGreeting(first)
    } catch (error) {
      if (!(error instanceof TailgateError)) throw error
      socket.resetAndDestroy()
      return undefined
    }
  }

  #plain(socket: Socket, first: Buffer): void {
    const id = plainIdBase + ++this.#plainCount
    const client = new PlainClient(this, id, () => this.#plainClients.delete(client))
    this.#plainClients.add(client)
    client.start(socket, first)
  }

  #greeted(socket: Socket, greeting: Greeting, rest: Buffer): void {
    switch (greeting.kind) {
      case 'control': return this.#control(socket, greeting.incarnation, rest)
      case 'open': return this.#open(socket, greeting.incarnation, greeting.connection, rest)
      case 'attach': {
        const stream = this.#streams.get(greeting.incarnation, greeting.connection)
        return this.#attach(socket, greeting.incarnation, stream, greeting.received, rest)
      }
    }
  }

  #control(socket: Socket, incarnation: bigint, rest: Buffer): void {
    this.#controls.get(incarnation)?.close()
    if (this.#controls.delete(incarnation)) this.#dropAll(incarnation)
    socket.write(encodeAnswer({ kind: 'accepted' }))
    const control = new ControlConnection(socket, incarnation, rest, {
      holdsBack: (bytes) => this.network.holdsBack(socket, bytes),
      sending: () => { this.network.shutIfExpired() },
      place: (kind, connection, place) => this.#place(incarnation, kind, connection, place),
      closed: () => {
        this.#controls.delete(incarnation)
        this.#dropAll(incarnation)
      }
    })
    this.#controls.set(incarnation, control)
  }

  /** The gateway process is gone, and its clients with it. */
  #dropAll(incarnation: bigint): void {
    for (const stream of this.#streams.of(incarnation)) stream.drop()
  }

  #open(socket: Socket, incarnation: bigint, connection: number, rest: Buffer): void {
    if (!this.#controls.has(incarnation) || this.#streams.get(incarnation, connection) !== undefined) {
      refuse(socket, { kind: 'refused' })
      return
    }
    const stream = new GuestStream(this, incarnation, connection)
    this.#streams.add(stream)
    this.app.enter(stream.session)
    socket.write(encodeAnswer({ kind: 'accepted' }))
    stream.attach(socket, 0, rest)
  }

  #attach(
    socket: Socket, incarnation: bigint, stream: GuestStream | undefined, received: number, rest: Buffer
  ): void {
    if (!this.#controls.has(incarnation)) {
      refuse(socket, { kind: 'refused' })
    } else if (stream?.canResume(received) !== true) {
      refuse(socket, { kind: 'unknown' })
    } else {
      socket.write(encodeAnswer({ kind: 'known', input: stream.input, output: stream.output }))
      stream.attach(socket, received, rest)
    }
  }

  #place(incarnation: bigint, kind: PlaceKind, connection: number, place: number): void {
    const stream = this.#streams.get(incarnation, connection)
    if (kind === PlaceKind.acknowledged) stream?.acknowledge(place)
    else if (kind !== PlaceKind.clientReset) return
    else if (stream !== undefined) stream.clientReset(place)
    else this.#controls.get(incarnation)?.resetTaken(connection, place)
  }

  /** What waited for the end of a turn goes on its way; who had stopped reading goes on so. */
  #reopened(): void {
    for (const peer of [...this.#streams.all(), ...this.#plainClients]) peer.keepReading()
    if (this.#touched.length > 0) setImmediate(() => this.#endTurn())
  }
}

function refuse(socket: Socket, answer: Answer): void {
  socket.end(encodeAnswer(answer))
  socket.on('data', () => undefined)
  socket.on('end', () => socket.destroy())
}
