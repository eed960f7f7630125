import { Application } from '../../src/guest/application.ts'
import { GuestClock } from '../../src/guest/clock.ts'
import { commands } from '../../src/guest/commands/table.ts'
import { Session, type SessionOwner } from '../../src/guest/session.ts'
import { ReplyReader, type Reply } from './replies.ts'

/** A client that sits right at the application, without a network in between. */
export class Desk implements SessionOwner {
  readonly app: Application
  readonly session: Session
  readonly #reader = new ReplyReader()
  wasReset = false
  changes = 0

  constructor(app: Application, id = 1) {
    this.app = app
    this.session = new Session(id, this)
    app.enter(this.session)
  }

  changed(): void {
    this.changes += 1
  }

  reset(): void {
    this.wasReset = true
  }

  /** Sends a command given as one line of words; returns its replies. */
  say(line: string): Reply[] {
    return this.send(line.split(' '))
  }

  send(args: readonly string[]): Reply[] {
    this.app.execute(this.session, args)
    return this.heard()
  }

  /** What has been sent to this client since. */
  heard(): Reply[] {
    return this.#reader.feed(this.session.out.take() ?? Buffer.alloc(0))
  }

  /** The reply to a command that has exactly one; an error as its text. */
  ask(line: string): Reply | undefined {
    const replies = this.say(line)
    if (replies.length !== 1) throw new Error(`${line}: ${replies.length} replies`)
    const [reply] = replies
    return reply instanceof Error ? `-${reply.message}` : reply
  }
}

export function newApplication(): Application {
  return new Application(new GuestClock(), commands)
}
