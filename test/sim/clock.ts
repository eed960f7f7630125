/** Virtual time, in whole microseconds since the run began. */
export type Micros = number

interface Event {
  readonly at: Micros
  readonly order: number
  readonly run: () => void
}

/** Converts milliseconds of settings and of the core to virtual time. */
export const ms = (milliseconds: number): Micros => Math.round(milliseconds * 1000)

/** Events in the order of their times; those of one time in the order in which they were asked for. */
export class Clock {
  #heap: Event[] = []
  #now: Micros = 0
  #order = 0
  /** Events run so far. */
  events = 0

  get now(): Micros { return this.#now }
  get pending(): number { return this.#heap.length }

  after(delay: Micros, run: () => void): void {
    this.#push({ at: this.#now + Math.max(0, delay), order: this.#order++, run })
  }

  /** Runs the next event. False if there is none before `until`, to which the time then moves. */
  step(until: Micros): boolean {
    const next = this.#heap[0]
    if (next === undefined || next.at > until) {
      this.#now = Math.max(this.#now, until)
      return false
    }
    this.#pop()
    this.#now = next.at
    this.events++
    next.run()
    return true
  }

  #push(event: Event): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent]
      if (above === undefined || isBefore(above, event)) break
      heap[at] = above
      at = parent
    }
    heap[at] = event
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let at = 0
    for (;;) {
      const left = at * 2 + 1
      const first = heap[left]
      if (first === undefined) break
      const second = heap[left + 1]
      const child = second !== undefined && isBefore(second, first) ? left + 1 : left
      const smaller = child === left ? first : second
      if (smaller === undefined || isBefore(last, smaller)) break
      heap[at] = smaller
      at = child
    }
    heap[at] = last
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
