import type { Duplex } from 'node:stream'
import { TailgateError } from '../base/errors.ts'

/** The longest line that is taken for a message of QEMU's, in bytes. */
const lineBytesMax = 4 * 1024 * 1024
/** Commands that may wait for their answer at once. */
const waitingMax = 64
const commandMsDefault = 10_000

export type QmpObject = Readonly<Record<string, unknown>>

export interface QmpEvent {
  readonly name: string
  readonly data: QmpObject
}

interface Waiting {
  readonly command: string
  resolve(answer: unknown): void
  reject(error: Error): void
}

/**
 * A client of the QEMU Machine Protocol (QEMU's docs/interop/qmp-spec): one JSON object a line, in both
 * directions. Whatever goes wrong is E_ENGINE; a refusal carries QEMU's own `class` and `desc` in its
 * context. A stream that breaks fails all that waits, and everything asked for later.
 */
export class QmpClient {
  readonly #stream: Duplex
  readonly #waiting = new Map<number, Waiting>()
  readonly #listeners = new Set<(event: QmpEvent) => void>()
  readonly #closing = new Set<(error: TailgateError) => void>()
  /** The beginning of a line that has not ended yet. */
  #parts: Buffer[] = []
  #partBytes = 0
  #lastId = 0
  #greeted: ((greeting: QmpObject) => void) | undefined
  #broken: TailgateError | undefined
  #version = ''
  #closed: (reason: string) => void = () => undefined
  /** Resolves with why, when nothing can be asked any more. */
  readonly closed = new Promise<string>(resolve => { this.#closed = resolve })

  private constructor(stream: Duplex) {
    this.#stream = stream
    stream.on('data', (bytes: Buffer) => { this.#feed(bytes) })
    stream.on('error', error => { this.#break(`the control socket of QEMU failed: ${error.message}`) })
    stream.on('close', () => { this.#break('QEMU has closed its control socket') })
    stream.on('end', () => { this.#break('QEMU has closed its control socket') })
  }

  /** Waits for QEMU's greeting and enters command mode. Rejects with E_ENGINE; the stream is closed then. */
  static async open(stream: Duplex, timeoutMs: number): Promise<QmpClient> {
    const client = new QmpClient(stream)
    try {
      const greeting = await client.#within<QmpObject>(timeoutMs, 'QEMU did not greet', settle => {
        client.#greeted = settle
        return () => { client.#greeted = undefined }
      })
      client.#version = versionIn(greeting)
      await client.execute('qmp_capabilities', {}, timeoutMs)
      return client
    } catch (error) {
      client.close()
      throw error
    }
  }

  /** Of QEMU, as `7.2.22`. */
  get version(): string { return this.#version }

  /** Resolves with what the command returns. Rejects with E_ENGINE. */
  execute(command: string, args: QmpObject = {}, timeoutMs = commandMsDefault): Promise<unknown> {
    if (this.#waiting.size >= waitingMax) {
      return Promise.reject(new TailgateError('E_ENGINE', 'QEMU has left too many commands unanswered'))
    }
    const id = ++this.#lastId
    return this.#within(timeoutMs, `QEMU did not answer '${command}'`, (resolve, reject) => {
      this.#waiting.set(id, { command, resolve, reject })
      this.#stream.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`)
      return () => { this.#waiting.delete(id) }
    })
  }

  /** Calls `listener` with every event from now on. Returns what ends that. */
  listen(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  /**
   * Resolves with the first event from now on for which `wanted` says true. Rejects with E_ENGINE; `what` is
   * the beginning of a sentence that "within … ms" ends.
   */
  event(wanted: (event: QmpEvent) => boolean, timeoutMs: number, what: string): Promise<QmpEvent> {
    return this.#within(timeoutMs, what, resolve =>
      this.listen(event => { if (wanted(event)) resolve(event) }))
  }

  /** Ends the connection; what waits is rejected. */
  close(): void {
    this.#break('the control socket of QEMU was closed')
  }

  #within<T>(
    timeoutMs: number, what: string,
    begin: (resolve: (value: T) => void, reject: (error: Error) => void) => () => void
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#broken !== undefined) {
        reject(this.#broken)
        return
      }
      let settled = false
      let end = (): void => undefined
      const settle = (run: () => void): void => {
        settled = true
        clearTimeout(timer)
        this.#closing.delete(broken)
        end()
        run()
      }
      const broken = (error: TailgateError): void => { settle(() => { reject(error) }) }
      const timer = setTimeout(() => {
        broken(new TailgateError('E_ENGINE', `${what} within ${timeoutMs} ms`))
      }, timeoutMs)
      this.#closing.add(broken)
      end = begin(
        value => { settle(() => { resolve(value) }) }, error => { settle(() => { reject(error) }) })
      // The answer may come before the question has returned.
      if (settled) end()
    })
  }

  #feed(bytes: Buffer): void {
    for (let from = 0; this.#broken === undefined;) {
      const at = bytes.indexOf(10, from)
      const part = bytes.subarray(from, at === -1 ? bytes.length : at)
      this.#partBytes += part.length
      if (this.#partBytes > lineBytesMax) return this.#break('QEMU sent a line that is too long')
      this.#parts.push(part)
      if (at === -1) return
      const line = Buffer.concat(this.#parts).toString().trim()
      this.#parts = []
      this.#partBytes = 0
      from = at + 1
      if (line !== '') this.#hear(line)
    }
  }

  #hear(line: string): void {
    const message = parsed(line)
    if (message === undefined) return this.#break('what QEMU sent is not QMP')
    const { QMP: greeting, event, data, id } = message
    if (isObject(greeting)) return this.#greeted?.(greeting)
    if (typeof event === 'string') {
      const told: QmpEvent = { name: event, data: isObject(data) ? data : {} }
      for (const listener of [...this.#listeners]) listener(told)
      return
    }
    const waiting = typeof id === 'number' ? this.#waiting.get(id) : undefined
    if ('error' in message) waiting?.reject(refusal(waiting.command, message.error))
    else waiting?.resolve(message.return)
  }

  #break(reason: string): void {
    if (this.#broken !== undefined) return
    this.#broken = new TailgateError('E_ENGINE', reason)
    for (const closing of [...this.#closing]) closing(this.#broken)
    this.#listeners.clear()
    this.#parts = []
    this.#stream.destroy()
    this.#closed(reason)
  }
}

/** True for what JSON calls an object. */
export function isObject(value: unknown): value is QmpObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parsed(line: string): QmpObject | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

function refusal(command: string, error: unknown): TailgateError {
  const { class: kind, desc } = isObject(error) ? error : {}
  const why = typeof desc === 'string' ? desc : 'it gives no reason'
  return new TailgateError('E_ENGINE', `QEMU refused '${command}': ${why}`, {
    context: { command, class: kind, desc }
  })
}

function versionIn(greeting: QmpObject): string {
  const { version } = greeting
  const { qemu } = isObject(version) ? version : {}
  const { major, minor, micro } = isObject(qemu) ? qemu : {}
  return [major, minor, micro].filter(part => typeof part === 'number').join('.')
}
