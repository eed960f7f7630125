import { noBytes } from './tcp.ts'

/*
 * What clients and guests of the simulation say to each other.
 *
 *   request   op u8 | length u16 | payload
 *
 *   P private    answers count u32, hash over all input so far u32, the nonce before u32, the nonce now u32
 *   S shared     payload key u8: adds one to a counter that all connections share; answers key u8, value u32
 *   E echo       answers length u16 and the payload
 *   I input      no answer; it is in the hash of every later P
 *   B big        payload length u16: answers that many bytes that follow from the count
 *   Q quit       answers count u32 and ends the connection
 */

export type Operation = 'P' | 'S' | 'E' | 'I' | 'B' | 'Q'

export interface Request {
  readonly operation: Operation
  readonly payload: Uint8Array
  /** Its length on the wire. */
  readonly size: number
}

export const requestHead = 3

export function encodeRequest(operation: Operation, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(requestHead + payload.length)
  bytes[0] = operation.charCodeAt(0)
  bytes[1] = payload.length & 0xff
  bytes[2] = payload.length >> 8
  bytes.set(payload, requestHead)
  return bytes
}

/** The first request of `bytes`, or undefined while it is not there whole. */
export function parseRequest(bytes: Uint8Array): Request | undefined {
  const [op, low, high] = bytes
  if (op === undefined || low === undefined || high === undefined) return undefined
  const size = requestHead + low + high * 256
  if (bytes.length < size) return undefined
  const operation = String.fromCharCode(op)
  if (!'PSEIBQ'.includes(operation)) throw new RangeError(`a request that no client makes: ${op}`)
  return { operation: operation as Operation, payload: bytes.slice(requestHead, size), size }
}

export function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b
  const bytes = new Uint8Array(a.length + b.length)
  bytes.set(a)
  bytes.set(b, a.length)
  return bytes
}

/** FNV-1a, continued from `hash`. */
export function fold(hash: number, bytes: Uint8Array): number {
  let value = hash
  for (const byte of bytes) value = Math.imul(value ^ byte, 0x01000193) >>> 0
  return value
}

export const foldStart = 0x811c9dc5

function words(operation: Operation, ...values: number[]): Uint8Array {
  const bytes = new Uint8Array(1 + values.length * 4)
  bytes[0] = operation.charCodeAt(0)
  const view = new DataView(bytes.buffer)
  values.forEach((value, i) => view.setUint32(1 + i * 4, value, true))
  return bytes
}

/** What both sides must agree on about one connection. */
export interface Conversation {
  count: number
  hash: number
  nonce: number
}

export const newConversation = (): Conversation => ({ count: 0, hash: foldStart, nonce: 0 })

/** Takes a request into account; both sides do it in the same order. */
export function follow(conversation: Conversation, request: Uint8Array): void {
  conversation.count++
  conversation.hash = fold(conversation.hash, request)
}

export const privateAnswer = (at: Conversation, before: number, now: number): Uint8Array =>
  words('P', at.count, at.hash, before, now)
export const privateAnswerBytes = 17

export function sharedAnswer(key: number, value: number): Uint8Array {
  const bytes = words('S', value, 0)
  bytes[5] = key
  return bytes.slice(0, 6)
}
export const sharedAnswerBytes = 6

export function echoAnswer(payload: Uint8Array): Uint8Array {
  return encodeRequest('E', payload)
}

export function bigAnswer(at: Conversation, payload: Uint8Array): Uint8Array {
  const length = (payload[0] ?? 0) + (payload[1] ?? 0) * 256
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = at.count * 7 + i
  return bytes
}

export const quitAnswer = (at: Conversation): Uint8Array => words('Q', at.count)

/**
 * The answer to a request that everybody can foretell; empty for those without one, undefined for the others.
 */
export function foretold(at: Conversation, request: Request): Uint8Array | undefined {
  switch (request.operation) {
    case 'E': return echoAnswer(request.payload)
    case 'I': return noBytes
    case 'B': return bigAnswer(at, request.payload)
    case 'Q': return quitAnswer(at)
    case 'P': case 'S': return undefined
  }
}
