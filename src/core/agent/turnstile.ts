import { invariant } from '../../base/invariant.ts'

/** Lets things pass in their order, and keeps them while somebody holds it. */
export class Turnstile<T> {
  readonly #max: number
  #holds = 0
  #waiting: T[] = []

  /** `max` things wait at most. */
  constructor(max: number) {
    this.#max = max
  }

  /** Whether things pass at once. */
  get free(): boolean { return this.#holds === 0 }

  hold(): void {
    this.#holds++
  }

  /** Ends one {@link hold}; when it was the last, those who waited pass, until one of them holds again. */
  release(pass: (thing: T) => void): void {
    invariant(this.#holds > 0, 'only a hold is released')
    this.#holds--
    while (this.#holds === 0) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      pass(next)
    }
  }

  /** False when too many wait. */
  wait(thing: T): boolean {
    if (this.#waiting.length >= this.#max) return false
    this.#waiting.push(thing)
    return true
  }

  /** Sends those away that are of no use any more. */
  keep(wanted: (thing: T) => boolean): void {
    this.#waiting = this.#waiting.filter(wanted)
  }
}
