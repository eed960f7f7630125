import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { LogLevel } from '../../src/config/types.ts'
import { TailgateError } from '../../src/base/errors.ts'
import { logEvents } from '../../src/observe/log-events.ts'
import type { Logger } from '../../src/observe/logger.ts'
import { createLogger, failureFields, logProtection, silentLogger } from '../../src/observe/logger.ts'
import { PipeDestination, withoutBlocking } from '../../src/observe/pipe-destination.ts'

const loggerModule = new URL('../../src/observe/logger.ts', import.meta.url).href

const directory = mkdtempSync(join(tmpdir(), 'tailgate-log-'))
t.teardown(() => rmSync(directory, { recursive: true }))
let files = 0

/** The lines that `write` logs, parsed. */
function linesOf(level: LogLevel, write: (logger: Logger) => void): Record<string, unknown>[] {
  const file = join(directory, `log-${++files}`)
  const fd = openSync(file, 'w')
  const logger = createLogger({ name: 'gw', part: 'gateway', level, fd, sync: true })
  write(logger)
  logger.flush()
  closeSync(fd)
  const lines = readFileSync(file, 'utf8').split('\n').filter(line => line !== '')
  return lines.map(line => JSON.parse(line) as Record<string, unknown>)
}

void t.test('a line has level, time, name, part, pid, event, its fields and a message', t => {
  const [line] = linesOf('info', logger => logger.event('link.down', { peer: 'host-b', reason: 'reset' }))
  t.match(line, {
    level: 'warn', time: /^\d{4}-\d\d-\d\dT.*Z$/, name: 'gw', part: 'gateway', pid: process.pid,
    event: 'link.down', peer: 'host-b', reason: 'reset', msg: logEvents['link.down'].text
  })
  t.end()
})

void t.test('the level chooses which lines are written', t => {
  const write = (logger: Logger) => {
    t.equal(logger.enabled('link.up'), false)
    t.equal(logger.enabled('link.down'), true)
    logger.event('link.up', { peer: 'host-b', address: '10.0.0.2:1' })
    logger.event('link.down', { peer: 'host-b', reason: 'reset' })
  }
  t.same(linesOf('warn', write).map(line => line['event']), ['link.down'])
  t.same(linesOf('silent', logger => logger.event('link.down', { peer: 'b', reason: '' })), [])
  t.end()
})

void t.test('a change of protection has the id of the state it leads to', t => {
  const guest = { name: 'shop', generation: 2, from: 'syncing' }
  const lines = linesOf('info', logger => {
    for (const state of ['unprotected', 'syncing', 'protected', 'failing-over', 'lost'] as const) {
      logProtection(logger, { state, reason: 'because', todo: 'Do it.' }, guest)
    }
  })
  t.same(lines.map(line => [line['event'], line['level']]), [
    ['guest.unprotected', 'warn'], ['guest.syncing', 'info'], ['guest.protected', 'info'],
    ['guest.failing-over', 'warn'], ['guest.lost', 'error']
  ])
  t.match(lines[0], { guest: 'shop', generation: 2, from: 'syncing', reason: 'because', todo: 'Do it.' })
  t.end()
})

void t.test('anything that was thrown becomes a line, with its code if it is ours', t => {
  t.same(failureFields(new TailgateError('E_DISK', 'full')), { error: 'full', code: 'E_DISK' })
  t.same(failureFields(new Error('odd')), { error: 'odd', code: null })
  t.same(failureFields('text'), { error: 'text', code: null })
  t.end()
})

void t.test('no field of an event hides one that every line has', t => {
  const common = ['level', 'time', 'name', 'part', 'pid', 'event', 'msg']
  for (const [name, { fields }] of Object.entries(logEvents)) {
    t.same(Object.keys(fields).filter(field => common.includes(field)), [], name)
  }
  t.end()
})

void t.test('the silent logger does nothing', t => {
  silentLogger.event('lease.ended', { guest: 'shop' })
  silentLogger.flush()
  t.equal(silentLogger.enabled('lease.ended'), false)
  t.end()
})

