const capacityMin = 16

/** A list whose both ends are equally cheap: a ring of a power of two places. */
export class ListValue {
  #items: (string | undefined)[] = new Array<string | undefined>(capacityMin)
  #head = 0
  #length = 0

  static from(items: Iterable<string>): ListValue {
    const list = new ListValue()
    for (const item of items) list.pushRight(item)
    return list
  }

  get length(): number {
    return this.#length
  }

  pushLeft(item: string): void {
    this.#grow()
    this.#head = (this.#head - 1) & (this.#items.length - 1)
    this.#items[this.#head] = item
    this.#length += 1
  }

  pushRight(item: string): void {
    this.#grow()
    this.#items[this.#place(this.#length)] = item
    this.#length += 1
  }

  popLeft(): string | undefined {
    if (this.#length === 0) return undefined
    const item = this.#items[this.#head]
    this.#items[this.#head] = undefined
    this.#head = (this.#head + 1) & (this.#items.length - 1)
    this.#length -= 1
    return item
  }

  popRight(): string | undefined {
    if (this.#length === 0) return undefined
    const place = this.#place(this.#length - 1)
    const item = this.#items[place]
    this.#items[place] = undefined
    this.#length -= 1
    return item
  }

  at(index: number): string | undefined {
    return index < 0 || index >= this.#length ? undefined : this.#items[this.#place(index)]
  }

  /** `index` must be inside the list. */
  setAt(index: number, item: string): void {
    this.#items[this.#place(index)] = item
  }

  slice(from: number, to: number): string[] {
    const items: string[] = []
    for (let index = from; index < to; index++) items.push(this.#items[this.#place(index)] ?? '')
    return items
  }

  toArray(): string[] {
    return this.slice(0, this.#length)
  }

  #place(index: number): number {
    return (this.#head + index) & (this.#items.length - 1)
  }

  #grow(): void {
    if (this.#length < this.#items.length) return
    const items = this.toArray() as (string | undefined)[]
    items.length = this.#items.length * 2
    this.#items = items
    this.#head = 0
  }
}
