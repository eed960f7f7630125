import type { Socket } from 'node:net'

/** Bytes of one direction that may wait for their time; more wait where they come from. */
const waitingBytesMax = 4 << 20

interface Passing {
  /** By performance.now(). */
  readonly due: number
  readonly what: Buffer | 'end' | 'close'
}

/**
 * One direction of a connection that passes a forwarder: everything that comes from one socket goes to the
 * other in its order, each byte when its time has come, and the end and the break of the connection too.
 *
 *     from ──► │ waiting, oldest first │ ──► to
 */
export class Lane {
  readonly #from: Socket
  readonly #to: Socket
  readonly #passes: (bytes: Buffer) => void
  #delayMs: number
  #held: boolean
  #full = false
  readonly #waiting: Passing[] = []
  #waitingBytes = 0
  #timer: NodeJS.Timeout | undefined

  /** `passes` is called with bytes just before they go on. */
  constructor(
    from: Socket, to: Socket, state: { readonly delayMs: number, readonly held: boolean },
    passes: (bytes: Buffer) => void
  ) {
    this.#from = from
    this.#to = to
    this.#passes = passes
    this.#delayMs = state.delayMs
    this.#held = state.held
    from.on('data', (bytes: Buffer) => this.#arrived(bytes))
    from.on('end', () => this.#arrived('end'))
    from.on('error', () => undefined)
    from.on('close', () => this.#arrived('close'))
    to.on('drain', () => {
      this.#full = false
      this.#pass()
    })
    to.on('close', () => this.#forget())
    this.#regulate()
  }

  /** For what comes from now on; it does not overtake what came before. */
  delay(ms: number): void {
    this.#delayMs = ms
  }

  hold(held: boolean): void {
    this.#held = held
    this.#pass()
  }

  #arrived(what: Passing['what']): void {
    if (this.#to.destroyed) return
    this.#waiting.push({ due: performance.now() + this.#delayMs, what })
    if (typeof what === 'object') this.#waitingBytes += what.length
    this.#pass()
  }

  /** Sends what is due, and comes back for the rest. */
  #pass(): void {
    clearTimeout(this.#timer)
    for (let next = this.#waiting[0]; next !== undefined && !this.#stopped; next = this.#waiting[0]) {
      const early = next.due - performance.now()
      if (early > 0) {
        this.#timer = setTimeout(() => this.#pass(), Math.ceil(early))
        break
      }
      this.#waiting.shift()
      this.#send(next.what)
    }
    this.#regulate()
  }

  get #stopped(): boolean {
    return this.#held || this.#full
  }

  #send(what: Passing['what']): void {
    if (what === 'end') this.#to.end()
    else if (what === 'close') this.#to.destroy()
    else {
      this.#waitingBytes -= what.length
      this.#passes(what)
      this.#full = !this.#to.write(what)
    }
  }

  #regulate(): void {
    if (this.#stopped || this.#waitingBytes >= waitingBytesMax) this.#from.pause()
    else this.#from.resume()
  }

  #forget(): void {
    clearTimeout(this.#timer)
    this.#waiting.length = 0
    this.#waitingBytes = 0
  }
}
