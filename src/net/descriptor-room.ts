import { readFileSync } from 'node:fs'
import { invariant } from '../base/invariant.ts'

/**
 * Descriptors left for everything that is not a client or guest connection: logs, links, metrics, libuv's
 * own.
 */
const reservedDescriptors = 64
/** After the room was full, it counts as free again only when this part of it is. */
const freeAgainPart = 0.05

/**
 * How many connections may be open at once. libuv answers a descriptor table that has run full by
 * accepting clients and closing them without a word; staying below the limit lets the listener reset them
 * and say why.
 */
export class DescriptorRoom {
  readonly sidesMax: number
  #open = 0
  #said = false

  constructor(sidesMax: number = descriptorLimit() - reservedDescriptors) {
    this.sidesMax = Math.max(2, sidesMax)
  }

  get open(): number {
    return this.#open
  }

  /** Counts one more in, or answers false when there is no room. */
  take(): boolean {
    if (this.#open >= this.sidesMax) return false
    this.#open += 1
    return true
  }

  give(): void {
    invariant(this.#open > 0, 'a descriptor was given back twice')
    this.#open -= 1
    if (this.#open <= this.sidesMax * (1 - freeAgainPart)) this.#said = false
  }

  /** True once for each time that the room runs full. */
  firstRefusal(): boolean {
    const first = !this.#said
    this.#said = true
    return first
  }
}

/**
 * The soft limit of open files, which Node raises to the hard one at start; generous where it cannot be
 * read.
 */
export function descriptorLimit(): number {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]
    return soft === undefined ? unknownLimit : Number(soft)
  } catch {
    return unknownLimit
  }
}

const unknownLimit = 65_536