void t.test('a reader of the log that went away costs lines and nothing else', t => {
  const program = `import { createLogger } from ${JSON.stringify(loggerModule)}
    const logger = createLogger({ name: 'gw', part: 'gateway', level: 'info', fd: 2 })
    const lines = () => { for (let i = 0; i < 50; i++) logger.event('lease.ended', { guest: 'shop' }) }
    let rounds = 0
    const timer = setInterval(() => {
      lines()
      if (++rounds === 400 || logger.droppedLines > 0) {
        clearInterval(timer)
        process.stdout.write(logger.droppedLines > 0 ? 'lived' : 'never noticed')
      }
    }, 1)`
  const script = '"$0" --import=tsx --input-type=module -e "$1" 2>&1 >&3 | true'
  const run = spawnSync('sh', ['-c', `{ ${script}; } 3>&1`, process.execPath, program], { encoding: 'utf8' })
  t.equal(run.stdout, 'lived')
  t.end()
})

/** A child that logs `lines` lines to the descriptor or socket `stderr`, then ends with status 7. */
function logging(lines: number, stderr: number | 'pipe'): ChildProcess {
  const program = `import { createLogger } from ${JSON.stringify(loggerModule)}
    const logger = createLogger({ name: 'gw', part: 'gateway', level: 'info', fd: 2 })
    for (let i = 0; i < ${lines}; i++) logger.event('lease.ended', { guest: String(i) })
    process.send('logged')
    process.once('message', () => {
      logger.flush()
      process.exit(7)
    })`
  const argv = ['--import=tsx', '--input-type=module', '-e', program]
  return spawn(process.execPath, argv, { stdio: ['ignore', 'ignore', stderr, 'ipc'] })
}

/** Both ends of a pipe in one descriptor, so that it never has an end. */
function newPipe(): number {
  const path = join(directory, `pipe-${++files}`)
  execFileSync('mkfifo', [path])
  return openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
}

void t.test('a process whose log nobody reads ends when it is told to', async t => {
  const pipe = newPipe()
  for (const stderr of ['pipe', pipe] as const) {
    const child = logging(3000, stderr)
    await once(child, 'message')
    child.send('end')
    const [code] = await once(child, 'exit') as [number | null]
    t.equal(code, 7, stderr === 'pipe' ? 'a socket' : 'a pipe')
    child.stderr?.destroy()
  }
  closeSync(pipe)
})

void t.test('a slow reader gets every line, whole and in order', async t => {
  const count = 3000
  const child = logging(count, 'pipe')
  const { stderr } = child
  if (stderr === null) throw new Error('stderr is a pipe')
  await once(child, 'message')
  let text = ''
  let told = false
  for await (const piece of stderr as AsyncIterable<Buffer>) {
    text += piece.toString()
    if (told || text.split('\n').length <= count) continue
    told = true
    child.send('end')
  }
  const guests = text.trimEnd().split('\n').map(line => (JSON.parse(line) as { guest: string }).guest)
  t.same(guests, Array.from({ length: count }, (_, i) => String(i)))
})

void t.test('lines beyond what may wait are dropped and counted', t => {
  const pipe = newPipe()
  const unblocked = withoutBlocking(pipe)
  if (unblocked === undefined) throw new Error('a pipe can be written without blocking')
  const destination = new PipeDestination({
    descriptor: unblocked, bufferBytesMax: 100_000, shared: false
  })
  const line = `${'x'.repeat(999)}\n`
  for (let i = 0; i < 1000; i++) destination.write(line)
  // Linux holds 64 KiB in a pipe; the rest waits, as far as there is room for it.
  t.equal(destination.dropped, 1000 - Math.floor((65_536 + 100_000) / line.length))
  closeSync(pipe)
  closeSync(unblocked)
  t.end()
})

void t.test('where others write too, only whole lines are written, also into the last room of a pipe', t => {
  const pipe = newPipe()
  const unblocked = withoutBlocking(pipe)
  if (unblocked === undefined) throw new Error('a pipe can be written without blocking')
  const destination = new PipeDestination({ descriptor: unblocked, bufferBytesMax: 200_000, shared: true })
  writeSync(pipe, '\n'.repeat(10_001))
  const lines = Array.from({ length: 200 }, (_, n) => `${String(n % 10).repeat(700)}\n`)
  for (const line of lines) destination.write(line)
  destination.flushSync()
  const read = Buffer.alloc(200_000)
  const text = read.toString('latin1', 10_001, readSync(pipe, read))
  t.ok(text.length > 40_000 && lines.join('').startsWith(text))
  t.ok(text.endsWith('\n'))
  t.equal(destination.dropped, 0)
  closeSync(pipe)
  closeSync(unblocked)
  t.end()
})
