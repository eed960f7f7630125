import type { Application, Command } from '../application.ts'
import { argument, command } from '../command.ts'
import { matchesGlob } from '../glob.ts'
import { ReplyError } from '../reply-error.ts'
import type { Session } from '../session.ts'
import { redisVersion } from './connection.ts'

/** What CONFIG GET knows; redis-benchmark asks for `save` and `appendonly`. */
const settings: readonly (readonly [string, string])[] = [
  ['save', ''], ['appendonly', 'no'], ['maxmemory', '0'], ['maxmemory-policy', 'noeviction'],
  ['databases', '1']
]

/** Nothing in it depends on time or memory, so that a replayed INFO is answered as the first one was. */
const infoSections: Readonly<Record<string, (app: Application) => readonly string[]>> = {
  server: () => [
    '# Server', `redis_version:${redisVersion}`, 'redis_mode:standalone', 'tailgate_guest:embedded'
  ],
  clients: (app) => ['# Clients', `connected_clients:${app.sessions.size}`],
  persistence: () => ['# Persistence', 'loading:0'],
  replication: () => ['# Replication', 'role:master', 'connected_slaves:0'],
  keyspace: (app) => ['# Keyspace', ...app.store.size > 0 ? [`db0:keys=${app.store.size}`] : []]
}

function info(app: Application, session: Session, args: readonly string[]): void {
  const wanted = args.slice(1).map((section) => section.toLowerCase())
  const everything = wanted.length === 0
    || wanted.some((word) => ['all', 'default', 'everything'].includes(word))
  const sections = Object.entries(infoSections).filter(([name]) => everything || wanted.includes(name))
  session.out.bulk(sections.map(([, lines]) => lines(app).join('\r\n') + '\r\n').join('\r\n'))
}

function config(_app: Application, session: Session, args: readonly string[]): void {
  const what = argument(args, 1).toUpperCase()
  if (what === 'GET' && args.length >= 3) {
    const patterns = args.slice(2).map((pattern) => pattern.toLowerCase())
    const found = settings.filter(([name]) => patterns.some((pattern) => matchesGlob(pattern, name)))
    session.out.map(found.length)
    for (const text of found.flat()) session.out.bulk(text)
  } else if (what === 'RESETSTAT' && args.length === 2) {
    session.out.ok()
  } else {
    throw new ReplyError(`ERR unknown subcommand '${argument(args, 1)}'. Try CONFIG HELP.`)
  }
}

function describe(session: Session, one: Command): void {
  session.out.array(6)
  session.out.bulk(one.name)
  session.out.integer(one.arity)
  session.out.array(0)
  for (let n = 0; n < 3; n++) session.out.integer(0)
}

function commands(app: Application, session: Session, args: readonly string[]): void {
  const what = argument(args, 1).toUpperCase()
  if (what === 'COUNT') {
    session.out.integer(app.commands.length)
  } else if (what === 'DOCS') {
    session.out.map(0)
  } else if (what === '' || what === 'INFO') {
    const names = args.slice(2).map((name) => name.toLowerCase())
    const found = names.length === 0 ? app.commands : app.commands.filter((one) => names.includes(one.name))
    session.out.array(found.length)
    for (const one of found) describe(session, one)
  } else {
    throw new ReplyError(`ERR unknown subcommand '${argument(args, 1)}'. Try COMMAND HELP.`)
  }
}

function time(app: Application, session: Session): void {
  const now = app.clock.now()
  session.out.bulks([String(Math.floor(now / 1000)), String(now % 1000 * 1000)])
}

export const serverCommands: readonly Command[] = [
  command('info', -1, info),
  command('config', -2, config),
  command('command', -1, commands),
  command('time', 1, time)
]
