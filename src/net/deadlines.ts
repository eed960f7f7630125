/** Something that must be over in time. It waits in one list at most, of which it is a link itself. */
export abstract class Expiring {
  /** The list's own: rounds that it may still see. */
  roundsLeft = 0
  before: Expiring | undefined = undefined
  after: Expiring | undefined = undefined

  /** Its time is over. It waits no more. */
  abstract expire(): void
}

/** How late a deadline may be, in milliseconds. */
const roundMs = 50

/**
 * Deadlines that come about only when something is wrong: one coarse timer looks at all of them, instead of
 * a timer for each. It runs while anything waits.
 */
export class Deadlines {
  #first: Expiring | undefined
  #timer: NodeJS.Timeout | undefined

  /** `item` expires after `ms`, and at most {@link roundMs} later, unless it is removed. */
  add(item: Expiring, ms: number): void {
    // The first round may come at once.
    item.roundsLeft = Math.ceil(ms / roundMs) + 1
    item.after = this.#first
    if (this.#first !== undefined) this.#first.before = item
    this.#first = item
    // What waits keeps the process alive by itself.
    this.#timer ??= setInterval(() => this.#round(), roundMs).unref()
  }

  /** Does nothing to one that does not wait. */
  remove(item: Expiring): void {
    const { before, after } = item
    if (before !== undefined) before.after = after
    else if (this.#first === item) this.#first = after
    if (after !== undefined) after.before = before
    item.before = item.after = undefined
  }

  #round(): void {
    if (this.#first === undefined) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
    // Whoever is told may remove others, so nobody is told before all have been looked at.
    const over: Expiring[] = []
    for (let item = this.#first; item !== undefined; item = item.after) {
      item.roundsLeft -= 1
      if (item.roundsLeft <= 0) over.push(item)
    }
    for (const item of over) this.remove(item)
    for (const item of over) item.expire()
  }
}
