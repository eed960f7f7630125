import { randomBytes } from 'node:crypto'
import { closeSync, constants, openSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { TailgateError } from '../base/errors.ts'
import { Course } from './course.ts'
import { PipeReader } from './pipe-reader.ts'
import { runSystemProgram } from './system-programs.ts'
import { stalled, stallMsMax, writeDrained } from './write-drained.ts'
import { partHeader } from './xen-image.ts'
import { XenStream } from './xen-stream.ts'
import { spawnXl, type XlProcess } from './xl.ts'

/**
 * What of the image waits for whoever takes it before nothing more is read, in bytes. Much, since the domain
 * stands until all was read, and sending would take the processor from that.
 */
const waitingBytesMax = 1024 * 1024 * 1024
/**
 * How long xl may take to end once nobody reads what it writes, in milliseconds: a guest has a minute to obey
 * when it is suspended.
 */
const letGoMsMax = 90_000

export interface SaveOptions {
  readonly domain: string
  /** For the pipe by which xl hands the domain over. */
  readonly directory: string
  /** Told the domain's configuration before anything of it is handed on; what it throws ends the saving. */
  check(json: string): void
  /** For how long the domain stood at most. */
  paused(ms: number): void
  /** xl is killed when it has not ended so long after nobody wanted its image any more, in milliseconds. */
  readonly letGoMsMax?: number
}

/** What an `xl save` has written, as it comes; it is finished when xl, too, has ended: the domain runs on. */
class Saving {
  readonly xl: XlProcess
  readonly #reader: PipeReader
  readonly #course = new Course<'stands' | 'finished'>()
  /** When xl was seen to have ended, by performance.now(). */
  endedAt = 0
  #standing = false
  #finished = false

  constructor(domain: string, path: string, check: (json: string) => void) {
    const pipe = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    // Without a writer the pipe would have ended before xl has come.
    const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
    const stream = new XenStream({
      configured: check, began: () => undefined, ended: () => undefined,
      pages: () => { this.#stands() },
      finished: () => {
        this.#finished = true
        this.#reader.hand()
        void this.xl.ending.then(({ status }) => { if (status === 0) this.#course.add('finished') })
      }
    })
    this.#reader = new PipeReader(pipe, {
      wanted: () => stream.wanted,
      read: bytes => { stream.push(bytes) },
      piece: bytes => { this.#put(bytes) },
      over: error => { if (!this.#finished) this.#end(error) }
    })
    // Much less than a domain: xl cannot have written all of one before the mark is there.
    this.#reader.narrow()
    this.xl = spawnXl(['save', '-c', domain, path], ['ignore', 'ignore', 'pipe'])
    void this.xl.ending.then(({ status, words }) => {
      this.endedAt = performance.now()
      closeSync(writer)
      if (status !== 0) this.#end(new TailgateError('E_ENGINE', `xl save has failed: ${words}`))
    })
  }

  /** What comes next. Rejects with why nothing more comes. */
  async next(): Promise<Uint8Array | 'stands' | 'finished'> {
    const next = await this.#course.next()
    if (!this.#standing && this.#course.bytes <= waitingBytesMax) this.#reader.goOn()
    return next
  }

  /** Resolves when the domain runs on, or when no more may wait. */
  goOn(): Promise<void> {
    this.#standing = false
    this.#reader.widen()
    this.#reader.goOn()
    return this.#course.filled(waitingBytesMax)
  }

  /**
   * Reads no more: an xl that is still writing fails, and has the domain run on. Resolves when it has ended;
   * one that does not by itself is killed.
   */
  async close(msMax: number): Promise<void> {
    this.#reader.close()
    const timer = setTimeout(() => { this.xl.child.kill('SIGKILL') }, msMax)
    await this.xl.ending
    clearTimeout(timer)
  }

  #stands(): void {
    this.#reader.hand()
    this.#standing = true
    this.#reader.hold()
    this.#course.add('stands')
  }

  #put(bytes: Uint8Array): void {
    this.#course.add(bytes)
    if (this.#course.bytes > waitingBytesMax) this.#reader.hold()
  }

  #end(error: unknown): void {
    this.#course.end(error instanceof Error ? error
      : new TailgateError('E_ENGINE', 'xl save has ended its stream too early'))
    this.#reader.close()
  }
}

/**
 * Saves a domain whole, by `xl save`: it stands from before its first page is written until all of them are.
 * `standing` is awaited in between. However this ends, the domain runs on then. Throws E_ENGINE.
 */
export async function* saveDomain(
  { domain, directory, check, paused, letGoMsMax: msMax = letGoMsMax }: SaveOptions,
  standing: () => Promise<void>
): AsyncGenerator<Uint8Array, void> {
  // Who wants no more than this has started no xl, which would wait for ever for somebody to open its pipe.
  yield partHeader({ stream: randomBytes(16).toString('hex'), index: 0 })
  const path = await newPipe(directory, 'save')
  const saving = new Saving(domain, path, check)
  let stoodAt = 0
  try {
    for (let next = await saving.next(); next !== 'finished'; next = await saving.next()) {
      if (next !== 'stands') {
        yield next
        continue
      }
      stoodAt = performance.now()
      await standing()
      await saving.goOn()
    }
    paused(saving.endedAt - stoodAt)
  } finally {
    await saving.close(msMax)
    await rm(path, { force: true })
  }
}

/**
 * Makes a domain of a stream that `xl save` has written; it stands. Rejects with E_IMAGE and E_ENGINE.
 *
 * @param directory for the pipe by which xl takes the domain
 * @param msMax xl is killed when it has taken nothing for so long, or not ended so long after the end of the
 * stream, in milliseconds
 */
export async function restoreDomain(
  bytes: AsyncIterable<Uint8Array>, directory: string, check: (json: string) => void, msMax = stallMsMax
): Promise<void> {
  const path = await newPipe(directory, 'restore')
  // Open for reading too, because xl has yet to come; so its end must be told here.
  const input = new Socket({
    fd: openSync(path, constants.O_RDWR | constants.O_NONBLOCK), readable: false, writable: true
  })
  input.on('error', () => undefined)
  const { child, ending } = spawnXl(['restore', '-p', path], ['ignore', 'ignore', 'pipe'])
  // What xl has started reads on when it is killed, and is waited for: it ends with the pipe.
  child.once('exit', () => { input.destroy() })
  void ending.then(() => { input.destroy() })
  let isWhole = false
  const stream = new XenStream({
    configured: check, began: () => undefined, ended: () => undefined, finished: () => { isWhole = true }
  })
  try {
    for await (const piece of bytes) {
      stream.push(piece)
      await writeDrained(input, piece, 'xl restore', msMax)
    }
    if (!isWhole) throw new TailgateError('E_IMAGE', 'the image is cut off')
  } catch (error) {
    child.kill('SIGKILL')
    await ending
    throw error
  } finally {
    await rm(path, { force: true })
  }
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    child.kill('SIGKILL')
  }, msMax)
  const { status, words } = await ending
  clearTimeout(timer)
  if (status === 0) return
  const why = isLate ? stalled('xl restore', msMax) : `xl restore has failed: ${words}`
  throw new TailgateError('E_ENGINE', why)
}

/** A pipe with a name, in a directory of the guest's. Rejects with E_ENGINE. */
async function newPipe(directory: string, name: string): Promise<string> {
  const path = join(directory, name)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await rm(path, { force: true })
  await runSystemProgram('the domain cannot be handed over', 'mkfifo', [path])
  return path
}
