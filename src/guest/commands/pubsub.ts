import type { Application, Command } from '../application.ts'
import { argument, command } from '../command.ts'
import { ReplyError } from '../reply-error.ts'
import type { Session } from '../session.ts'

function confirm(session: Session, kind: string, name: string | undefined): void {
  session.out.push(3)
  session.out.bulk(kind)
  session.out.bulkOrNil(name)
  session.out.integer(session.subscriptions)
}

function subscribeCommand(
  kind: string, run: (app: Application, session: Session, name: string) => void
): Command {
  return command(kind, -2, (app, session, args) => {
    for (const name of args.slice(1)) {
      run(app, session, name)
      confirm(session, kind, name)
    }
  }, { whileSubscribed: true })
}

function unsubscribeCommand(
  kind: string, names: (session: Session) => ReadonlySet<string>,
  run: (app: Application, session: Session, name: string) => void
): Command {
  return command(kind, -1, (app, session, args) => {
    const wanted = args.length > 1 ? args.slice(1) : [...names(session)]
    if (wanted.length === 0) confirm(session, kind, undefined)
    for (const name of wanted) {
      run(app, session, name)
      confirm(session, kind, name)
    }
  }, { whileSubscribed: true })
}

function inspect(app: Application, session: Session, args: readonly string[]): void {
  const what = argument(args, 1).toUpperCase()
  if (what === 'CHANNELS' && args.length <= 3) {
    session.out.bulks(app.pubsub.channels(args[2]))
  } else if (what === 'NUMSUB') {
    session.out.array((args.length - 2) * 2)
    for (const channel of args.slice(2)) {
      session.out.bulk(channel)
      session.out.integer(app.pubsub.subscribers(channel))
    }
  } else if (what === 'NUMPAT' && args.length === 2) {
    session.out.integer(app.pubsub.patternCount)
  } else {
    throw new ReplyError(`ERR unknown subcommand '${argument(args, 1)}'. Try PUBSUB HELP.`)
  }
}

export const pubsubCommands: readonly Command[] = [
  subscribeCommand('subscribe', (app, session, name) => app.pubsub.subscribe(session, name)),
  subscribeCommand('psubscribe', (app, session, name) => app.pubsub.subscribePattern(session, name)),
  unsubscribeCommand('unsubscribe', (session) => session.channels,
    (app, session, name) => app.pubsub.unsubscribe(session, name)),
  unsubscribeCommand('punsubscribe', (session) => session.patterns,
    (app, session, name) => app.pubsub.unsubscribePattern(session, name)),
  command('publish', 3, (app, session, args) =>
    session.out.integer(app.pubsub.publish(argument(args, 1), argument(args, 2)))),
  command('pubsub', -2, inspect)
]
