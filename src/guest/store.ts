import type { GuestClock } from './clock.ts'
import { ListValue } from './list-value.ts'
import { wrongType } from './reply-error.ts'
import { SetValue } from './set-value.ts'

export type HashValue = Map<string, string>
/** A string, list, hash or set. Strings are binary: one character per byte. */
export type Value = string | ListValue | HashValue | SetValue

export type ValueType = 'string' | 'list' | 'hash' | 'set'

type StoreEntry = readonly [key: string, type: ValueType, value: string | readonly string[] | HashValue]

/** The store as the snapshot keeps it: only what v8.serialize knows. In the order of insertion. */
export interface StoreState {
  readonly entries: readonly StoreEntry[]
  readonly expiry: ReadonlyMap<string, number>
}

/** Whoever WATCHes keys. */
export interface Watcher {
  /** A watched key changed: the transaction must not run. */
  spoiled: boolean
}

/** How many keys one {@link Store.sweep} looks at. */
const sweepKeys = 200

export function typeOf(value: Value): ValueType {
  if (typeof value === 'string') return 'string'
  if (value instanceof ListValue) return 'list'
  return value instanceof SetValue ? 'set' : 'hash'
}

/**
 * The keys and their values. A key whose time has come is gone for every reader from that moment on; its
 * memory is freed when somebody looks or by {@link sweep}.
 */
export class Store {
  #values = new Map<string, Value>()
  #expiry = new Map<string, number>()
  #watchers = new Map<string, Set<Watcher>>()
  #sweeping: Iterator<[string, number]> | undefined
  #clock: GuestClock

  constructor(clock: GuestClock) {
    this.#clock = clock
  }

  get(key: string): Value | undefined {
    if (this.#expiry.size > 0) this.#expire(key)
    return this.#values.get(key)
  }

  /** Throws WRONGTYPE where the key holds something else; so do the three below. */
  string(key: string): string | undefined {
    const value = this.get(key)
    if (value !== undefined && typeof value !== 'string') throw wrongType()
    return value
  }

  list(key: string): ListValue | undefined {
    const value = this.get(key)
    if (value !== undefined && !(value instanceof ListValue)) throw wrongType()
    return value
  }

  hash(key: string): HashValue | undefined {
    const value = this.get(key)
    if (value !== undefined && !(value instanceof Map)) throw wrongType()
    return value
  }

  members(key: string): SetValue | undefined {
    const value = this.get(key)
    if (value !== undefined && !(value instanceof SetValue)) throw wrongType()
    return value
  }

  /** The list at `key`, made if there is none. The caller puts something in and calls {@link touch}. */
  listToFill(key: string): ListValue {
    return this.list(key) ?? this.#create(key, new ListValue())
  }

  hashToFill(key: string): HashValue {
    return this.hash(key) ?? this.#create(key, new Map<string, string>())
  }

  membersToFill(key: string): SetValue {
    return this.members(key) ?? this.#create(key, new SetValue())
  }

  /** Puts a value in place of whatever was there, without an expiry. */
  set(key: string, value: Value): void {
    this.#values.set(key, value)
    if (this.#expiry.size > 0) this.#expiry.delete(key)
    this.touch(key)
  }

  /** Changes the value of a key and leaves its expiry alone. */
  replace(key: string, value: Value): void {
    this.#values.set(key, value)
    this.touch(key)
  }

  delete(key: string): boolean {
    if (this.get(key) === undefined) return false
    this.#remove(key)
    return true
  }

  /** Must be called after a change inside a list, hash or set; an empty one is removed. */
  touch(key: string, empty = false): void {
    if (empty) {
      this.#remove(key)
      return
    }
    if (this.#watchers.size === 0) return
    for (const watcher of this.#watchers.get(key) ?? []) watcher.spoiled = true
  }

  clear(): void {
    for (const key of this.#watchers.keys()) if (this.#values.has(key)) this.touch(key)
    this.#values.clear()
    this.#expiry.clear()
  }

  get size(): number {
    this.#expireAll()
    return this.#values.size
  }

  keys(): IterableIterator<string> {
    this.#expireAll()
    return this.#values.keys()
  }

  /** When the key ends, in milliseconds of the guest's clock. */
  expiryOf(key: string): number | undefined {
    return this.#expiry.get(key)
  }

  /** Undefined removes the expiry. The key must be there. A moment that has passed removes the key. */
  setExpiry(key: string, at: number | undefined): void {
    if (at === undefined) this.#expiry.delete(key)
    else if (at <= this.#clock.now()) this.#remove(key)
    else this.#expiry.set(key, at)
    this.touch(key)
  }

  watch(key: string, watcher: Watcher): void {
    const watchers = this.#watchers.get(key)
    if (watchers === undefined) this.#watchers.set(key, new Set([watcher]))
    else watchers.add(watcher)
  }

  unwatch(key: string, watcher: Watcher): void {
    const watchers = this.#watchers.get(key)
    watchers?.delete(watcher)
    if (watchers?.size === 0) this.#watchers.delete(key)
  }

  /** Frees some of the keys whose time has come; the next call goes on from there. */
  sweep(): void {
    if (this.#expiry.size === 0) return
    const now = this.#clock.now()
    this.#sweeping ??= this.#expiry.entries()
    for (let count = 0; count < sweepKeys; count++) {
      const next = this.#sweeping.next()
      if (next.done === true) {
        this.#sweeping = undefined
        return
      }
      if (next.value[1] <= now) this.#remove(next.value[0])
    }
  }

  capture(): StoreState {
    const entries: StoreEntry[] = []
    for (const [key, value] of this.#values) {
      const plain = value instanceof ListValue || value instanceof SetValue ? value.toArray() : value
      entries.push([key, typeOf(value), plain])
    }
    return { entries, expiry: this.#expiry }
  }

  restore(state: StoreState): void {
    this.#values.clear()
    for (const [key, type, plain] of state.entries) {
      if (type === 'list') this.#values.set(key, ListValue.from(plain as readonly string[]))
      else if (type === 'set') this.#values.set(key, SetValue.from(plain as readonly string[]))
      else this.#values.set(key, plain as string | HashValue)
    }
    this.#expiry = new Map(state.expiry)
  }

  #create<T extends Value>(key: string, value: T): T {
    this.#values.set(key, value)
    return value
  }

  #remove(key: string): void {
    this.#values.delete(key)
    if (this.#expiry.size > 0) this.#expiry.delete(key)
    this.touch(key)
  }

  #expire(key: string): void {
    const at = this.#expiry.get(key)
    if (at !== undefined && at <= this.#clock.now()) this.#remove(key)
  }

  #expireAll(): void {
    if (this.#expiry.size === 0) return
    const now = this.#clock.now()
    for (const [key, at] of this.#expiry) if (at <= now) this.#remove(key)
  }
}
