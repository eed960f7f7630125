import type { ErrorCode } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { checkpointId, gatewayId, hostName, lsn, type CheckpointId } from '../core/ids.ts'
import type {
  Durability, GuestCondition, LogPosition, Message, Role
} from '../core/message.ts'
import type { LinkPeer } from './link.ts'
import {
  checkpointPayloadBytesMax, epochPayloadBytesMax, greetingPayloadBytesMax, nameBytesMax,
  smallPayloadBytesMax, tailPayloadBytesMax
} from './limits.ts'
import { malformed, type PayloadReader, type PayloadWriter } from './payload.ts'

/** Messages of the link itself; nobody above it sees them. */
export type LinkMessage =
  /** The first message each way: who speaks, and which versions of the protocol. */
  | {
    readonly type: 'hello', readonly versionMin: number, readonly versionMax: number
    readonly role: LinkPeer['role'], readonly name: string
  }
  /** Instead of, or in answer to, a hello: why this link will not be. */
  | { readonly type: 'refused', readonly code: RefusalCode, readonly reason: string }
  | { readonly type: 'ping' }
  | { readonly type: 'pong' }

export type RefusalCode = Extract<ErrorCode, 'E_FRAME' | 'E_VERSION' | 'E_AUTH'>

export type WireMessage = Message | LinkMessage
type WireMessageType = WireMessage['type']

/** How one type of message is written. `docs/LINK_PROTOCOL.md` says the same in words. */
export interface MessageCodec<M> {
  /** The type's number in the frame header; never used again for another type. */
  readonly number: number
  readonly payloadBytesMax: number
  write(writer: PayloadWriter, message: M): void
  read(reader: PayloadReader): M
}

/** A codec whose message is known only to be one of ours. */
export type AnyCodec = MessageCodec<WireMessage>

type MessageCodecs = { readonly [T in WireMessageType]: MessageCodec<Extract<WireMessage, { type: T }>> }

/* The places in these lists are the numbers on the wire. */
const roles: readonly Role[] = ['primary', 'backup', 'idle']
const conditions: readonly GuestCondition[] = ['absent', 'running', 'failed']
const durabilities: readonly Durability[] = ['memory', 'disk']
const peerRoles: readonly LinkPeer['role'][] = ['gateway', 'agent']
const refusalCodes: readonly RefusalCode[] = ['E_FRAME', 'E_VERSION', 'E_AUTH']

/** The codec of a message that is its type and nothing else. */
function bare<T extends 'ping' | 'pong' | 'open-network' | 'replayed' | 'network-open' | 'stale'>(
  number: number, type: T
): MessageCodec<{ readonly type: T }> {
  const message = { type }
  return { number, payloadBytesMax: 0, write: () => undefined, read: () => message }
}

interface CheckpointReason<T> {
  readonly type: T
  readonly checkpoint: CheckpointId
  readonly reason: string
}

/** The codec of a message that has a checkpoint and a reason. */
function checkpointReason<
  T extends 'mark-refused' | 'checkpoint-failed' | 'checkpoint-abort' | 'checkpoint-refused'
>(number: number, type: T): MessageCodec<CheckpointReason<T>> {
  return {
    number,
    payloadBytesMax: smallPayloadBytesMax,
    write(w, m) {
      w.number(m.checkpoint)
      w.reason(m.reason)
    },
    read: r => ({ type, checkpoint: checkpointId(r.number()), reason: r.text() })
  }
}

/** The codec of a message that has a checkpoint only. */
function checkpointOnly<T extends 'mark-request' | 'checkpoint-begin' | 'checkpoint-stored'>(
  number: number, type: T
): MessageCodec<{ readonly type: T, readonly checkpoint: CheckpointId }> {
  return {
    number,
    payloadBytesMax: smallPayloadBytesMax,
    write: (w, m) => w.number(m.checkpoint),
    read: r => ({ type, checkpoint: checkpointId(r.number()) })
  }
}

