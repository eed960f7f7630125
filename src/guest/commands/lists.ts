import type { Application, Command } from '../application.ts'
import { argument, command, integerOf, rangeOf } from '../command.ts'
import { ListValue } from '../list-value.ts'
import { noSuchKey, ReplyError, syntaxError } from '../reply-error.ts'
import type { Session } from '../session.ts'

function pushCommand(name: string, left: boolean, onlyExisting: boolean): Command {
  return command(name, -3, (app, session, args) => {
    const key = argument(args, 1)
    if (onlyExisting && app.store.list(key) === undefined) {
      session.out.integer(0)
      return
    }
    const list = app.store.listToFill(key)
    for (let at = 2; at < args.length; at++) {
      if (left) list.pushLeft(argument(args, at))
      else list.pushRight(argument(args, at))
    }
    app.store.touch(key)
    app.waiting.filled(key)
    session.out.integer(list.length)
  })
}

function popCommand(name: string, left: boolean): Command {
  return command(name, -2, (app, session, args) => {
    const key = argument(args, 1)
    if (args.length > 3) throw new ReplyError(`ERR wrong number of arguments for '${name}' command`)
    const outOfRange = (): ReplyError => new ReplyError('ERR value is out of range, must be positive')
    const wanted = args.length === 3 ? integerOf(argument(args, 2), outOfRange) : undefined
    if (wanted !== undefined && wanted < 0) throw outOfRange()
    const list = app.store.list(key)
    if (list === undefined) {
      if (wanted === undefined) session.out.nil()
      else session.out.nilArray()
      return
    }
    const pop = (): string => (left ? list.popLeft() : list.popRight()) ?? ''
    const count = Math.min(wanted ?? 1, list.length)
    if (wanted !== undefined) session.out.array(count)
    for (let n = 0; n < count; n++) session.out.bulk(pop())
    if (count > 0) app.store.touch(key, list.length === 0)
  })
}

function listRange(app: Application, session: Session, args: readonly string[]): void {
  const first = integerOf(argument(args, 2))
  const last = integerOf(argument(args, 3))
  const list = app.store.list(argument(args, 1))
  const { from, to } = rangeOf(first, last, list?.length ?? 0)
  session.out.array(to - from)
  for (let index = from; index < to; index++) session.out.bulk(list?.at(index) ?? '')
}

function listIndex(app: Application, session: Session, args: readonly string[]): void {
  const list = app.store.list(argument(args, 1))
  const index = integerOf(argument(args, 2))
  session.out.bulkOrNil(list?.at(index < 0 ? list.length + index : index))
}

function listSet(app: Application, session: Session, args: readonly string[]): void {
  const key = argument(args, 1)
  const list = app.store.list(key)
  if (list === undefined) throw noSuchKey()
  const index = integerOf(argument(args, 2))
  const place = index < 0 ? list.length + index : index
  if (place < 0 || place >= list.length) throw new ReplyError('ERR index out of range')
  list.setAt(place, argument(args, 3))
  app.store.touch(key)
  session.out.ok()
}

/** Puts other items in place of a list's, keeping the key's expiry. */
function refill(app: Application, key: string, items: readonly string[]): void {
  if (items.length === 0) app.store.delete(key)
  else app.store.replace(key, ListValue.from(items))
}

function listRemove(app: Application, session: Session, args: readonly string[]): void {
  const key = argument(args, 1)
  const count = integerOf(argument(args, 2))
  const items = app.store.list(key)?.toArray() ?? []
  const limit = count === 0 ? items.length : Math.abs(count)
  if (count < 0) items.reverse()
  let removed = 0
  const kept = items.filter((item) => item !== argument(args, 3) || ++removed > limit)
  if (count < 0) kept.reverse()
  if (removed > 0) refill(app, key, kept)
  session.out.integer(Math.min(removed, limit))
}

function listTrim(app: Application, session: Session, args: readonly string[]): void {
  const key = argument(args, 1)
  const first = integerOf(argument(args, 2))
  const last = integerOf(argument(args, 3))
  const list = app.store.list(key)
  if (list !== undefined) {
    const { from, to } = rangeOf(first, last, list.length)
    refill(app, key, list.slice(from, to))
  }
  session.out.ok()
}

function listInsert(app: Application, session: Session, args: readonly string[]): void {
  const key = argument(args, 1)
  const where = argument(args, 2).toUpperCase()
  if (where !== 'BEFORE' && where !== 'AFTER') throw syntaxError()
  const items = app.store.list(key)?.toArray()
  const pivot = items?.indexOf(argument(args, 3)) ?? 0
  if (items === undefined || pivot < 0) {
    session.out.integer(items === undefined ? 0 : -1)
    return
  }
  items.splice(where === 'BEFORE' ? pivot : pivot + 1, 0, argument(args, 4))
  refill(app, key, items)
  session.out.integer(items.length)
}

function move(
  app: Application, session: Session, from: string, to: string, fromLeft: boolean, toLeft: boolean
): void {
  const source = app.store.list(from)
  if (source === undefined) {
    session.out.nil()
    return
  }
  const target = app.store.listToFill(to)
  const item = (fromLeft ? source.popLeft() : source.popRight()) ?? ''
  if (toLeft) target.pushLeft(item)
  else target.pushRight(item)
  app.store.touch(from, source.length === 0)
  app.store.touch(to)
  app.waiting.filled(to)
  session.out.bulk(item)
}

function sideOf(word: string): boolean {
  const side = word.toUpperCase()
  if (side !== 'LEFT' && side !== 'RIGHT') throw syntaxError()
  return side === 'LEFT'
}

function blockingPopCommand(name: string, left: boolean): Command {
  return command(name, -3, (app, session, args) => {
    const seconds = Number(argument(args, args.length - 1))
    if (!/^-?[0-9.]+$/.test(argument(args, args.length - 1)) || !Number.isFinite(seconds)) {
      throw new ReplyError('ERR timeout is not a float or out of range')
    }
    if (seconds < 0) throw new ReplyError('ERR timeout is negative')
    const keys = args.slice(1, -1)
    for (const key of keys) {
      const list = app.store.list(key)
      if (list === undefined) continue
      session.out.bulks([key, (left ? list.popLeft() : list.popRight()) ?? ''])
      app.store.touch(key, list.length === 0)
      return
    }
    const until = seconds === 0 ? 0 : app.clock.now() + seconds * 1000
    if (session.queue !== undefined) session.out.nilArray()
    else app.waiting.block(session, { keys, left, until })
  })
}

export const listCommands: readonly Command[] = [
  pushCommand('lpush', true, false),
  pushCommand('rpush', false, false),
  pushCommand('lpushx', true, true),
  pushCommand('rpushx', false, true),
  popCommand('lpop', true),
  popCommand('rpop', false),
  command('llen', 2, (app, session, args) =>
    session.out.integer(app.store.list(argument(args, 1))?.length ?? 0)),
  command('lrange', 4, listRange),
  command('lindex', 3, listIndex),
  command('lset', 4, listSet),
  command('lrem', 4, listRemove),
  command('ltrim', 4, listTrim),
  command('linsert', 5, listInsert),
  command('rpoplpush', 3, (app, session, args) =>
    move(app, session, argument(args, 1), argument(args, 2), false, true)),
  command('lmove', 5, (app, session, args) => {
    const [from, to] = [sideOf(argument(args, 3)), sideOf(argument(args, 4))]
    move(app, session, argument(args, 1), argument(args, 2), from, to)
  }),
  blockingPopCommand('blpop', true),
  blockingPopCommand('brpop', false)
]
