import { ByteLog } from './byte-log.ts'
import {
  follow, foretold, join, newConversation, parseRequest, privateAnswer, sharedAnswer,
  type Conversation, type Request
} from './protocol.ts'
import { noBytes } from './tcp.ts'

/**
 * What the service has done for one client, ever: kept after the connection is gone, so that checkers can
 * look.
 */
export interface Account {
  /** Input carried out. */
  consumed: number
  /** Everything said to the client. */
  readonly said: ByteLog
  /** How often a shared counter was raised for it. */
  raised: number
}

/** The service's state of one connection. */
export interface Session {
  readonly client: number
  readonly conversation: Conversation
  /** Read, but not yet a whole request. */
  pending: Uint8Array
  consumed: number
  /** It answers with nonces: another run of the same input gives other answers. */
  readonly nonces: boolean
  /** What was read holds no whole request. */
  idle: boolean
}

const accountOf = (): Account => ({ consumed: 0, said: new ByteLog(), raised: 0 })

/** What the service answered to one request. */
export interface Answer {
  readonly bytes: Uint8Array
  readonly quit: boolean
}

/**
 * The service in the guest: all of its state, which a checkpoint copies. It answers one request at a time,
 * whichever connection the guest picks.
 */
export class GuestApp {
  readonly counters: number[] = []
  readonly accounts = new Map<number, Account>()

  clone(): GuestApp {
    const copy = new GuestApp()
    copy.counters.push(...this.counters)
    for (const [client, account] of this.accounts) {
      copy.accounts.set(client, { ...account, said: account.said.clone() })
    }
    return copy
  }

  account(client: number): Account {
    let account = this.accounts.get(client)
    if (account === undefined) this.accounts.set(client, account = accountOf())
    return account
  }

  static newSession(client: number, nonces: boolean): Session {
    return { client, conversation: newConversation(), pending: noBytes, consumed: 0, nonces, idle: true }
  }

  static cloneSession(session: Session): Session {
    return { ...session, conversation: { ...session.conversation } }
  }

  /** Takes input that was read. */
  feed(session: Session, bytes: Uint8Array): void {
    session.pending = join(session.pending, bytes)
  }

  /** Carries out the next request, or undefined if none is there whole. */
  serve(session: Session, nonce: () => number): Answer | undefined {
    const request = parseRequest(session.pending)
    if (request === undefined) return undefined
    const { conversation } = session
    const account = this.account(session.client)
    follow(conversation, session.pending.subarray(0, request.size))
    session.pending = session.pending.slice(request.size)
    session.consumed += request.size
    account.consumed += request.size
    const bytes = foretold(conversation, request) ?? this.#answer(session, request, account, nonce)
    account.said.push(bytes)
    return { bytes, quit: request.operation === 'Q' }
  }

  #answer(session: Session, request: Request, account: Account, nonce: () => number): Uint8Array {
    const { conversation } = session
    if (request.operation === 'P') {
      const before = conversation.nonce
      if (session.nonces) conversation.nonce = nonce()
      return privateAnswer(conversation, before, conversation.nonce)
    }
    const key = request.payload[0] ?? 0
    const value = (this.counters[key] ?? 0) + 1
    for (let i = this.counters.length; i <= key; i++) this.counters.push(0)
    this.counters[key] = value
    account.raised++
    return sharedAnswer(key, value)
  }
}