/** The codec of a message that has a reason only. */
function reasonOnly<T extends 'promote-failed' | 'log-failed'>(
  number: number, type: T
): MessageCodec<{ readonly type: T, readonly reason: string }> {
  return {
    number,
    payloadBytesMax: smallPayloadBytesMax,
    write: (w, m) => w.reason(m.reason),
    read: r => ({ type, reason: r.text() })
  }
}

function writeLog(w: PayloadWriter, log: LogPosition): void {
  w.number(log.lastLsn)
  w.number(log.checkpoint)
  w.number(log.mark)
  w.number(log.checkpointBytes)
  w.number(log.tailBytes)
  w.number(log.tailRecords)
  w.number(log.connections)
  w.number(log.memoryBytes)
  w.number(log.diskBytes)
}

function readLog(r: PayloadReader): LogPosition {
  return {
    lastLsn: lsn(r.number()),
    checkpoint: checkpointId(r.number()),
    mark: lsn(r.number()),
    checkpointBytes: r.number(),
    tailBytes: r.number(),
    tailRecords: r.number(),
    connections: r.number(),
    memoryBytes: r.number(),
    diskBytes: r.number()
  }
}

/** Types of the link itself. */
const linkCodecs: Pick<MessageCodecs, 'hello' | 'refused' | 'ping' | 'pong'> = {
  hello: {
    number: 1,
    payloadBytesMax: greetingPayloadBytesMax,
    write(w, m) {
      w.byte(m.versionMin)
      w.byte(m.versionMax)
      w.choice(peerRoles, m.role)
      w.text(m.name, nameBytesMax)
    },
    read: r => ({
      type: 'hello',
      versionMin: r.byte(),
      versionMax: r.byte(),
      role: r.choice(peerRoles),
      name: r.text(nameBytesMax)
    })
  },
  refused: {
    number: 2,
    payloadBytesMax: greetingPayloadBytesMax,
    write(w, m) {
      w.choice(refusalCodes, m.code)
      w.reason(m.reason)
    },
    read: r => ({ type: 'refused', code: r.choice(refusalCodes), reason: r.text() })
  },
  ping: bare(3, 'ping'),
  pong: bare(4, 'pong')
}

/** Gateway to agent: 16 to 31. */
const gatewayCodecs: Pick<MessageCodecs,
  | 'assign' | 'begin' | 'epoch' | 'mark' | 'mark-refused' | 'promote' | 'open-network' | 'tail-credit'
  | 'replayed' | 'heartbeat-ack'> = {
  assign: {
    number: 16,
    payloadBytesMax: smallPayloadBytesMax,
    write(w, m) {
      w.id(m.gateway)
      w.number(m.incarnation)
      w.choice(roles, m.role)
      w.flag(m.boot)
      w.flag(m.served)
      w.text(m.peer, nameBytesMax)
      w.text(m.peerAddress)
      w.millis(m.checkpointMs)
      w.millis(m.heartbeatMs)
      w.millis(m.leaseMs)
      w.choice(durabilities, m.durability)
      w.number(m.logMemoryBytes)
      w.number(m.logBytes)
    },
    read: r => ({
      type: 'assign',
      gateway: gatewayId(r.id()),
      incarnation: r.number(),
      role: r.choice(roles),
      boot: r.flag(),
      served: r.flag(),
      peer: hostName(r.text(nameBytesMax)),
      peerAddress: r.text(),
      checkpointMs: r.number(),
      heartbeatMs: r.number(),
      leaseMs: r.number(),
      durability: r.choice(durabilities),
      logMemoryBytes: r.number(),
      logBytes: r.number()
    })
  },
  begin: {
    number: 17,
    payloadBytesMax: smallPayloadBytesMax,
    write: (w, m) => w.number(m.firstLsn),
    read: r => ({ type: 'begin', firstLsn: lsn(r.number()) })
  },
  epoch: {
    number: 18,
    payloadBytesMax: epochPayloadBytesMax,
    write(w, m) {
      invariant(m.lastLsn >= m.firstLsn, 'an epoch without records', { first: m.firstLsn, last: m.lastLsn })
      w.number(m.firstLsn)
      w.number(m.lastLsn - m.firstLsn)
      w.slices = m.records
    },
    read(r) {
      const firstLsn = r.number()
      const lastLsn = firstLsn + r.number()
      if (!Number.isSafeInteger(lastLsn)) throw malformed('an epoch whose last lsn is beyond its limit')
      return { type: 'epoch', firstLsn: lsn(firstLsn), lastLsn: lsn(lastLsn), records: [r.rest()] }
    }
  },
  mark: {
    number: 19,
    payloadBytesMax: smallPayloadBytesMax,
    write(w, m) {
      w.number(m.checkpoint)
      w.number(m.lsn)
    },
    read: r => ({ type: 'mark', checkpoint: checkpointId(r.number()), lsn: lsn(r.number()) })
  },
  'mark-refused': checkpointReason(20, 'mark-refused'),
  promote: {
    number: 21,
    payloadBytesMax: smallPayloadBytesMax,
    write(w, m) {
      w.number(m.lastLsn)
      w.flag(m.acceptLoss)
    },
    read: r => ({ type: 'promote', lastLsn: lsn(r.number()), acceptLoss: r.flag() })
  },
  'open-network': bare(22, 'open-network'),
  'tail-credit': {
    number: 23,
    payloadBytesMax: smallPayloadBytesMax,
    write: (w, m) => w.number(m.bytes),
    read: r => ({ type: 'tail-credit', bytes: r.number() })
  },
  replayed: bare(24, 'replayed'),
  'heartbeat-ack': {
    number: 25,
    payloadBytesMax: smallPayloadBytesMax,
    write: (w, m) => w.number(m.n),
    read: r => ({ type: 'heartbeat-ack', n: r.number() })
  }
}

