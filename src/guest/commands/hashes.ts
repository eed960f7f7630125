import type { Application, Command } from '../application.ts'
import { argument, bigIntegerOf, command, integerMax, integerMin } from '../command.ts'
import { matchesGlob } from '../glob.ts'
import { notAnInteger, ReplyError } from '../reply-error.ts'
import type { Session } from '../session.ts'
import { scanOptions } from './keys.ts'

function setFields(app: Application, name: string, args: readonly string[]): number {
  if (args.length % 2 !== 0) throw new ReplyError(`ERR wrong number of arguments for '${name}' command`)
  const key = argument(args, 1)
  const hash = app.store.hashToFill(key)
  const before = hash.size
  for (let at = 2; at < args.length; at += 2) hash.set(argument(args, at), argument(args, at + 1))
  app.store.touch(key)
  return hash.size - before
}

function setNewField(app: Application, session: Session, args: readonly string[]): void {
  const key = argument(args, 1)
  const free = app.store.hash(key)?.has(argument(args, 2)) !== true
  if (free) setFields(app, 'hsetnx', args)
  session.out.integer(free ? 1 : 0)
}

function deleteFields(app: Application, session: Session, args: readonly string[]): void {
  const key = argument(args, 1)
  const hash = app.store.hash(key)
  let removed = 0
  for (let at = 2; at < args.length; at++) if (hash?.delete(argument(args, at)) === true) removed += 1
  if (removed > 0) app.store.touch(key, hash?.size === 0)
  session.out.integer(removed)
}

function countField(app: Application, session: Session, args: readonly string[]): void {
  const key = argument(args, 1)
  const field = argument(args, 2)
  const by = bigIntegerOf(argument(args, 3))
  if (by === undefined) throw notAnInteger()
  const before = bigIntegerOf(app.store.hash(key)?.get(field) ?? '0')
  if (before === undefined) throw new ReplyError('ERR hash value is not an integer')
  const after = before + by
  if (after < integerMin || after > integerMax) {
    throw new ReplyError('ERR increment or decrement would overflow')
  }
  app.store.hashToFill(key).set(field, String(after))
  app.store.touch(key)
  session.out.integer(after)
}

function scanHash(app: Application, session: Session, args: readonly string[]): void {
  if (!/^\d{1,20}$/.test(argument(args, 2))) throw new ReplyError('ERR invalid cursor')
  const { match } = scanOptions(args, 3)
  const found = [...app.store.hash(argument(args, 1)) ?? []].filter(([field]) => matchesGlob(match, field))
  session.out.array(2)
  session.out.bulk('0')
  session.out.bulks(found.flat())
}

function all(app: Application, session: Session, args: readonly string[]): void {
  const hash = app.store.hash(argument(args, 1))
  session.out.map(hash?.size ?? 0)
  for (const [field, value] of hash ?? []) {
    session.out.bulk(field)
    session.out.bulk(value)
  }
}

export const hashCommands: readonly Command[] = [
  command('hset', -4, (app, session, args) => session.out.integer(setFields(app, 'hset', args))),
  command('hmset', -4, (app, session, args) => {
    setFields(app, 'hmset', args)
    session.out.ok()
  }),
  command('hsetnx', 4, setNewField),
  command('hget', 3, (app, session, args) =>
    session.out.bulkOrNil(app.store.hash(argument(args, 1))?.get(argument(args, 2)))),
  command('hmget', -3, (app, session, args) => {
    const hash = app.store.hash(argument(args, 1))
    session.out.array(args.length - 2)
    for (let at = 2; at < args.length; at++) session.out.bulkOrNil(hash?.get(argument(args, at)))
  }),
  command('hgetall', 2, all),
  command('hdel', -3, deleteFields),
  command('hexists', 3, (app, session, args) =>
    session.out.integer(app.store.hash(argument(args, 1))?.has(argument(args, 2)) === true ? 1 : 0)),
  command('hlen', 2, (app, session, args) =>
    session.out.integer(app.store.hash(argument(args, 1))?.size ?? 0)),
  command('hstrlen', 3, (app, session, args) =>
    session.out.integer(app.store.hash(argument(args, 1))?.get(argument(args, 2))?.length ?? 0)),
  command('hkeys', 2, (app, session, args) =>
    session.out.bulks([...app.store.hash(argument(args, 1))?.keys() ?? []])),
  command('hvals', 2, (app, session, args) =>
    session.out.bulks([...app.store.hash(argument(args, 1))?.values() ?? []])),
  command('hincrby', 4, countField),
  command('hscan', -3, scanHash)
]
