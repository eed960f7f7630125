import { enter, placesOf, type SessionTable } from './pubsub.ts'
import type { Blocked, Session } from './session.ts'
import type { Store } from './store.ts'

/** Clients that wait in BLPOP or BRPOP, first come first served for each key. */
export class Waiting {
  #byKey = new Map<string, Set<Session>>()
  #blocked = new Set<Session>()
  /** Keys somebody waits for that have been filled by the present command. */
  #filled: string[] = []

  block(session: Session, blocked: Blocked): void {
    session.blocked = blocked
    this.#blocked.add(session)
    for (const key of blocked.keys) {
      const sessions = this.#byKey.get(key)
      if (sessions === undefined) this.#byKey.set(key, new Set([session]))
      else sessions.add(session)
    }
  }

  unblock(session: Session): void {
    for (const key of session.blocked?.keys ?? []) {
      const sessions = this.#byKey.get(key)
      sessions?.delete(session)
      if (sessions?.size === 0) this.#byKey.delete(key)
    }
    session.blocked = undefined
    this.#blocked.delete(session)
  }

  /** A list was put at `key` or has grown. */
  filled(key: string): void {
    if (this.#byKey.size > 0 && this.#byKey.has(key)) this.#filled.push(key)
  }

  /** At the end of a command: hands out what it has put into lists. */
  serve(store: Store): void {
    for (let key = this.#filled.shift(); key !== undefined; key = this.#filled.shift()) {
      this.#serveKey(key, store)
    }
  }

  /** Tells nil to those who have waited long enough. */
  expire(now: number): void {
    for (const session of this.#blocked) {
      const until = session.blocked?.until ?? 0
      if (until === 0 || until > now) continue
      this.unblock(session)
      session.out.nilArray()
      session.owner.changed(session)
    }
  }

  /** Only the order of each key is kept; sessions know what they wait for. */
  capture(order: ReadonlyMap<Session, number>): SessionTable {
    return placesOf(this.#byKey, order)
  }

  restore(table: SessionTable, sessions: readonly Session[]): void {
    enter(table, sessions, (session, key) => {
      const waiting = this.#byKey.get(key)
      if (waiting === undefined) this.#byKey.set(key, new Set([session]))
      else waiting.add(session)
      this.#blocked.add(session)
    })
  }

  #serveKey(key: string, store: Store): void {
    for (const session of this.#byKey.get(key) ?? []) {
      const list = store.get(key)
      if (list === undefined || typeof list === 'string' || !('popLeft' in list)) return
      const item = session.blocked?.left === true ? list.popLeft() : list.popRight()
      if (item === undefined) return
      store.touch(key, list.length === 0)
      this.unblock(session)
      session.out.bulks([key, item])
      session.owner.changed(session)
    }
  }
}
