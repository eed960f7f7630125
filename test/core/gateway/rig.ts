import { crc32 } from 'node:zlib'
import { GuestGateway } from '../../../src/core/gateway/guest-gateway.ts'
import type {
  AttachResult, GatewayPort, GatewayReport, GatewayState, OpenResult
} from '../../../src/core/gateway/port.ts'
import type { GuestSettings, HostSettings } from '../../../src/core/gateway/settings.ts'
import {
  connectionId, gatewayId, generation, historyId, hostName, inputOffset, lsn, millis, noHistory, noLsn,
  outputHash, outputOffset,
  type ConnectionId, type HistoryId, type Lsn, type Millis, type OutputOffset
} from '../../../src/core/ids.ts'
import type { AgentMessage, Envelope, GatewayMessage } from '../../../src/core/message.ts'
import type { LogRecord } from '../../../src/core/record.ts'
import type { StreamEvents } from '../../../src/core/stream.ts'
import { decodeRecords, recordText } from './log-text.ts'
import { Peer, type Pair } from './sides.ts'

export const a = hostName('a')
export const b = hostName('b')

export function host(name: string, some: Partial<HostSettings> = {}): HostSettings {
  return { name: hostName(name), address: `${name}:1`, fence: false, ...some }
}

/** Lease 400 ms, silence 300 ms, one service; limits that no test meets unless it sets its own. */
const defaults: GuestSettings = {
  name: 'shop', hosts: [host('a'), host('b')], services: [{ name: 'shop', release: 'epoch' }],
  durability: 'memory', checkpointMs: 5000, heartbeatMs: 100, misses: 3, leaseMs: 400,
  onLinkLoss: 'continue', onDivergence: 'reset', replayOrder: 'output', replayTimeoutMs: 1000,
  stepTimeoutMs: 2000, logMemoryBytes: 1 << 20, logBytes: 1 << 22, epochBytes: 1 << 16,
  inFlightBytes: 1 << 20, heldBytes: 1 << 20, connectionBytes: 1 << 18, connections: 100,
  floorsFromBacklog: false, resetsTold: false
}

type Sent<T extends GatewayMessage['type']> =
  Extract<GatewayMessage, { type: T }> & { readonly to: string, readonly about: Envelope }
type Reported<T extends GatewayReport['type']> = Extract<GatewayReport, { type: T }>

/** An answer that an order waits for; the test gives it when it likes. */
interface Open {
  readonly order: string
  readonly done: (...args: never[]) => void
  /** Of `open` and `attach`: where the guest's side tells its events to. */
  readonly events?: StreamEvents
}

interface Logged {
  readonly lsn: Lsn
  readonly record: LogRecord
}

/**
 * One guest's core of the gateway, with a port that only writes down what is ordered. Answers are given by
 * the test, in whatever order it wants to try: `answer('persist')`.
 */
export class Rig {
  readonly gateway: GuestGateway
  now: Millis = millis(1000)
  /** Every order and every message but epochs and acknowledged heartbeats, in order, as text. */
  orders: string[] = []
  sent: { readonly to: string, readonly about: Envelope, readonly message: GatewayMessage }[] = []
  reports: GatewayReport[] = []
  open: Open[] = []
  persisted: GatewayState[] = []
  /** What the backup was sent of the present history. */
  log: Logged[] = []
  /** How far output of each connection was told to be read. */
  readonly acknowledged = new Map<ConnectionId, OutputOffset>()
  /** For which client each connection was last opened. */
  readonly dialers = new Map<ConnectionId, string>()
  #loggedTold = 0
  #histories = 0
  #beats = 0
  #flushWanted = false

  constructor(settings: Partial<GuestSettings> = {}) {
    this.gateway = new GuestGateway({ ...defaults, ...settings }, this.#port(), this.now)
  }

  // ---- what is asked of the test

  /** Answers the oldest open order of this name. */
  answer(order: string, ...args: unknown[]): void {
    const { done } = this.#take(order)
    this.turn(() => { (done as (...args: unknown[]) => void)(...args) })
  }

  waits(order: string): boolean {
    return this.open.some(open => open.order === order)
  }

  #take(order: string): Open {
    const index = this.open.findIndex(open => open.order === order)
    const open = this.open[index]
    if (open === undefined) throw new Error(`no open order ${order}`)
    this.open.splice(index, 1)
    return open
  }

  /** The guest takes connection `id`. */
  takes(id: number): Peer {
    const { done, events } = this.#take(`open ${id}`)
    const side = this.#peer(events)
    this.#acknowledges(side, id, 0)
    const result: OpenResult = { ok: true, path: { side, path: new Uint8Array(0) } }
    this.turn(() => { (done as (result: OpenResult) => void)(result) })
    return side
  }

