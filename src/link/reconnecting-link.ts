import { TailgateError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import type { Envelope, Message } from '../core/message.ts'
import { backoffMs, defaultBackoff, type Backoff } from './backoff.ts'
import { connectLink, type DialOptions } from './dial.ts'
import type { LinkConnection, LinkEvents } from './link.ts'

/** What a {@link ReconnectingLink} tells its owner: up, messages, down, up, ... */
export interface ReconnectingEvents {
  /** A link is there. What of the past is to be sent again is for the owner to find out, by messages. */
  up(link: LinkConnection): void
  message(envelope: Envelope, message: Message): void
  /** The link of the last `up` has ended; another is dialed after a while. */
  down(reason: Error): void
  /** An attempt to dial failed. For the log; another follows after `retryMs`. */
  failed(error: TailgateError, retryMs: number): void
}

/** What it needs of the world; replaced in tests. */
export interface ReconnectingWorld {
  /** Evenly between 0 and 1, 1 excluded. */
  random(): number
  /** Calls `call` after `ms`, unless the function that is returned is called first. */
  after(ms: number, call: () => void): () => void
  dial(options: DialOptions, up: (link: LinkConnection) => LinkEvents): Promise<LinkConnection>
}

export interface ReconnectingOptions extends Omit<DialOptions, 'signal'> {
  readonly backoff?: Backoff
}

const realWorld: ReconnectingWorld = {
  random: () => Math.random(),
  after(ms, call) {
    const timer = setTimeout(call, ms)
    return () => clearTimeout(timer)
  },
  dial: connectLink
}

/**
 * - `idle`: before start
 * - `dialing`: an attempt is under way
 * - `up`: there is a link
 * - `waiting`: for the next attempt
 * - `stopped`: for good
 */
type State =
  | { readonly name: 'idle' | 'stopped' }
  | { readonly name: 'dialing', readonly abort: AbortController }
  | { readonly name: 'up', readonly link: LinkConnection }
  | { readonly name: 'waiting', readonly cancel: () => void }

/** Keeps one link to one peer: dials until it is up, and dials again when it has ended. */
export class ReconnectingLink {
  readonly #options: ReconnectingOptions
  readonly #events: ReconnectingEvents
  readonly #world: ReconnectingWorld
  #state: State = { name: 'idle' }
  /** Attempts since the last link that was up. */
  #attempts = 0

  constructor(
    options: ReconnectingOptions, events: ReconnectingEvents, world: Partial<ReconnectingWorld> = {}
  ) {
    this.#options = options
    this.#events = events
    this.#world = { ...realWorld, ...world }
  }

  /** The link there is now. */
  get link(): LinkConnection | undefined {
    return this.#state.name === 'up' ? this.#state.link : undefined
  }

  /** Dials for the first time, at once. */
  start(): void {
    invariant(this.#state.name === 'idle', 'a reconnecting link started twice')
    this.#dial()
  }

  /** Ends the link, or the attempt at one; no event follows. */
  stop(): void {
    const state = this.#state
    this.#state = { name: 'stopped' }
    if (state.name === 'up') state.link.close()
    else if (state.name === 'dialing') state.abort.abort()
    else if (state.name === 'waiting') state.cancel()
  }

  #dial(): void {
    const abort = new AbortController()
    this.#state = { name: 'dialing', abort }
    const options = { ...this.#options, signal: abort.signal }
    this.#world.dial(options, link => this.#up(link)).catch((error: unknown) => {
      if (!(error instanceof TailgateError)) throw error
      if (this.#state.name === 'stopped') return
      this.#events.failed(error, this.#wait())
    })
  }

  #up(link: LinkConnection): LinkEvents {
    if (this.#state.name === 'stopped') {
      link.close()
      return { message: () => undefined, closed: () => undefined }
    }
    this.#state = { name: 'up', link }
    this.#attempts = 0
    this.#events.up(link)
    return {
      message: (envelope, message) => {
        if (this.#state.name !== 'stopped') this.#events.message(envelope, message)
      },
      closed: reason => this.#down(reason)
    }
  }

  #down(reason: Error): void {
    if (this.#state.name === 'stopped') return
    this.#wait()
    this.#events.down(reason)
  }

  /** Sets the next attempt; returns the wait before it. */
  #wait(): number {
    const { backoff = defaultBackoff } = this.#options
    const retryMs = backoffMs(backoff, ++this.#attempts, this.#world.random())
    this.#state = { name: 'waiting', cancel: this.#world.after(retryMs, () => this.#dial()) }
    return retryMs
  }
}