/** Agent to gateway: 32 to 63. */
const agentCodecs: Pick<MessageCodecs,
  | 'heartbeat' | 'guest' | 'position' | 'ack' | 'mark-request' | 'checkpoint-failed' | 'counted' | 'promoted'
  | 'promote-failed' | 'network-open' | 'tail' | 'tail-end' | 'stale' | 'log-failed'> = {
  heartbeat: {
    number: 32,
    payloadBytesMax: smallPayloadBytesMax,
    write(w, m) {
      w.number(m.n)
      w.choice(roles, m.role)
      w.choice(conditions, m.condition)
      w.flag(m.log !== undefined)
      if (m.log !== undefined) writeLog(w, m.log)
    },
    read: r => ({
      type: 'heartbeat',
      n: r.number(),
      role: r.choice(roles),
      condition: r.choice(conditions),
      log: r.flag() ? readLog(r) : undefined
    })
  },
  guest: {
    number: 33,
    payloadBytesMax: smallPayloadBytesMax,
    write(w, m) {
      w.choice(conditions, m.condition)
      w.endpoints(m.endpoints)
      w.reason(m.reason)
    },
    read: r => ({
      type: 'guest', condition: r.choice(conditions), endpoints: r.endpoints(), reason: r.text()
    })
  },
  position: {
    number: 34,
    payloadBytesMax: smallPayloadBytesMax,
    write: (w, m) => {
      w.number(m.lastLsn)
      w.flag(m.canRestore)
    },
    read: r => ({ type: 'position', lastLsn: lsn(r.number()), canRestore: r.flag() })
  },
  ack: {
    number: 35,
    payloadBytesMax: smallPayloadBytesMax,
    write: (w, m) => w.number(m.lsn),
    read: r => ({ type: 'ack', lsn: lsn(r.number()) })
  },
  'mark-request': checkpointOnly(36, 'mark-request'),
  'checkpoint-failed': checkpointReason(37, 'checkpoint-failed'),
  counted: {
    number: 38,
    payloadBytesMax: smallPayloadBytesMax,
    write(w, m) {
      w.number(m.checkpoint)
      w.number(m.mark)
      w.number(m.bytes)
    },
    read: r => ({
      type: 'counted', checkpoint: checkpointId(r.number()), mark: lsn(r.number()), bytes: r.number()
    })
  },
  promoted: {
    number: 39,
    payloadBytesMax: smallPayloadBytesMax,
    write(w, m) {
      w.number(m.checkpoint)
      w.number(m.mark)
      w.endpoints(m.endpoints)
      w.millis(m.restoreMs)
    },
    read: r => ({
      type: 'promoted',
      checkpoint: checkpointId(r.number()),
      mark: lsn(r.number()),
      endpoints: r.endpoints(),
      restoreMs: r.number()
    })
  },
  'promote-failed': reasonOnly(40, 'promote-failed'),
  'network-open': bare(41, 'network-open'),
  tail: {
    number: 42,
    payloadBytesMax: tailPayloadBytesMax,
    write(w, m) {
      w.number(m.firstLsn)
      w.slices = [m.records]
    },
    read: r => ({ type: 'tail', firstLsn: lsn(r.number()), records: r.rest() })
  },
  'tail-end': {
    number: 43,
    payloadBytesMax: smallPayloadBytesMax,
    write: (w, m) => w.number(m.lastLsn),
    read: r => ({ type: 'tail-end', lastLsn: lsn(r.number()) })
  },
  stale: bare(44, 'stale'),
  'log-failed': reasonOnly(45, 'log-failed')
}