  refuses(id: number, refused: boolean): void {
    this.answer(`open ${id}`, { ok: false, refused, reason: refused ? 'refused' : 'no answer' })
  }

  /** The restored guest knows connection `id`, at these places. */
  knows(id: number, input: number, output: number, resumesAt = output): Peer {
    const { done, events } = this.#take(`attach ${id}`)
    const side = this.#peer(events)
    this.#acknowledges(side, id, input)
    const result: AttachResult = {
      ok: true, answer: {
        known: true, side, input: inputOffset(input), output: outputOffset(output),
        resumesAt: outputOffset(resumesAt)
      }
    }
    this.turn(() => { (done as (result: AttachResult) => void)(result) })
    return side
  }

  knowsNot(id: number): void {
    this.answer(`attach ${id}`, { ok: true, answer: { known: false } })
  }

  /** In a replay, what the guest acknowledges is told at once. */
  #acknowledges(side: Peer, id: number, from: number): void {
    let floor = from
    side.acknowledgesTo(bytes => {
      floor += bytes
      if (this.gateway.failover !== undefined) this.gateway.noteFloor(connectionId(id), inputOffset(floor))
    })
  }

  #peer(events: StreamEvents | undefined): Peer {
    const peer = new Peer(act => { this.turn(act) })
    peer.tells(events)
    return peer
  }

  // ---- what happens

  /** Runs `act` as one turn: at its end, what was logged leaves. */
  turn(act: () => void): void {
    act()
    while (this.#flushWanted) {
      this.#flushWanted = false
      this.gateway.flush()
    }
  }

  linkUp(name: string): void {
    this.turn(() => { this.gateway.linkUp(hostName(name), this.now) })
  }

  linkDown(name: string): void {
    this.turn(() => { this.gateway.linkDown(hostName(name), this.now) })
  }

  /** A message of an agent; of the present generation and history unless `about` says otherwise. */
  from(name: string, message: AgentMessage, about: Partial<Envelope> = {}): void {
    const envelope: Envelope = {
      guest: 'shop', generation: this.gateway.generation, history: this.gateway.writer.history, ...about
    }
    this.turn(() => { this.gateway.message(hostName(name), envelope, message, this.now) })
  }

  /** A heartbeat; a primary's unless it says otherwise. */
  beat(
    name: string, some: Partial<AgentMessage & { type: 'heartbeat' }> = {}, about: Partial<Envelope> = {}
  ): void {
    const role = name === this.gateway.active?.name ? 'primary' : 'backup'
    const condition = role === 'primary' ? 'running' : 'absent'
    this.from(name, { type: 'heartbeat', n: ++this.#beats, role, condition, log: undefined, ...some }, about)
  }

  running(name: string): void {
    this.from(name, { type: 'guest', condition: 'running', endpoints: [`${name}:80`], reason: '' })
  }

  /** Time passes, a heartbeat interval at a time, in which only the agents on `alive` are heard. */
  pass(ms: number, ...alive: readonly string[]): void {
    for (let left = ms; left > 0; left -= 100) {
      this.now = millis(this.now + Math.min(left, 100))
      for (const name of alive) this.beat(name)
      this.turn(() => { this.gateway.tick(this.now) })
    }
  }

  /** A client comes in. Its side is paused until the guest has taken the connection. */
  comes(service = 0): Peer {
    const client = new Peer(act => { this.turn(act) })
    this.turn(() => {
      const events = this.gateway.accept(service, client, '10.0.0.1:1000')
      if (events === undefined) throw new Error('turned away')
      client.tells(events)
    })
    return client
  }

  /** A client comes in, and the guest takes its connection. */
  joins(service = 0): Pair {
    const client = this.comes(service)
    const id = this.newestConnection()
    return { id, client, guest: this.takes(id) }
  }

  newestConnection(): ConnectionId {
    const id = [...this.gateway.dataPath.connections.keys()].at(-1)
    if (id === undefined) throw new Error('no connection')
    return id
  }

  /** The backup acknowledges what it was sent, and what it is sent then, until it has everything. */
  acks(): void {
    for (let last = this.#lastSent; last > this.gateway.writer.committed; last = this.#lastSent) {
      this.from(this.#receiver, { type: 'ack', lsn: last })
    }
  }

  get #lastSent(): Lsn {
    return this.log.at(-1)?.lsn ?? noLsn
  }

  get #receiver(): string {
    const backup = this.gateway.failover?.to ?? this.gateway.replication.backup
    if (backup === undefined) throw new Error('there is no backup')
    return backup.name
  }

  // ---- what came of it

  get state(): string { return this.gateway.protection.state }

  get reason(): string {
    const { protection } = this.gateway
    return 'reason' in protection ? protection.reason : ''
  }

  /** What a failover waits for. */
  get blocked(): string | undefined { return this.gateway.failover?.blocked }

  /** Orders and messages since the last call. */
  ordered(): string[] {
    const orders = this.orders
    this.orders = []
    return orders
  }

  /** Every message of one type so far. */
  messages<T extends GatewayMessage['type']>(type: T): Sent<T>[] {
    return this.sent.filter(({ message }) => message.type === type).map(({ to, about, message }) => ({
      ...message as Extract<GatewayMessage, { type: T }>, to, about
    }))
  }

  reported<T extends GatewayReport['type']>(type: T): Reported<T>[] {
    return this.reports.filter((report): report is Reported<T> => report.type === type)
  }

  /** Records sent in epochs since the last call, as text. */
  logged(): string[] {
    const records = this.log.slice(this.#loggedTold).map(({ record }) => recordText(record))
    this.#loggedTold = this.log.length
    return records
  }

  /** Records of the present history after this place. */
  after(place: number): LogRecord[] {
    return this.log.filter(logged => logged.lsn > place).map(({ record }) => record)
  }

  // ---- the port

  #sent(to: string, about: Envelope, message: GatewayMessage): void {
    this.sent.push({ to, about, message })
    if (message.type === 'epoch') this.#epoch(message)
    else if (message.type === 'assign') this.orders.push(`${to}: assign ${message.role}`)
    else if (message.type !== 'heartbeat-ack') this.orders.push(`${to}: ${message.type}`)
    if (message.type === 'begin') this.#forgetLog()
  }

  #forgetLog(): void {
    this.log = []
    this.#loggedTold = 0
  }

  /** Epochs that are sent again overwrite what they were before. */
  #epoch(message: Extract<GatewayMessage, { type: 'epoch' }>): void {
    const records = decodeRecords(new Uint8Array(Buffer.concat(message.records)))
    const count = message.lastLsn - message.firstLsn + 1
    if (records.length !== count) throw new Error(`an epoch of ${count} holds ${records.length} records`)
    this.log = this.log.filter(logged => logged.lsn < message.firstLsn)
    this.#loggedTold = Math.min(this.#loggedTold, this.log.length)
    records.forEach((record, i) => this.log.push({ lsn: lsn(message.firstLsn + i), record }))
  }

  #port(): GatewayPort {
    const note = (order: string): void => { this.orders.push(order) }
    const wait = (order: string, done: (...args: never[]) => void, text = order): void => {
      note(text)
      this.open.push({ order, done })
    }
    return {
      hash: (bytes, previous) => outputHash(crc32(bytes, previous)),
      newHistory: () => nthHistory(++this.#histories),
      newGateway: () => gatewayX,
      send: (to, about, message) => { this.#sent(to, about, message) },
      flushSoon: () => { this.#flushWanted = true },
      openPath: endpoints => { note(`openPath ${endpoints.join(' ')}`) },
      open: (id, _service, events, done, { clientAddress }) => {
        note(`open ${id}`)
        this.dialers.set(id, clientAddress)
        this.open.push({ order: `open ${id}`, done, events })
      },
      attach: (id, _service, _path, received, events, done) => {
        note(`attach ${id} from ${received}`)
        this.open.push({ order: `attach ${id}`, done, events })
      },
      acknowledge: (id, received) => { this.acknowledged.set(id, received) },
      afterReads: done => { wait('afterReads', done) },
      cutPath: done => { wait('cutPath', done) },
      persist: (state, done) => {
        this.persisted.push(state)
        wait('persist', done, `persist ${state.generation} ${state.active}`)
      },
      fence: (name, done) => { wait('fence', done, `fence ${name}`) },
      report: report => { this.reports.push(report) }
    }
  }
}

/** The ids of histories are given in order: 1, 2, … */
export function nthHistory(n: number): HistoryId {
  return historyId(String(n).padStart(16, '0'))
}

/** What an agent has not heard of a history. */
export const holdsNothing: Partial<Envelope> = { history: noHistory }

export const gatewayX = gatewayId('1111111111111111')

/** As a first life of a gateway left it. */
export const first: GatewayState = {
  gateway: gatewayX, incarnation: 1, generation: generation(1), active: a, started: true, claiming: false
}
