import { matchesGlob } from './glob.ts'
import type { Session } from './session.ts'

/** Who has subscribed to what. Deliveries go out in the order of subscription, which the snapshot keeps. */
export class Pubsub {
  #channels = new Map<string, Set<Session>>()
  #patterns = new Map<string, Set<Session>>()

  subscribe(session: Session, channel: string): void {
    session.channels.add(channel)
    add(this.#channels, channel, session)
  }

  unsubscribe(session: Session, channel: string): void {
    session.channels.delete(channel)
    remove(this.#channels, channel, session)
  }

  subscribePattern(session: Session, pattern: string): void {
    session.patterns.add(pattern)
    add(this.#patterns, pattern, session)
  }

  unsubscribePattern(session: Session, pattern: string): void {
    session.patterns.delete(pattern)
    remove(this.#patterns, pattern, session)
  }

  leave(session: Session): void {
    for (const channel of session.channels) remove(this.#channels, channel, session)
    for (const pattern of session.patterns) remove(this.#patterns, pattern, session)
    session.channels.clear()
    session.patterns.clear()
  }

  /** Delivers and returns the number of deliveries. */
  publish(channel: string, message: string): number {
    let count = 0
    for (const session of this.#channels.get(channel) ?? []) {
      session.out.push(3)
      session.out.bulk('message')
      session.out.bulk(channel)
      session.out.bulk(message)
      session.owner.changed(session)
      count += 1
    }
    for (const [pattern, sessions] of this.#patterns) {
      if (matchesGlob(pattern, channel)) count += deliverPattern(sessions, pattern, channel, message)
    }
    return count
  }

  channels(pattern: string | undefined): string[] {
    const names = [...this.#channels.keys()]
    return pattern === undefined ? names : names.filter((name) => matchesGlob(pattern, name))
  }

  subscribers(channel: string): number {
    return this.#channels.get(channel)?.size ?? 0
  }

  get patternCount(): number {
    return this.#patterns.size
  }

  /** `order` numbers the sessions that are in the snapshot. */
  capture(order: ReadonlyMap<Session, number>): PubsubState {
    return { channels: placesOf(this.#channels, order), patterns: placesOf(this.#patterns, order) }
  }

  restore(state: PubsubState, sessions: readonly Session[]): void {
    enter(state.channels, sessions, (session, channel) => this.subscribe(session, channel))
    enter(state.patterns, sessions, (session, pattern) => this.subscribePattern(session, pattern))
  }
}

/** Sessions by name, each as its place in the snapshot's order, in the order in which they came. */
export type SessionTable = readonly (readonly [name: string, places: readonly number[]])[]

export interface PubsubState {
  readonly channels: SessionTable
  readonly patterns: SessionTable
}

/** The sessions of `table` that `order` knows, by their places. */
export function placesOf(
  table: ReadonlyMap<string, ReadonlySet<Session>>, order: ReadonlyMap<Session, number>
): SessionTable {
  const places = (sessions: ReadonlySet<Session>): number[] =>
    [...sessions].map((session) => order.get(session)).filter((place) => place !== undefined)
  return [...table].map(([name, sessions]) => [name, places(sessions)])
}

/** The other way round. */
export function enter(
  table: SessionTable, sessions: readonly Session[], run: (session: Session, name: string) => void
): void {
  for (const [name, places] of table) {
    for (const place of places) {
      const session = sessions[place]
      if (session !== undefined) run(session, name)
    }
  }
}

function deliverPattern(sessions: Set<Session>, pattern: string, channel: string, message: string): number {
  for (const session of sessions) {
    session.out.push(4)
    session.out.bulk('pmessage')
    session.out.bulk(pattern)
    session.out.bulk(channel)
    session.out.bulk(message)
    session.owner.changed(session)
  }
  return sessions.size
}

function add(table: Map<string, Set<Session>>, name: string, session: Session): void {
  const sessions = table.get(name)
  if (sessions === undefined) table.set(name, new Set([session]))
  else sessions.add(session)
}

function remove(table: Map<string, Set<Session>>, name: string, session: Session): void {
  const sessions = table.get(name)
  sessions?.delete(session)
  if (sessions?.size === 0) table.delete(name)
}
