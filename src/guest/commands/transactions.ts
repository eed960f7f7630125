import type { Application, Command } from '../application.ts'
import { command } from '../command.ts'
import { ReplyError } from '../reply-error.ts'
import type { Session } from '../session.ts'

function multi(_app: Application, session: Session): void {
  if (session.queue !== undefined) throw new ReplyError('ERR MULTI calls can not be nested')
  session.queue = []
  session.queueFailed = false
  session.out.ok()
}

function exec(app: Application, session: Session): void {
  const queue = session.queue
  if (queue === undefined) throw new ReplyError('ERR EXEC without MULTI')
  const failed = session.queueFailed
  // A watched key whose time has come has changed, even if nobody has looked at it since.
  for (const key of session.watched) app.store.get(key)
  const spoiled = session.spoiled
  app.unwatch(session)
  if (failed || spoiled) {
    session.queue = undefined
    if (failed) throw new ReplyError('EXECABORT Transaction discarded because of previous errors.')
    session.out.nilArray()
    return
  }
  session.out.array(queue.length)
  // The queue stays in place while it runs: it tells blocking commands that they must not block.
  for (const args of queue) {
    const queued = app.commandOf(args[0] ?? '')
    if (queued !== undefined) app.run(queued, session, args)
  }
  session.queue = undefined
}

function discard(app: Application, session: Session): void {
  if (session.queue === undefined) throw new ReplyError('ERR DISCARD without MULTI')
  app.discard(session)
  session.out.ok()
}

function watch(app: Application, session: Session, args: readonly string[]): void {
  if (session.queue !== undefined) throw new ReplyError('ERR WATCH inside MULTI is not allowed')
  for (const key of args.slice(1)) {
    app.store.get(key)
    session.watched.add(key)
    app.store.watch(key, session)
  }
  session.out.ok()
}

export const transactionCommands: readonly Command[] = [
  command('multi', 1, multi, { immediate: true }),
  command('exec', 1, exec, { immediate: true }),
  command('discard', 1, discard, { immediate: true }),
  command('watch', -2, watch, { immediate: true }),
  command('unwatch', 1, (app, session) => {
    app.unwatch(session)
    session.out.ok()
  })
]
