import type { GuestClock } from './clock.ts'
import { Pubsub, type PubsubState, type SessionTable } from './pubsub.ts'
import { Random } from './random.ts'
import { ReplyError } from './reply-error.ts'
import type { Session } from './session.ts'
import { Store, type StoreState } from './store.ts'
import { Waiting } from './waiting.ts'

/** What a command does: it writes its whole reply to `session.out`, or throws a ReplyError. */
export type Run = (app: Application, session: Session, args: readonly string[]) => void

export interface Command {
  readonly name: string
  /** Words including the name; negative: at least so many. */
  readonly arity: number
  readonly run: Run
  /** Runs at once between MULTI and EXEC. */
  readonly immediate: boolean
  /** Allowed to a RESP2 client that has subscriptions. */
  readonly whileSubscribed: boolean
}

/** All that the application knows apart from its sessions, as the snapshot keeps it. */
export interface ApplicationState {
  readonly clock: number
  readonly random: number
  readonly store: StoreState
  readonly pubsub: PubsubState
  readonly waiting: SessionTable
}

/**
 * The service inside the guest. What it answers follows from the order of its input alone (and, where keys
 * expire, from the guest's clock).
 */
export class Application {
  readonly clock: GuestClock
  readonly store: Store
  readonly pubsub = new Pubsub()
  readonly waiting = new Waiting()
  readonly random = new Random()
  readonly commands: readonly Command[]
  readonly sessions = new Map<number, Session>()
  /** By the name in capitals, and in small letters so that both spellings are found at once. */
  readonly #byName: ReadonlyMap<string, Command>
  /** A fault for tests: counters of keys that begin so count one too many. */
  skewPrefix: string | undefined

  /** `commands`: every one once. */
  constructor(clock: GuestClock, commands: readonly Command[]) {
    this.clock = clock
    this.commands = commands
    this.#byName = new Map(commands.flatMap((command): [string, Command][] =>
      [[command.name.toUpperCase(), command], [command.name, command]]))
    this.store = new Store(clock)
  }

  enter(session: Session): void {
    this.sessions.set(session.id, session)
  }

  /** The client is gone. */
  leave(session: Session): void {
    if (this.sessions.get(session.id) === session) this.sessions.delete(session.id)
    if (session.subscriptions > 0) this.pubsub.leave(session)
    if (session.blocked !== undefined) this.waiting.unblock(session)
    this.unwatch(session)
  }

  unwatch(session: Session): void {
    for (const key of session.watched) this.store.unwatch(key, session)
    session.watched.clear()
    session.spoiled = false
  }

  /** Ends a transaction without running it. */
  discard(session: Session): void {
    session.queue = undefined
    this.unwatch(session)
  }

  /** Executes one command of a client; the reply is in `session.out`, unless the client is blocked now. */
  execute(session: Session, args: readonly string[]): void {
    const name = args[0] ?? ''
    const command = this.commandOf(name)
    const refusal = command === undefined ? unknownCommand(name, args) : refuse(command, session, args)
    if (command?.name === 'exec' && refusal !== undefined) {
      this.discard(session)
      session.out.error(`EXECABORT Transaction discarded because of: ${refusal.replace(/^ERR /, '')}`)
    } else if (command === undefined || refusal !== undefined) {
      if (session.queue !== undefined) session.queueFailed = true
      session.out.error(refusal ?? '')
    } else if (session.queue !== undefined && !command.immediate) {
      session.queue.push([...args])
      session.out.queued()
    } else {
      this.run(command, session, args)
      this.waiting.serve(this.store)
    }
  }

  commandOf(name: string): Command | undefined {
    return this.#byName.get(name) ?? this.#byName.get(name.toUpperCase())
  }

  /** Runs a command that has been checked. A failing one leaves only its error in the reply. */
  run(command: Command, session: Session, args: readonly string[]): void {
    const length = session.out.length
    try {
      command.run(this, session, args)
    } catch (error) {
      if (!(error instanceof ReplyError)) throw error
      session.out.rewind(length)
      session.out.error(error.message)
    }
  }

  /** To be called every few tens of milliseconds while the guest runs. */
  tick(): void {
    this.waiting.expire(this.clock.now())
    this.store.sweep()
  }

  capture(sessions: readonly Session[]): ApplicationState {
    const order = new Map(sessions.map((session, place) => [session, place]))
    return {
      clock: this.clock.now(), random: this.random.state, store: this.store.capture(),
      pubsub: this.pubsub.capture(order), waiting: this.waiting.capture(order)
    }
  }

  /** `sessions` as they were handed to {@link capture}, restored. */
  restore(state: ApplicationState, sessions: readonly Session[]): void {
    this.clock.set(state.clock)
    this.random.state = state.random
    this.store.restore(state.store)
    this.pubsub.restore(state.pubsub, sessions)
    this.waiting.restore(state.waiting, sessions)
    for (const session of sessions) {
      this.enter(session)
      for (const key of session.watched) this.store.watch(key, session)
    }
  }
}

function unknownCommand(name: string, args: readonly string[]): string {
  let shown = ''
  for (const argument of args.slice(1)) {
    if (shown.length >= 128) break
    shown += `'${argument.slice(0, 128 - shown.length)}' `
  }
  return `ERR unknown command '${name.slice(0, 128)}', with args beginning with: ${shown}`
}

function refuse(command: Command, session: Session, args: readonly string[]): string | undefined {
  const { arity } = command
  if (arity >= 0 ? args.length !== arity : args.length < -arity) {
    return `ERR wrong number of arguments for '${command.name}' command`
  }
  if (session.subscriptions > 0 && session.out.protocol === 2 && !command.whileSubscribed) {
    return `ERR Can't execute '${command.name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / `
      + 'RESET are allowed in this context'
  }
  return undefined
}
