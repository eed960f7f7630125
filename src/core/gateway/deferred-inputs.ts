import type { OutputOffset } from '../ids.ts'
import type { Turn } from './replay-queue.ts'
import type { InputRecord, ReplayStream } from './replay-stream.ts'

interface Deferred {
  /** Of the first of the inputs. */
  readonly turn: Turn
  readonly inputs: InputRecord[]
}

/** Inputs that wait for the place of their first output, in the order of these places (see replay.ts). */
export class DeferredInputs {
  readonly #deferred = new Map<ReplayStream, Deferred>()

  has(stream: ReplayStream): boolean { return this.#deferred.has(stream) }

  /** What comes after a deferred input of the same stream waits with it, and needs no turn of its own. */
  add(stream: ReplayStream, input: InputRecord, turn: Turn | undefined): void {
    const deferred = this.#deferred.get(stream)
    if (deferred !== undefined) deferred.inputs.push(input)
    else if (turn !== undefined) this.#deferred.set(stream, { turn, inputs: [input] })
  }

  /** Sends those of one stream. */
  send(stream: ReplayStream): void {
    const deferred = this.#deferred.get(stream)
    if (deferred === undefined) return
    this.#deferred.delete(stream)
    for (const input of deferred.inputs) stream.send(input)
  }

  /** Sends those whose turn comes first, and answers what they are to make; undefined if none waits. */
  sendFirst(): { readonly stream: ReplayStream, readonly place: OutputOffset } | undefined {
    const next = this.#first()
    if (next === undefined) return undefined
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
