import { nowhere } from './replay-stream.ts'
import type { OutputOffset } from '../ids.ts'
import type { Turn } from './replay-queue.ts'
import type { InputRecord, ReplayStream } from './replay-stream.ts'

interface Deferred {
  /** Of the first of the inputs. */
  readonly turn: Turn
  readonly inputs: InputRecord[]
}

/**
 * Inputs that wait for the place of their first output, in the order of these places (see replay.ts). Those
 * of which the log has no output were answered after all the others, if at all: they come last, and have no
 * order.
 */
export class DeferredInputs {
  readonly #deferred = new Map<ReplayStream, Deferred>()
  readonly #last = new Map<ReplayStream, InputRecord[]>()

  has(stream: ReplayStream): boolean { return this.#deferred.has(stream) || this.#last.has(stream) }

  /** Without a turn it comes last. What comes after a deferred input of the same stream waits with it. */
  add(stream: ReplayStream, input: InputRecord, turn: Turn | undefined): void {
    const inputs = this.#deferred.get(stream)?.inputs ?? this.#last.get(stream)
    if (inputs !== undefined) inputs.push(input)
    else if (turn === undefined) this.#last.set(stream, [input])
    else this.#deferred.set(stream, { turn, inputs: [input] })
  }

  /** Sends those of one stream. */
  send(stream: ReplayStream): void {
    const inputs = this.#deferred.get(stream)?.inputs ?? this.#last.get(stream)
    if (inputs === undefined) return
    this.#deferred.delete(stream)
    this.#last.delete(stream)
    for (const input of inputs) stream.send(input)
  }

  /** Sends all that come last, as they came; nothing that was deferred is left then but for its turn. */
  sendLast(): ReplayStream | undefined {
    let sent: ReplayStream | undefined
    for (const stream of this.#last.keys()) this.send(sent = stream)
    return sent
  }

  /**
   * Sends those whose turn comes first, or all that come last, and answers what they are to make; undefined
   * if none waits.
   */
  sendFirst(): { readonly stream: ReplayStream, readonly place: OutputOffset } | undefined {
    const next = this.#first()
    if (next === undefined) {
      const last = this.sendLast()
      return last === undefined ? undefined : { stream: last, place: nowhere }
    }
    const [stream, { turn: { place } }] = next
    this.send(stream)
    return { stream, place }
  }

  #first(): readonly [ReplayStream, Deferred] | undefined {
    let first: readonly [ReplayStream, Deferred] | undefined
    for (const next of this.#deferred) {
      if (first === undefined || next[1].turn.at < first[1].turn.at) first = next
    }
    return first
  }
}
