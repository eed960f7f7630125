import type { ConnectionId } from '../../../src/core/ids.ts'
import type { StreamEvents, StreamSide } from '../../../src/core/stream.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export const bytesOf = (text: string): Uint8Array => encoder.encode(text)
export const textOf = (bytes: Uint8Array): string => decoder.decode(bytes)

/**
 * Who is at the other end of one side of a connection: a client or the guest. It notes what it is told, and
 * says what the test lets it say. Bytes are text here.
 */
export class Peer implements StreamSide {
  /** What it was told, in order: what was written, and `<end>`, `<reset>` or `<abandoned>`. */
  told: string[] = []
  /** Bytes that it does not take, as the test sets them. */
  backlog = 0
  paused = true
  /** Whether its kernel acknowledges what is written to it. */
  acknowledges = true
  readonly #turn: (act: () => void) => void
  #acknowledged: ((bytes: number) => void) | undefined
  #events: StreamEvents | undefined

  /** `turn` runs what it says, and what is due at the end of a turn. */
  constructor(turn: (act: () => void) => void) {
    this.#turn = turn
  }

  /** Who is told of the length of all that it acknowledges. */
  acknowledgesTo(told: (bytes: number) => void): void {
    this.#acknowledged = told
  }

  /** Whom it tells. */
  tells(events: StreamEvents | undefined): void {
    this.#events = events
  }

  says(text: string): void {
    if (this.paused) throw new Error(`nobody reads what it says: ${text}`)
    const bytes = bytesOf(text)
    this.#do(events => { events.data(bytes) })
    // The buffer is used again: whoever kept it has something else now.
    bytes.fill(0x3f)
  }

  ends(): void { this.#do(events => { events.end() }) }
  resets(): void { this.#do(events => { events.reset() }) }
  drains(): void { this.#do(events => { events.drain() }) }

  #do(act: (events: StreamEvents) => void): void {
    const events = this.#events
    if (events === undefined) throw new Error('nobody listens')
    this.#turn(() => { act(events) })
  }

  write(bytes: Uint8Array): void {
    this.#hear(textOf(bytes))
    if (this.acknowledges) this.#acknowledged?.(bytes.length)
  }

  end(): void {
    this.#hear('<end>')
    if (this.acknowledges) this.#acknowledged?.(1)
  }

  reset(): void { this.#hear('<reset>') }
  abandon(): void { this.#hear('<abandoned>') }
  pause(): void { this.#change(true) }
  resume(): void { this.#change(false) }

  /** After a reset or an abandon nothing may be called (src/core/stream.ts). */
  #hear(what: string): void {
    this.#alive(what)
    this.told.push(what)
  }

  #change(paused: boolean): void {
    this.#alive(paused ? 'pause' : 'resume')
    this.paused = paused
  }

  #alive(what: string): void {
    const last = this.told.at(-1)
    if (last === '<reset>' || last === '<abandoned>') throw new Error(`${what} after ${last}`)
  }
}

/** A client's connection and the guest's side of it. */
export interface Pair {
  readonly id: ConnectionId
  readonly client: Peer
  readonly guest: Peer
}
