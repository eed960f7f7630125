import type { Application, Command } from '../application.ts'
import { argument, command, integerOf } from '../command.ts'
import { ReplyError, syntaxError } from '../reply-error.ts'
import type { Session } from '../session.ts'

/** The version of Redis whose behaviour the guest follows; clients look at it. */
export const redisVersion = '7.0.15'

const noVersion = 'ERR Protocol version is not an integer or out of range'

function ping(_app: Application, session: Session, args: readonly string[]): void {
  if (args.length > 2) throw new ReplyError('ERR wrong number of arguments for \'ping\' command')
  const text = args[1]
  if (session.subscriptions > 0 && session.out.protocol === 2) session.out.bulks(['pong', text ?? ''])
  else if (text === undefined) session.out.pong()
  else session.out.bulk(text)
}

function select(_app: Application, session: Session, args: readonly string[]): void {
  const index = integerOf(argument(args, 1))
  if (index !== (index | 0)) {
    throw new ReplyError('ERR value is out of range, value must between -2147483648 and 2147483647')
  }
  if (index !== 0) throw new ReplyError('ERR DB index is out of range')
  session.out.ok()
}

function nameOf(text: string): string {
  if (!/^[!-~]*$/.test(text)) {
    throw new ReplyError('ERR Client names cannot contain spaces, newlines or special characters.')
  }
  return text
}

function hello(_app: Application, session: Session, args: readonly string[]): void {
  const version = args.length > 1
    ? integerOf(argument(args, 1), () => new ReplyError(noVersion))
    : session.out.protocol
  if (version !== 2 && version !== 3) throw new ReplyError('NOPROTO unsupported protocol version')
  let name: string | undefined
  for (let at = 2; at < args.length; at++) {
    const option = argument(args, at).toUpperCase()
    if (option === 'AUTH' && at + 2 < args.length) at += 2
    else if (option === 'SETNAME' && at + 1 < args.length) name = nameOf(argument(args, ++at))
    else throw new ReplyError(`ERR Syntax error in HELLO option '${argument(args, at)}'`)
  }
  session.name = name ?? session.name
  session.out.protocol = version
  const { out } = session
  out.map(7)
  for (const [field, value] of [['server', 'redis'], ['version', redisVersion]]) {
    out.bulk(field ?? '')
    out.bulk(value ?? '')
  }
  out.bulk('proto')
  out.integer(version)
  out.bulk('id')
  out.integer(session.id)
  for (const text of ['mode', 'standalone', 'role', 'master', 'modules']) out.bulk(text)
  out.array(0)
}

function kill(app: Application, session: Session, args: readonly string[]): void {
  if (args.length !== 4 || argument(args, 2).toUpperCase() !== 'ID') throw syntaxError()
  const id = integerOf(argument(args, 3), () => new ReplyError('ERR client-id should be greater than 0'))
  const victim = app.sessions.get(id)
  if (victim === session) session.ending = true
  else victim?.owner.reset(victim)
  session.out.integer(victim === undefined ? 0 : 1)
}

function client(app: Application, session: Session, args: readonly string[]): void {
  const what = argument(args, 1).toUpperCase()
  if (what === 'ID' && args.length === 2) {
    session.out.integer(session.id)
  } else if (what === 'GETNAME' && args.length === 2) {
    session.out.bulkOrNil(session.name === '' ? undefined : session.name)
  } else if (what === 'SETNAME' && args.length === 3) {
    session.name = nameOf(argument(args, 2))
    session.out.ok()
  } else if (what === 'SETINFO' && args.length === 4) {
    session.out.ok()
  } else if (what === 'KILL') {
    kill(app, session, args)
  } else {
    throw new ReplyError(`ERR unknown subcommand or wrong number of arguments for '${argument(args, 1)}'.`
      + ' Try CLIENT HELP.')
  }
}

function reset(app: Application, session: Session): void {
  session.queue = undefined
  app.unwatch(session)
  app.pubsub.leave(session)
  session.name = ''
  session.out.protocol = 2
  session.out.simple('RESET')
}

export const connectionCommands: readonly Command[] = [
  command('ping', -1, ping, { whileSubscribed: true }),
  command('echo', 2, (_app, session, args) => session.out.bulk(argument(args, 1))),
  command('select', 2, select),
  command('hello', -1, hello),
  command('client', -2, client),
  command('auth', -2, () => {
    throw new ReplyError('ERR AUTH <password> called without any password configured for the default user. '
      + 'Are you sure your configuration is correct?')
  }),
  command('reset', 1, reset, { immediate: true, whileSubscribed: true }),
  command('quit', -1, (_app, session) => {
    session.ending = true
    session.out.ok()
  }, { immediate: true, whileSubscribed: true })
]
