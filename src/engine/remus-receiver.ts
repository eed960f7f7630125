import type { Writable } from 'node:stream'
import { TailgateError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { stallMsMax, writeDrained } from './write-drained.ts'
import type { XenPart } from './xen-image.ts'
import { XenStream } from './xen-stream.ts'
import { spawnXl, type Xl, type XlProcess } from './xl.ts'

/** How long the domain may take to come up once its stream has ended, in milliseconds. */
const restoreMsMax = 60_000

export interface RemusReceiverOptions {
  readonly xl: Xl
  /** The guest's domain. */
  readonly domain: string
  /** The beginning of the command that runs xl. */
  readonly command: readonly string[]
  /** Is told the domain's configuration before anything of it reaches xl; throws to refuse it. */
  readonly check: (json: string) => void
  /** An image is refused when xl has taken nothing of its stream for so long, in milliseconds. */
  readonly stallMsMax?: number | undefined
}

/** The name of a domain that a receiver keeps (Xen's tools/xl/xl_migrate.c). */
export function standbyName(domain: string): string {
  return `${domain}--incoming`
}

/**
 * One `xl migrate-receive`: a standby domain that stands, and takes each image of one stream. The domain runs
 * as soon as the stream ends, whatever ends it; this process' death kills xl before it can (prctl
 * PR_SET_PDEATHSIG, by way of setpriv), and the domain stands then until somebody destroys it.
 */
export class RemusReceiver {
  readonly #xl: Xl
  readonly #domain: string
  readonly #process: XlProcess
  readonly #input: Writable
  readonly #stream: XenStream
  #part: XenPart
  /** The standby domain's number, which it keeps under its new name. */
  #id: number | undefined
  /** It was told to end: that it does is no loss. */
  #ended = false
  readonly #stallMsMax: number
  /** Called when the receiver has gone by itself. */
  onLost: ((reason: string) => void) | undefined

  /** @param part the image that is taken first */
  constructor(options: RemusReceiverOptions, part: XenPart) {
    const { xl, domain, command, check } = options
    this.#stallMsMax = options.stallMsMax ?? stallMsMax
    this.#xl = xl
    this.#domain = domain
    this.#part = part
    this.#process = spawnXl(['-v', 'migrate-receive', '-r'], ['pipe', 'ignore', 'pipe'],
      ['setpriv', '--pdeathsig', 'KILL', '--', ...command])
    const { stdin } = this.#process.child
    invariant(stdin !== null, 'a receiver has an input')
    this.#input = stdin
    stdin.on('error', () => undefined)
    this.#stream = new XenStream({
      configured: check, began: () => undefined, ended: () => undefined, finished: () => undefined
    })
    void this.#process.ending.then(({ words }) => {
      if (this.#ended) return
      this.#ended = true
      this.onLost?.(`the standby domain has gone: ${words}`)
    })
  }

  /** The image that was taken last. */
  get part(): XenPart { return this.#part }

  /** Whether this image comes next. */
  follows({ stream, index }: XenPart): boolean {
    return stream === this.#part.stream && index === this.#part.index + 1
  }

  /**
   * Takes a whole image; resolves with the domain's number when xl has all of it. Rejects with E_IMAGE and
   * E_ENGINE: it is lost.
   */
  async take(part: XenPart, bytes: AsyncIterable<Uint8Array>): Promise<number> {
    for await (const piece of bytes) {
      this.#stream.push(piece)
      await this.#write(piece)
    }
    if (!this.#stream.isBetween) throw new TailgateError('E_IMAGE', 'the image ends within a checkpoint')
    // Looked up now, since a failover would have to wait for it.
    this.#id ??= await this.#xl.domainId(standbyName(this.#domain))
    if (this.#ended) throw await this.#hasEnded()
    if (this.#id === undefined) {
      const what = `xl migrate-receive has made no domain ${standbyName(this.#domain)}`
      throw new TailgateError('E_ENGINE', what)
    }
    this.#part = part
    return this.#id
  }

  /**
   * Ends the stream; resolves with the domain's number when it runs. Rejects with E_ENGINE: nothing is left
   * then.
   */
  async release(): Promise<number> {
    this.#ended = true
    this.#input.end()
    const timer = setTimeout(() => { this.#process.child.kill('SIGKILL') }, restoreMsMax)
    const { status, words } = await this.#process.ending
    clearTimeout(timer)
    if (status === 0 && this.#id !== undefined) return this.#id
    await this.destroy()
    // It may have had its new name already.
    await this.#xl.destroy(this.#domain)
    throw new TailgateError('E_ENGINE', `xl migrate-receive did not bring the domain up: ${words}`)
  }

  /** Ends the standby, which does not run before. Rejects with E_ENGINE if it cannot be. */
  async destroy(): Promise<void> {
    this.#ended = true
    this.#process.child.kill('SIGKILL')
    await this.#process.ending
    await this.#xl.destroy(standbyName(this.#domain))
  }

  async #write(piece: Uint8Array): Promise<void> {
    await writeDrained(this.#input, piece, 'xl migrate-receive', this.#stallMsMax)
    if (this.#input.destroyed) throw await this.#hasEnded()
  }

  async #hasEnded(): Promise<TailgateError> {
    const { words } = await this.#process.ending
    return new TailgateError('E_ENGINE', `xl migrate-receive has ended: ${words}`)
  }
}
