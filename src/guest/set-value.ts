/**
 * A set from which a member of any index is taken as quickly as it is found: an array and where each member
 * lies.
 */
export class SetValue {
  #members: string[] = []
  #places = new Map<string, number>()

  /** In the order of `members`, which {@link toArray} gave, so that indexes mean the same again. */
  static from(members: Iterable<string>): SetValue {
    const set = new SetValue()
    for (const member of members) set.add(member)
    return set
  }

  get size(): number {
    return this.#members.length
  }

  has(member: string): boolean {
    return this.#places.has(member)
  }

  add(member: string): boolean {
    if (this.#places.has(member)) return false
    this.#places.set(member, this.#members.length)
    this.#members.push(member)
    return true
  }

  delete(member: string): boolean {
    const place = this.#places.get(member)
    if (place === undefined) return false
    this.#places.delete(member)
    const last = this.#members.pop()
    if (last !== undefined && place < this.#members.length) {
      this.#members[place] = last
      this.#places.set(last, place)
    }
    return true
  }

  /** `index` must be below {@link size}. */
  at(index: number): string {
    return this.#members[index] ?? ''
  }

  toArray(): string[] {
    return this.#members.slice()
  }
}
