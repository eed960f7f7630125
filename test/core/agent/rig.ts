import { crc32 } from 'node:zlib'
import {
  checkpointId, gatewayId, generation, historyId, hostName, lsn, millis, noHistory, outputHash,
  type CheckpointId, type HistoryId, type Hash, type Lsn, type Millis
} from '../../../src/core/ids.ts'
import type { AgentMessage, CheckpointMessage, Envelope, GatewayMessage } from '../../../src/core/message.ts'
import { GuestAgent } from '../../../src/core/agent/guest-agent.ts'
import {
  defaultAgentLimits, freshAgentState, type AgentPort, type AgentReport, type AgentSettings, type AgentState,
  type CheckpointEvents, type CheckpointRequest, type ImageInfo
} from '../../../src/core/agent/port.ts'

export const gateway = 1
export const peer = 100
export const historyA = historyId('aaaaaaaaaaaaaaaa')
export const historyB = historyId('bbbbbbbbbbbbbbbb')

export const hash: Hash = (bytes, previous) => outputHash(crc32(bytes, previous))

export type Assign = Extract<GatewayMessage, { type: 'assign' }>
type Told = AgentMessage | CheckpointMessage

interface Sent {
  readonly link: number
  readonly envelope: Envelope
  readonly message: Told
}

/** An answer that an order waits for; the test gives it when it likes. */
interface Open {
  readonly order: string
  readonly done: (...args: never[]) => void
}

interface Begun {
  readonly id: CheckpointId
  readonly request: CheckpointRequest
  readonly events: CheckpointEvents
}

/**
 * One agent's core with a port that only writes down what is ordered. Answers are given by the test, in
 * whatever order it wants to try: `answer('persist')`.
 */
export class Rig {
  readonly agent: GuestAgent
  now: Millis = millis(1000)
  /** Every order, in order, as text. */
  orders: string[] = []
  sent: Sent[] = []
  reports: AgentReport[] = []
  open: Open[] = []
  persisted: AgentState[] = []
  finished: ImageInfo[] = []
  marks = new Map<CheckpointId, Lsn>()
  checkpoint: Begun | undefined

  constructor(settings: Partial<AgentSettings> = {}) {
    this.agent = new GuestAgent(this.#port(), {
      guest: 'shop', canRestore: true, absorbs: false, limits: { ...defaultAgentLimits, imageBytesMax: 1000 },
      state: freshAgentState, condition: 'absent', endpoints: [], images: [], ...settings
    })
  }

  /** Answers the oldest open order of this name. */
  answer(order: string, ...rest: unknown[]): void {
    const index = this.open.findIndex(open => open.order === order)
    const open = this.open[index]
    if (open === undefined) throw new Error(`no open order ${order}`)
    this.open.splice(index, 1)
    ;(open.done as (...args: unknown[]) => void)(this.now, ...rest)
  }

  ok(order: string, more: object = {}): void {
    this.answer(order, { ok: true, ...more })
  }

  fail(order: string, reason: string): void {
    this.answer(order, { ok: false, reason })
  }

  waits(order: string): boolean {
    return this.open.some(open => open.order === order)
  }

  /** A message of the gateway. */
  from(message: GatewayMessage, about: Partial<Envelope> = {}, link = gateway): void {
    this.agent.gatewayMessage(this.now, link, this.envelope(about), message)
  }

  fromPeer(message: CheckpointMessage, about: Partial<Envelope> = {}, link = peer): void {
    this.agent.peerMessage(this.now, link, this.envelope(about), message)
  }

  envelope(about: Partial<Envelope> = {}): Envelope {
    return { guest: 'shop', generation: generation(1), history: noHistory, ...about }
  }

  /** Types of the messages sent since the last call, heartbeats left out. */
  said(): string[] {
    const types = this.sent.map(({ message }) => message.type)
    this.sent = []
    return types.filter(type => type !== 'heartbeat')
  }

  /** Messages of one type sent since {@link said}. */
  messages<T extends Told['type']>(
    type: T
  ): (Extract<Told, { type: T }> & { readonly about: Envelope, readonly link: number })[] {
    return this.sent.filter(({ message }) => message.type === type).map(({ message, envelope, link }) => ({
      ...message as Extract<Told, { type: T }>, about: envelope, link
    }))
  }

  /** The checkpoint that the engine was asked for last. */
  begun(): Begun {
    if (this.checkpoint === undefined) throw new Error('no checkpoint was begun')
    return this.checkpoint
  }

  ordered(): string[] {
    const orders = this.orders
    this.orders = []
    return orders
  }

  advance(ms: number): void {
    this.now = millis(this.now + ms)
    this.agent.tick(this.now)
  }

  reported(type: AgentReport['type']): AgentReport[] {
    return this.reports.filter(report => report.type === type)
  }

  #port(): AgentPort {
    const note = (order: string) => { this.orders.push(order) }
    const wait = (order: string, done: (...args: never[]) => void, text = order) => {
      note(text)
      this.open.push({ order, done })
    }
    return {
      hash,
      sendGateway: (link, envelope, message) => { this.sent.push({ link, envelope, message }) },
      closeGateway: link => { note(`closeGateway ${link}`) },
      sendPeer: (link, envelope, message) => { this.sent.push({ link, envelope, message }) },
      connectPeer: name => { note(`connectPeer ${name}`) },
      disconnectPeer: () => { note('disconnectPeer') },
      persist: (state, done) => {
        this.persisted.push(state)
        wait('persist', done, `persist ${state.generation} ${state.role}`)
      },
      startGuest: done => { wait('startGuest', done) },
      stopGuest: done => { wait('stopGuest', done) },
      beginCheckpoint: (id, request, events) => {
        note('beginCheckpoint')
        this.checkpoint = { id, request, events }
      },
      runOn: () => { note('runOn') },
      abortCheckpoint: () => { note('abortCheckpoint') },
      restoreGuest: (id, done) => { wait('restoreGuest', done, `restoreGuest ${id}`) },
      openNetwork: done => { wait('openNetwork', done) },
      attached: () => { note('attached') },
      renewLease: ms => { note(`renewLease ${ms}`) },
      openLog: (_settings, done) => { wait('openLog', done) },
      beginLog: (history, _generation, firstLsn, done) => {
        wait('beginLog', done, `beginLog ${history.slice(0, 1)} ${firstLsn}`)
      },
      append: (first, last, _records, done) => { wait('append', done, `append ${first}-${last}`) },
      markOf: id => this.marks.get(id),
      pruneLog: (id, mark, done) => { wait('pruneLog', done, `pruneLog ${id} ${mark}`) },
      readTail: (reader, _bytesMax, done) => { wait('readTail', done, `readTail ${reader}`) },
      closeTail: () => { note('closeTail') },
      dropLog: () => { note('dropLog') },
      logFigures: () => ({ tailBytes: 5, tailRecords: 4, connections: 3, memoryBytes: 2, diskBytes: 1 }),
      beginImage: id => { note(`beginImage ${id}`) },
      imagePiece: () => { note('imagePiece') },
      finishImage: (info, _durability, done) => {
        this.finished.push(info)
        wait('finishImage', done, `finishImage ${info.checkpoint}`)
      },
      dropImage: id => { note(`dropImage ${id}`) },
      report: report => { this.reports.push(report) }
    }
  }
}

