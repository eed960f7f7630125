/**
 * The guest's own wall clock, in milliseconds since 1970. It stands while the guest stands still, and after a
 * restore it goes on from where the snapshot left it, as the clock of a virtual machine does.
 */
export class GuestClock {
  #base: number
  #since: number
  #standing = false

  constructor(base: number = Date.now()) {
    this.#base = base
    this.#since = performance.now()
  }

  now(): number {
    return this.#standing ? this.#base : Math.floor(this.#base + performance.now() - this.#since)
  }

  stand(): void {
    this.#base = this.now()
    this.#standing = true
  }

  run(): void {
    this.#since = performance.now()
    this.#standing = false
  }

  /** Continues from `base`. */
  set(base: number): void {
    this.#base = base
    this.#since = performance.now()
  }
}
