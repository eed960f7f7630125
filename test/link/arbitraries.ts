import fc from 'fast-check'
import { checkpointId, gatewayId, generation, historyId, hostName, lsn } from '../../src/core/ids.ts'
import type { Envelope, MessageType } from '../../src/core/message.ts'
import type { LinkMessage, WireMessage } from '../../src/link/message-codec.ts'

/** Like fc.record, of plain objects only: a frame never makes any without a prototype. */
function record<T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>
}

type Type = MessageType | LinkMessage['type']

const count = fc.maxSafeNat()
const anyLsn = count.map(lsn)
const checkpoint = count.map(checkpointId)
const bytes = fc.uint8Array({ maxLength: 300 })
const text = fc.string({ unit: 'grapheme', maxLength: 40 })
const reason = text
const role = fc.constantFrom('primary' as const, 'backup' as const, 'idle' as const)
const condition = fc.constantFrom('absent' as const, 'running' as const, 'failed' as const)
const endpoints = fc.array(text, { maxLength: 64 })
const u32 = fc.nat({ max: 0xffff_ffff })
const version = fc.nat({ max: 255 })

const log = record({
  lastLsn: anyLsn,
  checkpoint,
  mark: anyLsn,
  checkpointBytes: count,
  tailBytes: count,
  tailRecords: count,
  connections: count,
  memoryBytes: count,
  diskBytes: count
})

const epoch = record({
  type: fc.constant('epoch' as const),
  firstLsn: fc.nat().map(lsn),
  more: fc.nat(),
  records: fc.array(bytes, { maxLength: 20 })
}).map(({ more, ...message }) => ({ ...message, lastLsn: lsn(message.firstLsn + more) }))

const bare = <T extends Type>(type: T) => record({ type: fc.constant(type) })
const withReason = <T extends Type>(type: T) => record({ type: fc.constant(type), reason })
const withCheckpoint = <T extends Type>(type: T) => record({ type: fc.constant(type), checkpoint })
const withBoth = <T extends Type>(type: T) => record({ type: fc.constant(type), checkpoint, reason })

/** A random id of eight bytes, as hex digits. */
const id = fc.uint8Array({ minLength: 8, maxLength: 8 }).map(bytes => Buffer.from(bytes).toString('hex'))

/** An arbitrary for every type there is; the compiler notices a missing one. */
export const messages: { readonly [T in Type]: fc.Arbitrary<Extract<WireMessage, { type: T }>> } = {
  hello: record({
    type: fc.constant('hello' as const),
    versionMin: version,
    versionMax: version,
    role: fc.constantFrom('gateway' as const, 'agent' as const),
    name: text
  }),
  refused: record({
    type: fc.constant('refused' as const),
    code: fc.constantFrom('E_FRAME' as const, 'E_VERSION' as const, 'E_AUTH' as const),
    reason
  }),
  ping: bare('ping'),
  pong: bare('pong'),
  assign: record({
    type: fc.constant('assign' as const),
    gateway: id.map(gatewayId),
    incarnation: count,
    role,
    boot: fc.boolean(),
    served: fc.boolean(),
    peer: text.map(hostName),
    peerAddress: text,
    checkpointMs: count,
    heartbeatMs: count,
    leaseMs: count,
    durability: fc.constantFrom('memory' as const, 'disk' as const),
    logMemoryBytes: count,
    logBytes: count
  }),
  begin: record({ type: fc.constant('begin' as const), firstLsn: anyLsn }),
  epoch,
  mark: record({ type: fc.constant('mark' as const), checkpoint, lsn: anyLsn }),
  'mark-refused': withBoth('mark-refused'),
  promote: record({ type: fc.constant('promote' as const), lastLsn: anyLsn, acceptLoss: fc.boolean() }),
  'open-network': bare('open-network'),
  'tail-credit': record({ type: fc.constant('tail-credit' as const), bytes: count }),
  replayed: bare('replayed'),
  'heartbeat-ack': record({ type: fc.constant('heartbeat-ack' as const), n: count }),
  heartbeat: record({
    type: fc.constant('heartbeat' as const),
    n: count,
    role,
    condition,
    log: fc.option(log, { nil: undefined })
  }),
  guest: record({ type: fc.constant('guest' as const), condition, endpoints, reason }),
  position: record({ type: fc.constant('position' as const), lastLsn: anyLsn, canRestore: fc.boolean() }),
  ack: record({ type: fc.constant('ack' as const), lsn: anyLsn }),
  'mark-request': withCheckpoint('mark-request'),
  'checkpoint-failed': withBoth('checkpoint-failed'),
  counted: record({ type: fc.constant('counted' as const), checkpoint, mark: anyLsn, bytes: count }),
  promoted: record({
    type: fc.constant('promoted' as const), checkpoint, mark: anyLsn, endpoints, restoreMs: count
  }),
  'promote-failed': withReason('promote-failed'),
  'network-open': bare('network-open'),
  tail: record({ type: fc.constant('tail' as const), firstLsn: anyLsn, records: bytes }),
  'tail-end': record({ type: fc.constant('tail-end' as const), lastLsn: anyLsn }),
  stale: bare('stale'),
  'log-failed': withReason('log-failed'),
  'checkpoint-begin': withCheckpoint('checkpoint-begin'),
  'checkpoint-data': record({ type: fc.constant('checkpoint-data' as const), checkpoint, bytes }),
  'checkpoint-end': record({
    type: fc.constant('checkpoint-end' as const), checkpoint, mark: anyLsn, bytes: count, crc: u32
  }),
  'checkpoint-abort': withBoth('checkpoint-abort'),
  'checkpoint-stored': withCheckpoint('checkpoint-stored'),
  'checkpoint-refused': withBoth('checkpoint-refused')
}

export const anyMessage: fc.Arbitrary<WireMessage> = fc.oneof(...Object.values(messages))

export const anyEnvelope: fc.Arbitrary<Envelope> = record({
  guest: text,
  generation: u32.map(generation),
  history: id.map(historyId)
})

/** What may be compared: bytes as hex, and the records of an epoch in one piece, as they arrive. */
export function comparable(message: WireMessage): unknown {
  if (message.type === 'epoch') return { ...message, records: Buffer.concat(message.records).toString('hex') }
  if (message.type === 'tail') return { ...message, records: Buffer.from(message.records).toString('hex') }
  if (message.type !== 'checkpoint-data') return message
  return { ...message, bytes: Buffer.from(message.bytes).toString('hex') }
}
