import { invariant } from '../base/invariant.ts'
import type { Ending } from '../core/gateway/connection.ts'
import type { Logger } from './logger.ts'

/** Who or what ended a connection, and its letter, the first of the termination code. */
export const endedBy = {
  C: 'the client ended or reset it',
  S: 'the service in the guest ended, reset or refused it',
  D: 'divergence: regenerated output differed, or the policy after one reset it',
  F: 'a failover that could not keep it, or a guest that is lost',
  G: 'the gateway, because it ends'
} as const

/** In which state it was when it ended, and its letter, the second of the termination code. */
export const endedIn = {
  '-': 'nothing was outstanding: both directions ended in order and all output was delivered',
  C: 'connecting to the guest',
  D: 'data: both directions open and no output held',
  H: 'output was held, waiting for its commit or checkpoint',
  R: 'replay: it was being attached or replayed after a failover',
  L: 'last: one direction had ended and the other had not, or its last bytes were not delivered'
} as const

export type EndedBy = keyof typeof endedBy
export type EndedIn = keyof typeof endedIn

/** The two letters, in HAProxy's manner. Only a client and a service can end a connection in order. */
export type TerminationCode = 'C-' | 'S-' | `${EndedBy}${Exclude<EndedIn, '-'>}`

/** All codes, in the order of the two lists: the values of the metric label `end`. */
export const terminationCodes: readonly TerminationCode[] = [
  'C-', 'S-', ...keysOf(endedBy).flatMap(by => keysOf(endedIn).flatMap(state => unorderly(by, state)))
]

/** What is known of a connection when it ends. Times in milliseconds of one monotonic clock. */
export interface ConnectionEnd {
  readonly guest: string
  readonly service: string
  readonly connection: number
  /** The client, `address:port`. */
  readonly client: string
  readonly end: TerminationCode
  readonly acceptedAt: number
  /** When the guest took it; undefined if it never did. */
  readonly connectedAt: number | undefined
  /** When the first byte of output was released; undefined if none was. */
  readonly firstByteAt: number | undefined
  readonly endedAt: number
  /** Input received from the client. */
  readonly inputBytes: number
  /** Output released to the client. */
  readonly outputBytes: number
  /** The generations in which it began and ended. */
  readonly firstGeneration: number
  readonly lastGeneration: number
  /** Whether any of its input was replayed. */
  readonly replayed: boolean
}

/** Puts the two letters together. `-` fits only an end by client or service. */
export function terminationCode(by: EndedBy, state: EndedIn): TerminationCode {
  if (state !== '-') return `${by}${state}`
  invariant(by === 'C' || by === 'S', 'only a client or a service ends a connection in order', { by })
  return `${by}-`
}

/** How a connection stood just before it ended. */
export interface EndMoment {
  readonly connected: boolean
  readonly replaying: boolean
  /** Output was held. */
  readonly held: boolean
  /** One direction, or both, had ended. */
  readonly closing: boolean
  /** The client ended its direction before the service did. */
  readonly clientFirst: boolean
}

/** The code of an end that the core reports. */
export function codeOf(ending: Ending, moment: EndMoment): TerminationCode {
  if (ending === 'finished') return moment.clientFirst ? 'C-' : 'S-'
  return terminationCode(endedByOf[ending], stateOf(moment))
}

const endedByOf = {
  'client-reset': 'C', 'guest-reset': 'S', 'guest-refused': 'S', 'diverged': 'D', 'reset-all': 'D',
  'ambiguous': 'F', 'lost': 'F', 'shutdown': 'G'
} as const satisfies Record<Exclude<Ending, 'finished'>, EndedBy>

function stateOf(moment: EndMoment): EndedIn {
  if (moment.replaying) return 'R'
  if (!moment.connected) return 'C'
  if (moment.held) return 'H'
  return moment.closing ? 'L' : 'D'
}

/** Writes the one line of a connection. */
export function logConnectionEnd(logger: Logger, end: ConnectionEnd): void {
  if (!logger.enabled('connection.end')) return
  logger.event('connection.end', {
    guest: end.guest,
    service: end.service,
    connection: end.connection,
    client: end.client,
    end: end.end,
    connectMs: since(end.acceptedAt, end.connectedAt),
    firstByteMs: since(end.acceptedAt, end.firstByteAt),
    totalMs: tenths(end.endedAt - end.acceptedAt),
    inputBytes: end.inputBytes,
    outputBytes: end.outputBytes,
    generation: end.lastGeneration,
    generations: end.lastGeneration - end.firstGeneration + 1,
    replayed: end.replayed
  })
}

function unorderly(by: EndedBy, state: EndedIn): TerminationCode[] {
  return state === '-' ? [] : [`${by}${state}`]
}

function since(start: number, at: number | undefined): number | null {
  return at === undefined ? null : tenths(at - start)
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10
}

function keysOf<K extends string>(table: Readonly<Record<K, string>>): K[] {
  return Object.keys(table) as K[]
}