export const gatewayX = gatewayId('1111111111111111')
/** The first life of the gateway whose messages a test sends, where it names no other. */
export const life = { gateway: gatewayX, incarnation: 1 }
export const gatewayY = gatewayId('2222222222222222')

const assignDefaults: Assign = {
  type: 'assign', ...life, role: 'idle', boot: false, served: false, peer: hostName(''), peerAddress: '',
  checkpointMs: 5000, heartbeatMs: 100, leaseMs: 400, durability: 'memory', logMemoryBytes: 1 << 20,
  logBytes: 1 << 22
}

export function assign(some: Partial<Assign>): Assign {
  return { ...assignDefaults, ...some }
}

export const withPeer = { peer: hostName('b'), peerAddress: 'b:1' }

/** An agent whose guest runs as primary of generation 1, with a peer that is connected. */
export function primary(some: Partial<Assign> = {}): Rig {
  const rig = new Rig()
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'primary', boot: true, ...withPeer, ...some }), { history: historyA })
  rig.answer('persist')
  rig.ok('startGuest', { endpoints: ['127.0.0.1:5000'] })
  rig.agent.peerUp(rig.now, peer)
  rig.ordered()
  rig.said()
  return rig
}

/** ...whose engine was told to begin its first checkpoint. */
export function beginning(): Rig {
  const rig = primary()
  rig.advance(0)
  rig.answer('persist')
  rig.advance(0)
  return rig
}

/** ...and whose guest stands still for it. */
export function standing(): Rig {
  const rig = beginning()
  rig.checkpoint?.events.standing(rig.now)
  return rig
}

/** A backup of generation 1 in history A, whose log ends at lsn `last`. */
export function backup(last = 0, settings: Partial<AgentSettings> = {}): Rig {
  const rig = new Rig(settings)
  rig.agent.linkUp(rig.now, gateway)
  rig.from(assign({ role: 'backup' }))
  rig.answer('persist')
  rig.ok('openLog', { log: { history: noHistory, lastLsn: 0, base: undefined } })
  rig.from({ type: 'begin', firstLsn: lsn(1) }, { history: historyA })
  rig.ok('beginLog')
  if (last > 0) append(rig, 1, last)
  rig.ordered()
  rig.said()
  return rig
}

/** One epoch, stored. */
export function append(rig: Rig, first: number, last: number, history: HistoryId = historyA): void {
  epoch(rig, first, last, history)
  rig.ok('append', { lsn: last })
}

export function epoch(rig: Rig, first: number, last: number, history: HistoryId = historyA): void {
  rig.from({ type: 'epoch', firstLsn: lsn(first), lastLsn: lsn(last), records: [] }, { history })
}

const image = new Uint8Array([1, 2, 3])

/** A whole image comes in; `finishImage` waits for its answer if the MARK is there. */
export function receive(rig: Rig, id: number, mark: number, history: HistoryId = historyA): void {
  const checkpoint = checkpointId(id)
  rig.fromPeer({ type: 'checkpoint-begin', checkpoint })
  rig.fromPeer({ type: 'checkpoint-data', checkpoint, bytes: image }, { history })
  const [bytes, crc] = [image.length, crc32(image)]
  rig.fromPeer({ type: 'checkpoint-end', checkpoint, mark: lsn(mark), bytes, crc }, { history })
}

/** A backup with checkpoint 7 counted at lsn 3, its log ending at lsn 5. */
export function protectedBackup(settings: Partial<AgentSettings> = {}): Rig {
  const rig = backup(5, settings)
  rig.marks.set(checkpointId(7), lsn(3))
  receive(rig, 7, 3)
  rig.ok('finishImage')
  rig.ok('pruneLog')
  rig.ordered()
  rig.said()
  return rig
}
