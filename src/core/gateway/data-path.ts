import { invariant } from '../../base/invariant.ts'
import { connectionId, inputOffset, noLsn, outputOffset, type ConnectionId, type Lsn } from '../ids.ts'
import { RecordKind } from '../record.ts'
import type { StreamEvents, StreamSide } from '../stream.ts'
import { ClientPause, Connection, GuestPause, type ClientAddress, type Ending } from './connection.ts'
import { Floors } from './floors.ts'
import type { Held } from './hold-queue.ts'
import type { LogWriter } from './log-writer.ts'
import type { GatewayPort, OpenResult } from './port.ts'
import { ReleaseGate } from './release-gate.ts'
import type { GuestSettings } from './settings.ts'

/** How often a guest that does not answer is dialed for one connection before the client is turned away. */
const dialsMax = 100

/** Input is logged in records of at most this length, so that several fit one arena of the log's writer. */
const inputRecordBytes = 64 * 1024

/**
 * The path of every byte: input is logged and sent on to the guest at once, output is held until its barrier
 * is safe and then released (design, rule 1). One per guest; it knows nothing of hosts and backups.
 */
export class DataPath {
  readonly connections = new Map<ConnectionId, Connection>()
  readonly floors: Floors
  readonly gate: ReleaseGate
  readonly #settings: GuestSettings
  readonly #port: GatewayPort
  readonly #writer: LogWriter
  /** Accepted while the guest could not be reached; opened by {@link thaw}. */
  #waiting: Connection[] = []
  #retrying: Connection[] = []
  #congested: Connection[] = []
  #overHeld: Connection[] = []
  /** Paused because one of its sides does not take what was sent. */
  readonly #full = new Set<Connection>()
  /** Where there is no second host nothing is ever replayed, and no output compared. */
  readonly #compared: boolean
  /** A guest without hosts has no log to keep a path in. */
  readonly #logged: boolean
  #nextConnection = 1
  #lastDial = 0
  #frozen = true

  constructor(settings: GuestSettings, port: GatewayPort, writer: LogWriter) {
    this.#settings = settings
    this.#port = port
    this.#writer = writer
    this.#compared = settings.hosts.length > 1
    this.#logged = settings.hosts.length > 0
    this.floors = new Floors(this.connections, writer, settings.resetsTold)
    this.gate = new ReleaseGate(writer, {
      release: held => this.#release(held),
      freed: connection => this.#outputDrained(connection),
      drained: () => { if (this.heldBytes <= settings.heldBytes / 2) this.#resumeOverHeld() }
    })
  }

  get heldBytes(): number { return this.gate.bytes }
  get frozen(): boolean { return this.#frozen }

  /**
   * A client came in. Returns what its side must tell its events to, or undefined if it must be turned away.
   * The side stays paused until the guest has taken the connection.
   */
  accept(service: number, client: StreamSide, address: ClientAddress): StreamEvents | undefined {
    const settings = this.#settings.services[service]
    invariant(settings !== undefined, 'a service of the guest', { service })
    if (this.connections.size >= this.#settings.connections) return undefined
    const id = connectionId(this.#nextConnection++)
    const connection = new Connection(id, service, settings.release, client, address)
    this.connections.set(id, connection)
    this.#port.report({ type: 'connection-open', connection })
    if (this.#frozen) this.#waiting.push(connection)
    else this.#open(connection)
    return this.#clientEvents(connection)
  }

  #clientEvents(connection: Connection): StreamEvents {
    return {
      data: bytes => this.#clientData(connection, bytes),
      end: () => this.#clientEnd(connection),
      reset: () => this.#clientReset(connection),
      drain: () => this.#outputDrained(connection)
    }
  }

  #guestEvents(connection: Connection): StreamEvents {
    return {
      data: bytes => this.guestData(connection, bytes),
      end: () => this.guestEnd(connection),
      reset: () => this.guestReset(connection),
      drain: () => connection.resumeClient(ClientPause.backlog)
    }
  }

  // ---- opening

  #open(connection: Connection): void {
    const { id, service } = connection
    const client = this.#logged ? connection.clientAddress : ''
    connection.openedLsn = this.#writer.append({ kind: RecordKind.open, connection: id, service, client })
    this.#dial(connection)
  }

  #dial(connection: Connection): void {
    const dial = connection.dial = ++this.#lastDial
    this.#port.open(connection.id, connection.service, this.#guestEvents(connection),
      result => this.#dialed(connection, dial, result), connection)
  }

  #dialed(connection: Connection, dial: number, result: OpenResult): void {
    const isPresent = connection.dial === dial
    if (isPresent) connection.dial = 0
    const wanted = isPresent && !this.#frozen && !connection.connected && connection.client !== undefined
    if (!wanted) {
      if (result.ok) result.path.side.reset()
      return
    }
    if (result.ok) {
      const { side } = result.path
      this.connect(connection, side, this.#logged ? result.path.path : connection.path)
    } else if (result.refused) this.#refuse(connection)
    else if (++connection.dials > dialsMax) this.#refuse(connection)
    else this.#retrying.push(connection)
  }

  /** The guest took the connection. */
  connect(connection: Connection, side: StreamSide, path: Uint8Array): void {
    connection.connected = true
    connection.path = path
    this.#port.report({ type: 'connection-connected', connection })
    this.#writer.append({ kind: RecordKind.connected, connection: connection.id, path })
    connection.joinGuest(side)
    connection.resumeClient(ClientPause.opening)
    this.#endIfPending(connection)
  }

  #endIfPending(connection: Connection): void {
    if (!connection.endPending) return
    connection.endPending = false
    this.#clientEnd(connection)
  }

