import type { Application, Command } from '../application.ts'
import { argument, bigIntegerOf, command, integerMax, integerMin, integerOf } from '../command.ts'
import { notAnInteger, ReplyError, syntaxError } from '../reply-error.ts'
import { bulkBytesMax } from '../resp-parser.ts'
import type { Session } from '../session.ts'
import { isExpiryOption, momentOf } from './expiry.ts'

interface SetOptions {
  only: 'NX' | 'XX' | undefined
  get: boolean
  keepTtl: boolean
  expiry: number | undefined
}

function setOptions(app: Application, args: readonly string[]): SetOptions {
  const options: SetOptions = { only: undefined, get: false, keepTtl: false, expiry: undefined }
  let timed: [string, string] | undefined
  for (let at = 3; at < args.length; at++) {
    const option = argument(args, at).toUpperCase()
    if ((option === 'NX' || option === 'XX') && (options.only ?? option) === option) options.only = option
    else if (option === 'GET') options.get = true
    else if (option === 'KEEPTTL' && timed === undefined) options.keepTtl = true
    else if (isExpiryOption(option) && timed === undefined && !options.keepTtl && at + 1 < args.length) {
      timed = [option, argument(args, ++at)]
    } else throw syntaxError()
  }
  if (timed !== undefined) options.expiry = momentOf(app, timed[0], timed[1], 'set', true)
  return options
}

function set(app: Application, session: Session, args: readonly string[]): void {
  const key = argument(args, 1)
  const value = argument(args, 2)
  if (args.length === 3) {
    app.store.set(key, value)
    session.out.ok()
    return
  }
  const options = setOptions(app, args)
  const before = options.get ? app.store.string(key) : undefined
  const present = app.store.get(key) !== undefined
  const done = options.only === undefined || (options.only === 'XX') === present
  if (done) {
    if (options.keepTtl) app.store.replace(key, value)
    else app.store.set(key, value)
    if (options.expiry !== undefined) app.store.setExpiry(key, options.expiry)
  }
  if (options.get) session.out.bulkOrNil(before)
  else if (done) session.out.ok()
  else session.out.nil()
}

function setWithExpiry(option: 'EX' | 'PX', name: string): Command {
  return command(name, 4, (app, session, args) => {
    const key = argument(args, 1)
    const moment = momentOf(app, option, argument(args, 2), name, true)
    app.store.set(key, argument(args, 3))
    app.store.setExpiry(key, moment)
    session.out.ok()
  })
}

function getAndExpire(app: Application, session: Session, args: readonly string[]): void {
  const key = argument(args, 1)
  const option = argument(args, 2).toUpperCase()
  const persist = args.length === 3 && option === 'PERSIST'
  const timed = args.length === 4 && isExpiryOption(option)
  if (args.length > 2 && !persist && !timed) throw syntaxError()
  const value = app.store.string(key)
  const moment = timed ? momentOf(app, option, argument(args, 3), 'getex', true) : undefined
  session.out.bulkOrNil(value)
  if (value === undefined) return
  if (moment !== undefined) app.store.setExpiry(key, moment)
  else if (persist && app.store.expiryOf(key) !== undefined) app.store.setExpiry(key, undefined)
}

function add(before: string, by: bigint): string {
  const small = Number(by)
  const value = before.length < 15 ? integerOf(before) : undefined
  if (value !== undefined && Math.abs(small) < 1e15) return String(value + small)
  const exact = bigIntegerOf(before)
  if (exact === undefined) throw notAnInteger()
  const sum = exact + by
  if (sum < integerMin || sum > integerMax) throw new ReplyError('ERR increment or decrement would overflow')
  return String(sum)
}

function count(app: Application, session: Session, key: string, by: bigint): void {
  const skew = app.skewPrefix !== undefined && key.startsWith(app.skewPrefix) ? 1n : 0n
  const after = add(app.store.string(key) ?? '0', by + skew)
  app.store.replace(key, after)
  session.out.integer(BigInt(after))
}

function counter(name: string, sign: bigint): Command {
  return command(name, 2, (app, session, args) => count(app, session, argument(args, 1), sign))
}

