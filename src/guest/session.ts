import { ReplyWriter } from './reply-writer.ts'
import type { Watcher } from './store.ts'

/** A client that waits in BLPOP or BRPOP. */
export interface Blocked {
  readonly keys: readonly string[]
  readonly left: boolean
  /** When it is told nil, in milliseconds of the guest's clock; 0 for never. */
  readonly until: number
}

/** A session as the snapshot keeps it. */
export interface SessionState {
  readonly id: number
  readonly protocol: 2 | 3
  readonly name: string
  readonly queue: string[][] | undefined
  readonly queueFailed: boolean
  readonly watched: readonly string[]
  readonly spoiled: boolean
  readonly channels: readonly string[]
  readonly patterns: readonly string[]
  readonly blocked: Blocked | undefined
  readonly ending: boolean
}

/** What a session asks of the connection that carries it. */
export interface SessionOwner {
  /** There is something in `out` that nobody's input has led to, or a block was lifted. */
  changed(session: Session): void
  /** The connection is to be reset: CLIENT KILL, or a subscriber that does not read. */
  reset(session: Session): void
}

/** What the application knows of one client, apart from the bytes under way. */
export class Session implements Watcher {
  readonly id: number
  readonly owner: SessionOwner
  readonly out = new ReplyWriter()
  name = ''
  /** Commands since MULTI; undefined outside a transaction. */
  queue: string[][] | undefined
  /** A command was refused while queueing: EXEC will refuse too. */
  queueFailed = false
  readonly watched = new Set<string>()
  spoiled = false
  readonly channels = new Set<string>()
  readonly patterns = new Set<string>()
  blocked: Blocked | undefined
  /** No further command is executed; the connection ends after what is in `out`. */
  ending = false

  constructor(id: number, owner: SessionOwner) {
    this.id = id
    this.owner = owner
  }

  get subscriptions(): number {
    return this.channels.size + this.patterns.size
  }

  capture(): SessionState {
    return {
      id: this.id, protocol: this.out.protocol, name: this.name,
      queue: this.queue, queueFailed: this.queueFailed,
      watched: [...this.watched], spoiled: this.spoiled,
      channels: [...this.channels], patterns: [...this.patterns],
      blocked: this.blocked, ending: this.ending
    }
  }

  /** The application enters it in its tables of watchers, subscribers and waiting clients. */
  restore(state: SessionState): void {
    for (const key of state.watched) this.watched.add(key)
    for (const channel of state.channels) this.channels.add(channel)
    for (const pattern of state.patterns) this.patterns.add(pattern)
    this.blocked = state.blocked
    this.out.protocol = state.protocol
    this.name = state.name
    this.queue = state.queue
    this.queueFailed = state.queueFailed
    this.spoiled = state.spoiled
    this.ending = state.ending
  }
}