/** Between agents: 64 to 79. */
const checkpointCodecs: Pick<MessageCodecs,
  | 'checkpoint-begin' | 'checkpoint-data' | 'checkpoint-end' | 'checkpoint-abort' | 'checkpoint-stored'
  | 'checkpoint-refused'> = {
  'checkpoint-begin': checkpointOnly(64, 'checkpoint-begin'),
  'checkpoint-data': {
    number: 65,
    payloadBytesMax: checkpointPayloadBytesMax,
    write(w, m) {
      w.number(m.checkpoint)
      w.slices = [m.bytes]
    },
    read: r => ({ type: 'checkpoint-data', checkpoint: checkpointId(r.number()), bytes: r.rest() })
  },
  'checkpoint-end': {
    number: 66,
    payloadBytesMax: smallPayloadBytesMax,
    write(w, m) {
      w.number(m.checkpoint)
      w.number(m.mark)
      w.number(m.bytes)
      w.u32(m.crc)
    },
    read: r => ({
      type: 'checkpoint-end',
      checkpoint: checkpointId(r.number()),
      mark: lsn(r.number()),
      bytes: r.number(),
      crc: r.u32()
    })
  },
  'checkpoint-abort': checkpointReason(67, 'checkpoint-abort'),
  'checkpoint-stored': checkpointOnly(68, 'checkpoint-stored'),
  'checkpoint-refused': checkpointReason(69, 'checkpoint-refused')
}

const codecs: MessageCodecs = { ...linkCodecs, ...gatewayCodecs, ...agentCodecs, ...checkpointCodecs }

/** Types whose layout is the same in every version: their frames say version 0. */
export const greetingTypes: readonly number[] = [codecs.hello.number, codecs.refused.number]

const byNumber = numbered(codecs)

function numbered(table: MessageCodecs): readonly (AnyCodec | undefined)[] {
  const places: (AnyCodec | undefined)[] = []
  for (const codec of Object.values(table) as readonly AnyCodec[]) {
    invariant(places[codec.number] === undefined, 'two messages with one number', { number: codec.number })
    places[codec.number] = codec
  }
  return places
}

/** The codec that writes `message`. */
export function codecOf(message: WireMessage): AnyCodec {
  // The table's type ties each codec to its message; TypeScript loses the tie when it is indexed by a union.
  return codecs[message.type]
}

/** The codec of the type with `number` in the frame header, if there is one. */
export function codecNumbered(number: number): AnyCodec | undefined {
  return byNumber[number]
}

/** Every type there is and its number. */
export function messageNumbers(): ReadonlyMap<WireMessage['type'], number> {
  return new Map(Object.entries(codecs).map(([type, codec]) => [type as WireMessage['type'], codec.number]))
}
