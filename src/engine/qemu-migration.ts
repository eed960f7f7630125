import { lchown, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { messageOf, TailgateError } from '../base/errors.ts'
import { socketPathMax } from '../config/qemu-sockets.ts'
import type { QmpClient, QmpEvent } from './qmp.ts'
import { isObject } from './qmp.ts'

/** How QEMU saves a guest: while it runs on, or while it stands. */
export type SaveMode = 'background-snapshot' | 'plain'

/** Bytes a second: more than any memory has, which stands for no limit. */
const unlimitedBandwidth = 100_000_000_000

export interface StreamOptions {
  readonly path: string
  /** The user id that may connect, where it is not this process's. */
  readonly owner: number | undefined
  /** Bytes that may wait for the consumer. */
  readonly queuedBytes: number
  /** How long QEMU may send nothing, in milliseconds. */
  readonly silenceMs: number
}

/**
 * A migration stream that QEMU writes into a unix socket, until its end.
 *
 * It is read at full speed, whether its consumer keeps up or not: under background-snapshot a guest that
 * writes to a page which is not saved yet waits until the stream has taken that page. What the consumer has
 * not taken waits here, up to a limit; beyond it the stream is read to its end all the same, and dropped. It
 * is never cut: QEMU 7.2 leaves a guest standing for good whose background snapshot is cancelled or fails.
 */
export class OutgoingStream {
  readonly #server: Server
  readonly #queuedBytesMax: number
  readonly #silenceMs: number
  #socket: Socket | undefined
  #chunks: Buffer[] = []
  #bytes = 0
  #ended = false
  #wanted = true
  #failure: TailgateError | undefined
  #wake: (() => void) | undefined
  #watch: NodeJS.Timeout | undefined

  private constructor(server: Server, queuedBytesMax: number, silenceMs: number) {
    this.#server = server
    this.#queuedBytesMax = queuedBytesMax
    this.#silenceMs = silenceMs
    server.on('connection', socket => { this.#take(socket) })
  }

  /** Waits for QEMU at `path`, where nothing or an old socket is. Rejects with E_ENGINE. */
  static async listen({ path, owner, queuedBytes, silenceMs }: StreamOptions): Promise<OutgoingStream> {
    if (Buffer.byteLength(path) > socketPathMax) {
      throw new TailgateError('E_ENGINE', `${path} is too long for a socket; `
        + `its path has at most ${socketPathMax} bytes: choose a shorter data_dir, or qmp`)
    }
    const server = createServer()
    try {
      await rm(path, { force: true })
      server.listen(path)
      await once(server, 'listening')
      // Only an owner may write to a socket, that is, connect. What is followed here is no link.
      if (owner !== undefined && owner !== process.geteuid?.()) await lchown(path, owner, -1)
    } catch (cause) {
      server.close()
      throw new TailgateError('E_ENGINE', `no socket can be made at ${path}: ${messageOf(cause)}`, { cause })
    }
    return new OutgoingStream(server, queuedBytes, silenceMs)
  }

  /** What has come, at most `bytesMax`; undefined at the end. Rejects with E_ENGINE. */
  async next(bytesMax: number): Promise<readonly Buffer[] | undefined> {
    while (this.#chunks.length === 0) {
      if (this.#failure !== undefined) throw this.#failure
      if (this.#ended) return undefined
      await new Promise<void>(resolve => { this.#wake = resolve })
    }
    if (this.#failure !== undefined) throw this.#failure
    const taken: Buffer[] = []
    for (let room = bytesMax; room > 0;) {
      const chunk = this.#chunks.shift()
      if (chunk === undefined) break
      const part = chunk.subarray(0, room)
      if (part.length < chunk.length) this.#chunks.unshift(chunk.subarray(room))
      room -= part.length
      this.#bytes -= part.length
      taken.push(part)
    }
    return taken
  }

  /** Nothing of it is wanted any more: the rest is read, for QEMU's sake, and dropped. */
  drop(): void {
    this.#wanted = false
    this.#chunks = []
    this.#bytes = 0
  }

  close(): void {
    clearTimeout(this.#watch)
    this.#socket?.destroy()
    this.#server.close()
    this.#end()
  }

  #take(socket: Socket): void {
    if (this.#socket !== undefined) {
      socket.destroy()
      return
    }
    this.#socket = socket
    this.#server.close()
    this.#watch = setTimeout(() => {
      this.#fail(`QEMU has sent nothing of the checkpoint for ${this.#silenceMs} ms`)
    }, this.#silenceMs)
    socket.on('data', (chunk: Buffer) => { this.#push(chunk) })
    socket.on('error', error => { this.#fail(`the stream of the checkpoint broke: ${error.message}`) })
    socket.on('close', () => { this.#end() })
  }

  #push(chunk: Buffer): void {
    this.#watch?.refresh()
    if (!this.#wanted) return
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes > this.#queuedBytesMax) {
      this.#fail(`${this.#queuedBytesMax} bytes of the checkpoint wait here and more come: the link to the `
        + 'backup is too slow for this guest; raise limits.spool')
    }
    this.#wake?.()
  }

  #fail(reason: string): void {
    this.#failure ??= new TailgateError('E_ENGINE', reason)
    this.drop()
    this.#wake?.()
  }

  #end(): void {
    clearTimeout(this.#watch)
    this.#ended = true
    this.#wake?.()
  }
}

/**
 * Makes QEMU ready for checkpoints, and finds out by trying how it can make them: background-snapshot needs a
 * kernel that write-protects memory for user space, and the right to it. Rejects with E_ENGINE.
 */
export async function readySaving(qmp: QmpClient, wanted: SaveMode): Promise<SaveMode> {
  await qmp.execute('migrate-set-parameters', { 'max-bandwidth': unlimitedBandwidth })
  await setCapability(qmp, 'events', true)
  if (wanted === 'plain') return 'plain'
  try {
    await setCapability(qmp, 'background-snapshot', true)
    return 'background-snapshot'
  } catch (error) {
    if (error instanceof TailgateError && error.context.class !== undefined) return 'plain'
    throw error
  }
}

/**
 * Has QEMU send a guest that stands still to a socket; under background-snapshot it lets the guest run on by
 * itself. Resolves with undefined when all was sent, or with why not. Rejects with E_ENGINE when QEMU does
 * not answer any more.
 */
export async function save(qmp: QmpClient, path: string, timeoutMs: number): Promise<string | undefined> {
  const over = migrationOver(qmp, timeoutMs)
  over.catch(() => undefined)
  await qmp.execute('migrate', { uri: `unix:${path}` })
  const status = await over
  return status === 'completed' ? undefined : `QEMU's migration ended as '${status}'${await reasonOf(qmp)}`
}

/**
 * Has a QEMU that waits for it load a guest from the descriptor or socket that `uri` names. `over` resolves
 * with how that ended.
 */
export async function beginLoading(
  qmp: QmpClient, uri: string, timeoutMs: number
): Promise<{ readonly over: Promise<string> }> {
  await setCapability(qmp, 'events', true)
  await setCapability(qmp, 'late-block-activate', true)
  const over = migrationOver(qmp, timeoutMs)
  over.catch(() => undefined)
  await qmp.execute('migrate-incoming', { uri })
  return { over }
}

async function migrationOver(qmp: QmpClient, timeoutMs: number): Promise<string> {
  const event = await qmp.event(isOver, timeoutMs, 'QEMU did not come to the end of a migration')
  return String(event.data.status)
}

function isOver({ name, data }: QmpEvent): boolean {
  return name === 'MIGRATION' && ['completed', 'failed', 'cancelled'].includes(String(data.status))
}

async function reasonOf(qmp: QmpClient): Promise<string> {
  const answer = await qmp.execute('query-migrate')
  const desc = isObject(answer) ? answer['error-desc'] : undefined
  return typeof desc === 'string' ? `: ${desc}` : ''
}

async function setCapability(qmp: QmpClient, capability: string, state: boolean): Promise<void> {
  await qmp.execute('migrate-set-capabilities', { capabilities: [{ capability, state }] })
}