function counterBy(name: string, sign: bigint): Command {
  return command(name, 3, (app, session, args) => {
    const by = bigIntegerOf(argument(args, 2))
    if (by === undefined) throw notAnInteger()
    if (sign < 0n && by === integerMin) throw new ReplyError('ERR decrement would overflow')
    count(app, session, argument(args, 1), sign * by)
  })
}

function checkLength(length: number): void {
  if (length <= bulkBytesMax) return
  throw new ReplyError('ERR string exceeds maximum allowed size (proto-max-bulk-len)')
}

function append(app: Application, session: Session, args: readonly string[]): void {
  const key = argument(args, 1)
  const before = app.store.string(key) ?? ''
  const after = before + argument(args, 2)
  checkLength(after.length)
  app.store.replace(key, after)
  session.out.integer(after.length)
}

function getRange(app: Application, session: Session, args: readonly string[]): void {
  const start = integerOf(argument(args, 2))
  const end = integerOf(argument(args, 3))
  const value = app.store.string(argument(args, 1)) ?? ''
  if (start < 0 && end < 0 && start > end) {
    session.out.bulk('')
    return
  }
  const from = Math.max(0, start < 0 ? value.length + start : start)
  const last = Math.max(0, end < 0 ? value.length + end : end)
  session.out.bulk(value.slice(from, last + 1))
}

function setRange(app: Application, session: Session, args: readonly string[]): void {
  const key = argument(args, 1)
  const offset = integerOf(argument(args, 2))
  const piece = argument(args, 3)
  if (offset < 0) throw new ReplyError('ERR offset is out of range')
  const before = app.store.string(key) ?? ''
  if (piece === '') {
    session.out.integer(before.length)
    return
  }
  checkLength(offset + piece.length)
  const after = before.slice(0, offset).padEnd(offset, '\0') + piece + before.slice(offset + piece.length)
  app.store.replace(key, after)
  session.out.integer(after.length)
}

function setMany(app: Application, session: Session, args: readonly string[], onlyNew: boolean): void {
  if (args.length % 2 === 0) {
    throw new ReplyError(`ERR wrong number of arguments for '${onlyNew ? 'msetnx' : 'mset'}' command`)
  }
  let free = true
  for (let at = 1; onlyNew && at < args.length; at += 2) {
    if (app.store.get(argument(args, at)) !== undefined) free = false
  }
  for (let at = 1; free && at < args.length; at += 2) {
    app.store.set(argument(args, at), argument(args, at + 1))
  }
  if (onlyNew) session.out.integer(free ? 1 : 0)
  else session.out.ok()
}

export const stringCommands: readonly Command[] = [
  command('get', 2, (app, session, args) => session.out.bulkOrNil(app.store.string(argument(args, 1)))),
  command('set', -3, set),
  setWithExpiry('EX', 'setex'),
  setWithExpiry('PX', 'psetex'),
  command('setnx', 3, (app, session, args) => {
    const free = app.store.get(argument(args, 1)) === undefined
    if (free) app.store.set(argument(args, 1), argument(args, 2))
    session.out.integer(free ? 1 : 0)
  }),
  command('getset', 3, (app, session, args) => {
    const before = app.store.string(argument(args, 1))
    app.store.set(argument(args, 1), argument(args, 2))
    session.out.bulkOrNil(before)
  }),
  command('getdel', 2, (app, session, args) => {
    const before = app.store.string(argument(args, 1))
    app.store.delete(argument(args, 1))
    session.out.bulkOrNil(before)
  }),
  command('getex', -2, getAndExpire),
  command('mget', -2, (app, session, args) => {
    session.out.array(args.length - 1)
    for (let at = 1; at < args.length; at++) {
      const value = app.store.get(argument(args, at))
      session.out.bulkOrNil(typeof value === 'string' ? value : undefined)
    }
  }),
  command('mset', -3, (app, session, args) => setMany(app, session, args, false)),
  command('msetnx', -3, (app, session, args) => setMany(app, session, args, true)),
  command('append', 3, append),
  command('strlen', 2, (app, session, args) =>
    session.out.integer(app.store.string(argument(args, 1))?.length ?? 0)),
  command('getrange', 4, getRange),
  command('substr', 4, getRange),
  command('setrange', 4, setRange),
  counter('incr', 1n),
  counter('decr', -1n),
  counterBy('incrby', 1n),
  counterBy('decrby', -1n)
]
