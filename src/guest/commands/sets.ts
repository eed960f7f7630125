import type { Application, Command } from '../application.ts'
import { argument, command, integerOf } from '../command.ts'
import { matchesGlob } from '../glob.ts'
import { ReplyError, syntaxError } from '../reply-error.ts'
import type { Session } from '../session.ts'
import type { SetValue } from '../set-value.ts'
import { scanOptions } from './keys.ts'

function addMembers(app: Application, session: Session, args: readonly string[]): void {
  const key = argument(args, 1)
  const set = app.store.membersToFill(key)
  let added = 0
  for (let at = 2; at < args.length; at++) if (set.add(argument(args, at))) added += 1
  if (added > 0) app.store.touch(key)
  session.out.integer(added)
}

function removeMembers(app: Application, session: Session, args: readonly string[]): void {
  const key = argument(args, 1)
  const set = app.store.members(key)
  let removed = 0
  for (let at = 2; at < args.length; at++) if (set?.delete(argument(args, at)) === true) removed += 1
  if (removed > 0) app.store.touch(key, set?.size === 0)
  session.out.integer(removed)
}

function takeAny(app: Application, set: SetValue): string {
  const member = set.at(app.random.below(set.size))
  set.delete(member)
  return member
}

function pop(app: Application, session: Session, args: readonly string[]): void {
  const key = argument(args, 1)
  if (args.length > 3) throw syntaxError()
  const outOfRange = (): ReplyError => new ReplyError('ERR value is out of range, must be positive')
  const wanted = args.length === 3 ? integerOf(argument(args, 2), outOfRange) : undefined
  if (wanted !== undefined && wanted < 0) throw outOfRange()
  const set = app.store.members(key)
  if (set === undefined) {
    if (wanted === undefined) session.out.nil()
    else session.out.set(0)
    return
  }
  const count = Math.min(wanted ?? 1, set.size)
  if (wanted !== undefined) session.out.set(count)
  for (let n = 0; n < count; n++) session.out.bulk(takeAny(app, set))
  if (count > 0) app.store.touch(key, set.size === 0)
}

function randomMember(app: Application, session: Session, args: readonly string[]): void {
  if (args.length > 3) throw syntaxError()
  const set = app.store.members(argument(args, 1))
  if (args.length === 2) {
    session.out.bulkOrNil(set === undefined ? undefined : set.at(app.random.below(set.size)))
    return
  }
  const wanted = integerOf(argument(args, 2))
  if (set === undefined || wanted === 0) {
    session.out.array(0)
  } else if (wanted < 0) {
    if (-wanted > 1_000_000) throw new ReplyError('ERR value is out of range')
    session.out.array(-wanted)
    for (let n = 0; n < -wanted; n++) session.out.bulk(set.at(app.random.below(set.size)))
  } else {
    session.out.bulks(someOf(app, set, Math.min(wanted, set.size)))
  }
}

/** So many different members: the first steps of a Fisher-Yates shuffle. */
function someOf(app: Application, set: SetValue, count: number): string[] {
  const members = set.toArray()
  for (let place = 0; place < count; place++) {
    const other = place + app.random.below(members.length - place)
    const member = members[place] ?? ''
    members[place] = members[other] ?? ''
    members[other] = member
  }
  return members.slice(0, count)
}

function combine(
  name: string, arity: number, run: (sets: readonly (SetValue | undefined)[]) => string[]
): Command {
  return command(name, arity, (app, session, args) => {
    const members = run(args.slice(1).map((key) => app.store.members(key)))
    session.out.set(members.length)
    for (const member of members) session.out.bulk(member)
  })
}

function scanSet(app: Application, session: Session, args: readonly string[]): void {
  if (!/^\d{1,20}$/.test(argument(args, 2))) throw new ReplyError('ERR invalid cursor')
  const { match } = scanOptions(args, 3)
  const members = app.store.members(argument(args, 1))?.toArray() ?? []
  session.out.array(2)
  session.out.bulk('0')
  session.out.bulks(members.filter((member) => matchesGlob(match, member)))
}

export const setCommands: readonly Command[] = [
  command('sadd', -3, addMembers),
  command('srem', -3, removeMembers),
  command('scard', 2, (app, session, args) =>
    session.out.integer(app.store.members(argument(args, 1))?.size ?? 0)),
  command('sismember', 3, (app, session, args) =>
    session.out.integer(app.store.members(argument(args, 1))?.has(argument(args, 2)) === true ? 1 : 0)),
  command('smismember', -3, (app, session, args) => {
    const set = app.store.members(argument(args, 1))
    session.out.array(args.length - 2)
    for (const member of args.slice(2)) session.out.integer(set?.has(member) === true ? 1 : 0)
  }),
  combine('smembers', 2, (sets) => sets[0]?.toArray() ?? []),
  combine('sunion', -2, (sets) => [...new Set(sets.flatMap((set) => set?.toArray() ?? []))]),
  combine('sinter', -2, (sets) =>
    (sets[0]?.toArray() ?? []).filter((member) => sets.every((set) => set?.has(member)))),
  combine('sdiff', -2, (sets) =>
    (sets[0]?.toArray() ?? []).filter((member) => !sets.slice(1).some((set) => set?.has(member)))),
  command('spop', -2, pop),
  command('srandmember', -2, randomMember),
  command('sscan', -3, scanSet)
]
