import type { Application, Command } from '../application.ts'
import { argument, command, integerOf } from '../command.ts'
import { matchesGlob } from '../glob.ts'
import { noSuchKey, ReplyError, syntaxError } from '../reply-error.ts'
import type { Session } from '../session.ts'
import { typeOf } from '../store.ts'
import { momentOf } from './expiry.ts'

function countOf(args: readonly string[], test: (key: string) => boolean): number {
  let count = 0
  for (let at = 1; at < args.length; at++) if (test(argument(args, at))) count += 1
  return count
}

function deleteCommand(name: string): Command {
  return command(name, -2, (app, session, args) =>
    session.out.integer(countOf(args, (key) => app.store.delete(key))))
}

function existsCommand(name: string): Command {
  return command(name, -2, (app, session, args) =>
    session.out.integer(countOf(args, (key) => app.store.get(key) !== undefined)))
}

interface Condition {
  readonly nx: boolean
  readonly xx: boolean
  readonly gt: boolean
  readonly lt: boolean
}

function conditionOf(args: readonly string[]): Condition {
  const words = args.slice(3).map((word) => word.toUpperCase())
  const unknown = words.findIndex((word) => !['NX', 'XX', 'GT', 'LT'].includes(word))
  if (unknown >= 0) throw new ReplyError(`ERR Unsupported option ${argument(args, 3 + unknown)}`)
  const has = (word: string): boolean => words.includes(word)
  if (has('NX') && (has('XX') || has('GT') || has('LT'))) {
    throw new ReplyError('ERR NX and XX, GT or LT options at the same time are not compatible')
  }
  if (has('GT') && has('LT')) {
    throw new ReplyError('ERR GT and LT options at the same time are not compatible')
  }
  return { nx: has('NX'), xx: has('XX'), gt: has('GT'), lt: has('LT') }
}

function holds(condition: Condition, before: number | undefined, after: number): boolean {
  if (condition.nx && before !== undefined) return false
  if (condition.xx && before === undefined) return false
  if (condition.gt && (before === undefined || after <= before)) return false
  return !(condition.lt && before !== undefined && after >= before)
}

function expireCommand(name: string, option: string): Command {
  return command(name, -3, (app, session, args) => {
    const key = argument(args, 1)
    const condition = conditionOf(args)
    const moment = momentOf(app, option, argument(args, 2), name, false)
    const present = app.store.get(key) !== undefined
    const done = present && holds(condition, app.store.expiryOf(key), moment)
    if (done) app.store.setExpiry(key, moment)
    session.out.integer(done ? 1 : 0)
  })
}

function remainingCommand(name: string, render: (remaining: number, moment: number) => number): Command {
  return command(name, 2, (app, session, args) => {
    const key = argument(args, 1)
    const present = app.store.get(key) !== undefined
    const moment = app.store.expiryOf(key)
    if (!present) session.out.integer(-2)
    else if (moment === undefined) session.out.integer(-1)
    else session.out.integer(render(Math.max(0, moment - app.clock.now()), moment))
  })
}

function persist(app: Application, session: Session, args: readonly string[]): void {
  const key = argument(args, 1)
  const done = app.store.get(key) !== undefined && app.store.expiryOf(key) !== undefined
  if (done) app.store.setExpiry(key, undefined)
  session.out.integer(done ? 1 : 0)
}

/** Options of SCAN, HSCAN and SSCAN from `args[at]` on. COUNT is a hint that we do not take. */
export function scanOptions(args: readonly string[], at: number): { match: string, type: string } {
  const options = { match: '*', type: '' }
  for (let place = at; place < args.length; place += 2) {
    const option = argument(args, place).toUpperCase()
    if (place + 1 >= args.length) throw syntaxError()
    const value = argument(args, place + 1)
    if (option === 'MATCH') options.match = value
    else if (option === 'TYPE' && at === 2) options.type = value.toLowerCase()
    else if (option !== 'COUNT' || integerOf(value) < 1) throw syntaxError()
  }
  return options
}

/**
 * The one page of a scan: everything, so that what is there from beginning to end of the scan is seen once.
 */
function scan(app: Application, session: Session, args: readonly string[]): void {
  if (!/^\d{1,20}$/.test(argument(args, 1))) throw new ReplyError('ERR invalid cursor')
  const { match, type } = scanOptions(args, 2)
  const keys: string[] = []
  for (const key of app.store.keys()) {
    const value = app.store.get(key)
    const wanted = value !== undefined && (type === '' || typeOf(value) === type)
    if (wanted && matchesGlob(match, key)) keys.push(key)
  }
  session.out.array(2)
  session.out.bulk('0')
  session.out.bulks(keys)
}

function rename(app: Application, session: Session, args: readonly string[], onlyNew: boolean): void {
  const [from, to] = [argument(args, 1), argument(args, 2)]
  const value = app.store.get(from)
  if (value === undefined) throw noSuchKey()
  const done = !onlyNew || app.store.get(to) === undefined
  if (done && from !== to) {
    const expiry = app.store.expiryOf(from)
    app.store.delete(from)
    app.store.set(to, value)
    if (expiry !== undefined) app.store.setExpiry(to, expiry)
    if (typeof value !== 'string' && typeOf(value) === 'list') app.waiting.filled(to)
  }
  if (onlyNew) session.out.integer(done ? 1 : 0)
  else session.out.ok()
}

function flush(name: string): Command {
  return command(name, -1, (app, session, args) => {
    const option = argument(args, 1).toUpperCase()
    if (args.length > 2 || !['', 'ASYNC', 'SYNC'].includes(option)) throw syntaxError()
    app.store.clear()
    session.out.ok()
  })
}

function randomKey(app: Application, session: Session): void {
  const keys = [...app.store.keys()]
  session.out.bulkOrNil(keys[app.random.below(keys.length)])
}

export const keyCommands: readonly Command[] = [
  deleteCommand('del'),
  deleteCommand('unlink'),
  existsCommand('exists'),
  existsCommand('touch'),
  command('type', 2, (app, session, args) => {
    const value = app.store.get(argument(args, 1))
    session.out.simple(value === undefined ? 'none' : typeOf(value))
  }),
  expireCommand('expire', 'EX'),
  expireCommand('pexpire', 'PX'),
  expireCommand('expireat', 'EXAT'),
  expireCommand('pexpireat', 'PXAT'),
  remainingCommand('ttl', (remaining) => Math.floor((remaining + 500) / 1000)),
  remainingCommand('pttl', (remaining) => remaining),
  remainingCommand('expiretime', (_remaining, moment) => Math.floor((moment + 500) / 1000)),
  remainingCommand('pexpiretime', (_remaining, moment) => moment),
  command('persist', 2, persist),
  command('keys', 2, (app, session, args) => {
    const pattern = argument(args, 1)
    session.out.bulks([...app.store.keys()].filter((key) => matchesGlob(pattern, key)))
  }),
  command('scan', -2, scan),
  command('randomkey', 1, randomKey),
  command('rename', 3, (app, session, args) => rename(app, session, args, false)),
  command('renamenx', 3, (app, session, args) => rename(app, session, args, true)),
  command('dbsize', 1, (app, session) => session.out.integer(app.store.size)),
  flush('flushall'),
  flush('flushdb')
]