  #refuse(connection: Connection): void {
    connection.outputEnd = 'reset'
    this.#writer.append({ kind: RecordKind.guestReset, connection: connection.id, output: outputOffset(0) })
    connection.client?.reset()
    this.#end(connection, 'guest-refused')
  }

  /** Dials again for connections whose guest did not answer. Called now and then. */
  retryDials(): void {
    const retrying = this.#retrying
    this.#retrying = []
    for (const connection of retrying) {
      if (this.connections.has(connection.id)) this.#dialIfIdle(connection)
    }
  }

  /** A guest that is dialed twice for one connection would take it twice, or refuse it. */
  #dialIfIdle(connection: Connection): void {
    if (!connection.connected && connection.dial === 0) this.#dial(connection)
  }

  // ---- input

  #clientData(connection: Connection, bytes: Uint8Array): void {
    if (connection.guest === undefined || connection.client === undefined) return
    const what = 'a client is not read from during a failover'
    invariant(!this.#isFrozen(connection), what, { connection: connection.id })
    for (let at = 0; at < bytes.length; at += inputRecordBytes) {
      const piece = bytes.length <= inputRecordBytes ? bytes : bytes.subarray(at, at + inputRecordBytes)
      this.#writer.data(connection.id, piece)
    }
    connection.guest.write(bytes)
    connection.inputLogged = inputOffset(connection.inputLogged + bytes.length)
    if (connection.guest.backlog > this.#settings.connectionBytes) {
      connection.pauseClient(ClientPause.backlog)
      this.#full.add(connection)
    }
    if (this.#writer.congested) {
      connection.pauseClient(ClientPause.congestion)
      this.#congested.push(connection)
    }
  }

  #clientEnd(connection: Connection): void {
    if (connection.inputEnded || connection.client === undefined) return
    if (this.#isFrozen(connection) || !connection.connected) {
      connection.endPending = true
      return
    }
    connection.inputEnded = true
    connection.clientEndedFirst = connection.outputEnd === 'open'
    if (connection.outputEnd !== 'reset') {
      connection.inputLogged = inputOffset(connection.inputLogged + 1)
      this.#writer.append({ kind: RecordKind.end, connection: connection.id })
      connection.guest?.end()
    }
    if (connection.over) this.#end(connection, 'finished')
  }

  #clientReset(connection: Connection): void {
    if (connection.client === undefined) return
    connection.client = undefined
    if (this.#isFrozen(connection)) return
    this.#dropInput(connection)
    this.#end(connection, 'client-reset')
  }

  /** Tells log and guest that the client will neither send nor take any more. */
  #dropInput(connection: Connection): void {
    if (connection.outputEnd === 'reset' || this.isWaiting(connection)) return
    this.#logReset(connection)
    connection.guest?.reset()
    connection.guest = undefined
  }

  #logReset(connection: Connection): void {
    connection.resetLsn = this.#writer.append({ kind: RecordKind.reset, connection: connection.id })
  }

  // ---- output

  /** Output came from the guest; `bytes` may change after the call. */
  guestData(connection: Connection, bytes: Uint8Array): void {
    connection.outputReceived = outputOffset(connection.outputReceived + bytes.length)
    if (this.#compared) connection.outputHash = this.#port.hash(bytes, connection.outputHash)
    this.#writer.noteRead(connection)
    this.#port.acknowledge(connection.id, connection.outputReceived)
    if (connection.client === undefined) return
    this.gate.pass(this.#heldOf(connection, 'data', bytes))
    this.#limitOutput(connection)
  }

  #heldOf(owner: Connection, sign: Held<Connection>['sign'], bytes?: Uint8Array): Held<Connection> {
    return { owner, sign, bytes, hash: owner.outputHash, barrier: this.#writer.lastLsn }
  }

  guestEnd(connection: Connection): void {
    if (connection.outputEnd !== 'open') return
    connection.outputEnd = 'ended'
    const output = connection.outputReceived
    this.#writer.append({ kind: RecordKind.guestEnd, connection: connection.id, output })
    connection.outputReceived = outputOffset(output + 1)
    this.#port.acknowledge(connection.id, connection.outputReceived)
    this.gate.pass(this.#heldOf(connection, 'end'))
  }

  guestReset(connection: Connection): void {
    if (connection.outputEnd === 'reset') return
    connection.outputEnd = 'reset'
    connection.guest = undefined
    this.floors.forget(connection)
    connection.pauseClient(ClientPause.backlog)
    const output = connection.outputReceived
    this.#writer.append({ kind: RecordKind.guestReset, connection: connection.id, output })
    this.gate.pass(this.#heldOf(connection, 'reset'))
  }

  #release(held: Held<Connection>): void {
    const connection = held.owner
    const client = connection.client
    if (client === undefined) return
    if (held.bytes !== undefined) {
      client.write(held.bytes)
      if (connection.released === 0) this.#port.report({ type: 'connection-answered', connection })
      connection.released = outputOffset(connection.released + held.bytes.length)
      connection.releasedHash = held.hash
    } else if (held.sign === 'end') {
      client.end()
      connection.released = outputOffset(connection.released + 1)
      connection.endReleased = true
      if (connection.over) this.#end(connection, 'finished')
    } else {
      client.reset()
      this.#end(connection, 'guest-reset')
    }
  }

  /** The backup has everything up to `committed`. */
  committed(committed: Lsn): void {
    this.gate.committed(committed)
    if (!this.#writer.congested) this.#resumeCongested()
  }

  // ---- back-pressure

  #outputBacklog(connection: Connection): number {
    return connection.heldBytes + (connection.client?.backlog ?? 0)
  }

  #limitOutput(connection: Connection): void {
    if (this.#outputBacklog(connection) > this.#settings.connectionBytes) {
      connection.pauseGuest(GuestPause.backlog)
      this.#full.add(connection)
    }
    if (this.heldBytes > this.#settings.heldBytes) {
      connection.pauseGuest(GuestPause.held)
      this.#overHeld.push(connection)
    }
  }

  #outputDrained(connection: Connection): void {
    if (this.#outputBacklog(connection) <= this.#settings.connectionBytes / 2) {
      connection.resumeGuest(GuestPause.backlog)
    }
  }

  /**
   * Looks again at connections that were paused for a backlog. A side tells of a drain only from its own
   * marks on, which say nothing of a backlog that was partly held here. Called now and then.
   */
  recheckBacklogs(): void {
    const low = this.#settings.connectionBytes / 2
    for (const connection of this.#full) {
      const outputFull = this.#outputBacklog(connection) > low
      const inputFull = (connection.guest?.backlog ?? 0) > low
      if (!outputFull) connection.resumeGuest(GuestPause.backlog)
      if (!inputFull && connection.outputEnd !== 'reset') connection.resumeClient(ClientPause.backlog)
      if (!outputFull && !inputFull) this.#full.delete(connection)
    }
  }

  #resumeCongested(): void {
    const congested = this.#congested
    if (congested.length === 0) return
    this.#congested = []
    for (const connection of congested) connection.resumeClient(ClientPause.congestion)
  }

  #resumeOverHeld(): void {
    const overHeld = this.#overHeld
    if (overHeld.length === 0) return
    this.#overHeld = []
    // One that has ended meanwhile has nothing left to read, and its side may be gone.
    for (const connection of overHeld) {
      if (this.connections.has(connection.id)) connection.resumeGuest(GuestPause.held)
    }
  }

  // ---- histories and failover

  /** A history begins: the log's first records say where every connection stands. */
  adoptAll(): void {
    const waiting = new Set(this.#waiting)
    this.floors.historyBegins()
    for (const connection of [...this.connections.values(), ...this.floors.lingering]) {
      if (waiting.has(connection) || connection.outputEnd === 'reset') continue
      connection.historyInput = connection.inputLogged
      this.#adopt(connection)
      if (connection.resetLsn !== noLsn) this.#logReset(connection)
    }
  }

  #adopt(connection: Connection): void {
    const { id, service, connected, clientAddress, path } = connection
    this.#writer.append({
      kind: RecordKind.adopt, connection: id, service, connected, client: clientAddress, path,
      input: connection.inputLogged, output: connection.outputReceived, hash: connection.outputHash
    })
  }

  /** Stops reading clients and opening connections until {@link thaw}. */
  freeze(): void {
    this.#frozen = true
    this.#retrying = []
    for (const connection of this.connections.values()) {
      connection.thawed = false
      connection.pauseClient(ClientPause.failover)
    }
  }

  #isFrozen(connection: Connection): boolean { return this.#frozen && !connection.thawed }

  /** The guest can be reached: reads clients again and opens what waited. */
  thaw(): void {
    this.#frozen = false
    for (const connection of [...this.connections.values()]) if (!connection.thawed) this.thawOne(connection)
    const waiting = this.#waiting
    this.#waiting = []
    for (const connection of waiting) if (this.connections.has(connection.id)) this.#open(connection)
    for (const connection of this.connections.values()) this.#dialIfIdle(connection)
  }

  /** Serves one connection on. Others may wait for what its client does next. */
  thawOne(connection: Connection): void {
    if (this.#frozen) connection.thawed = true
    if (connection.client === undefined) {
      this.#dropInput(connection)
      this.#end(connection, 'client-reset')
    } else {
      connection.resumeClient(ClientPause.failover | ClientPause.congestion | ClientPause.backlog)
      if (connection.connected) this.#endIfPending(connection)
    }
  }

  /** Lets go of every guest-facing side without a word, and of every dial: the guest's path is gone. */
  abandonGuestSides(): void {
    for (const connection of this.connections.values()) {
      connection.dial = 0
      connection.guest?.abandon()
      connection.guest = undefined
    }
    this.floors.restartAll()
  }

  /** Takes all held output out, for a failover to decide on. */
  takeHeld(): Held<Connection>[] {
    const all = this.gate.takeAll()
    this.#resumeOverHeld()
    return all
  }

  /**
   * Gives the client output that is decided: up to the place where the restored guest stands, or regenerated.
   */
  deliver(connection: Connection, bytes: Uint8Array): void {
    if (bytes.length === 0) return
    const hash = this.#port.hash(bytes, connection.releasedHash)
    this.#release({ owner: connection, bytes, sign: 'data', hash, barrier: this.#writer.lastLsn })
  }

  /** Gives the client the end of the output, as the guest has it already. */
  deliverEnd(connection: Connection): void {
    const { releasedHash: hash } = connection
    const barrier = this.#writer.lastLsn
    this.#release({ owner: connection, bytes: undefined, sign: 'end', hash, barrier })
  }

  /** Joins a connection to its side in the new generation, from the place where both agree. */
  rejoin(connection: Connection, side: StreamSide | undefined, path: Uint8Array): StreamEvents {
    connection.connected = true
    connection.path = path
    connection.outputReceived = connection.released
    connection.outputHash = connection.releasedHash
    connection.outputEnd = connection.endReleased ? 'ended' : 'open'
    // What it was paused for was held by the old generation, and is gone.
    connection.resumeGuest(GuestPause.backlog | GuestPause.held)
    if (side === undefined) connection.guest = undefined
    else connection.joinGuest(side)
    connection.resumeClient(ClientPause.opening)
    // It may have ended when its held output was delivered.
    if (!this.connections.has(connection.id) && side !== undefined) this.floors.linger(connection)
    return this.#guestEvents(connection)
  }

  /** Resets a connection for good. */
  kill(connection: Connection, ending: Ending): void {
    connection.guest?.reset()
    connection.guest = undefined
    connection.client?.reset()
    connection.client = undefined
    this.#end(connection, ending)
  }

  /** Resets every connection that has a place in the log. Returns how many clients that was told to. */
  killAll(ending: Ending): number {
    const reset = this.killClients(ending)
    for (const connection of [...this.connections.values()]) {
      if (!this.isWaiting(connection)) this.kill(connection, ending)
    }
    return reset
  }

  /** Likewise, but leaves those whose client is gone, of which {@link thaw} still tells guest and log. */
  killClients(ending: Ending): number {
    const served = [...this.connections.values()]
      .filter(connection => connection.client !== undefined && !this.isWaiting(connection))
    for (const connection of served) this.kill(connection, ending)
    return served.length
  }

  /** Resets every connection that waits for a guest. */
  killWaiting(ending: Ending): void {
    for (const connection of [...this.#waiting]) this.kill(connection, ending)
  }

  /** True for one that came in during the failover and has no place in the log. */
  isWaiting(connection: Connection): boolean {
    return this.#waiting.includes(connection)
  }

  #end(connection: Connection, ending: Ending): void {
    // Nobody tells the acknowledgements of a guest that is never restored, so none is waited for.
    const told = !this.#settings.floorsFromBacklog
    if (!told && ending === 'finished') this.floors.note(connection.id, connection.inputLogged)
    if (!this.connections.delete(connection.id)) return
    this.#full.delete(connection)
    if (this.#waiting.length > 0) this.#waiting = this.#waiting.filter(other => other !== connection)
    if (connection.resetLsn !== noLsn) this.floors.reset(connection)
    else if (ending === 'finished' && connection.guest !== undefined) this.floors.linger(connection)
    this.#port.report({ type: 'connection-end', connection, ending })
    // The guest may still have something to say, which is nobody's any more.
    connection.client = undefined
  }
}
