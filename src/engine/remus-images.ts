import { randomBytes } from 'node:crypto'
import { TailgateError } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { Course } from './course.ts'
import { RemusSender } from './remus-sender.ts'
import { partHeader } from './xen-image.ts'
import type { XenCheckpoint } from './xen-stream.ts'

/** What of a first pass waits for whoever takes it before nothing more is read. In bytes. */
const firstPassBytesMax = 8 * 1024 * 1024
/** What of a later checkpoint may wait: the domain would stand while nothing is read, so it is given up. */
const waitingBytesMax = 64 * 1024 * 1024
/** So much of it waits while the domain stands, before any of it is handed on. */
const standingBytesMax = waitingBytesMax / 2

/** How long xl may take to notice that nobody reads its stream, beyond its period. In milliseconds. */
const letGoMsMax = 60_000

/** The domain stands for a checkpoint that is asked for; or that one is whole. */
type Happening = { readonly type: 'stands' } | { readonly type: 'whole', readonly held: boolean }

export interface RemusImagesOptions {
  readonly domain: string
  /** xl lets the domain run for so long between two checkpoints, in milliseconds. */
  readonly periodMs: number
  /** Told the domain's configuration before anything of it is handed on; what it throws ends the stream. */
  check(json: string): void
  /** For how long the domain stood for a checkpoint, at most, and how many of its pages were written. */
  paused(ms: number, pages: number): void
}

/**
 * The stream of one `xl remus` in images, each of which ends with a checkpoint that has a mark. xl says when:
 * a checkpoint that nobody had asked for in time, or that came too fast after another to be held, has no
 * mark, and is a part of the next image.
 *
 *   first pass │ 1, marked │ 2, marked │ 3, not asked for │ 4, marked │
 *   └──────── image 0 ─────┴─ image 1 ─┴───────────── image 2 ────────┘
 */
export class RemusImages {
  readonly #options: RemusImagesOptions
  readonly #id = randomBytes(16).toString('hex')
  #sender: RemusSender | undefined
  #index = 0
  readonly #course = new Course<Happening>()
  /** Somebody takes an image. */
  #taking = false
  /** The next checkpoint that begins is to have a mark. */
  #asked = false
  #isFirstPass = true
  /** When Xen said that a domain stands, since the last checkpoint, by performance.now(). */
  #suspendedAt: number | undefined
  /** Since when the domain stands for the checkpoint under way, and whether that was asked for. */
  #standing: { readonly since: number, readonly asked: boolean } | undefined

  private constructor(options: RemusImagesOptions) {
    this.#options = options
  }

  /** Begins a stream. Rejects with E_ENGINE. */
  static async begin(options: RemusImagesOptions): Promise<RemusImages> {
    const images = new RemusImages(options)
    images.#sender = await RemusSender.start(options.domain, options.periodMs, {
      configured: json => { options.check(json) },
      stands: canBeHeld => images.#stands(canBeHeld),
      bytes: piece => { images.#put(piece) },
      whole: (checkpoint, held) => { images.#whole(checkpoint, held) },
      ended: reason => { images.#end(reason) }
    })
    return images
  }

  /** Resolves when xl has let go of the domain. */
  get gone(): Promise<unknown> { return this.#sender?.gone ?? Promise.resolve() }
  get periodMs(): number { return this.#options.periodMs }
  /** Nothing more comes of it: a new stream begins with the whole domain. */
  get over(): boolean { return this.#course.over }
  /** Why. */
  get failure(): Error | undefined { return this.#course.failure }

  /**
   * The next image. `standing` is awaited while the domain stands. Whatever ends this before its end ends the
   * stream, and the domain runs on. Throws E_ENGINE.
   */
  async *next(standing: () => Promise<void>): AsyncGenerator<Uint8Array, void> {
    invariant(!this.#taking, 'one image is taken at a time')
    this.#taking = this.#asked = true
    let done = false
    try {
      yield partHeader({ stream: this.#id, index: this.#index })
      while (!done) {
        const next = await this.#course.next()
        if (next instanceof Uint8Array) {
          if (this.#course.bytes <= firstPassBytesMax) this.#sender?.resume()
          yield next
        } else if (next.type === 'whole') done = mustBeHeld(next.held)
        else {
          await standing()
          this.#sender?.goOn()
          // Encrypting and sending what was read would take time from reading, for which the domain waits.
          await this.#course.filled(standingBytesMax)
        }
      }
      this.#index++
    } finally {
      this.#taking = this.#asked = false
      if (!done) void this.close('an image was not taken to its end')
    }
  }

  /**
   * Ends the stream; the domain runs on. Resolves when xl has let go of it, which is at its next checkpoint;
   * one that does not is killed.
   */
  async close(reason: string): Promise<void> {
    this.#sender?.close()
    this.#end(reason)
    const timer = setTimeout(() => { this.kill() }, this.#options.periodMs + letGoMsMax)
    await this.gone
    clearTimeout(timer)
  }

  /**
   * Xen says that a domain stands; nothing of its checkpoint was read by then. It does not say which, so
   * that a pause may be told too long, and never too short.
   */
  suspended(): void {
    this.#suspendedAt ??= performance.now()
  }

  /** Ends it at once: the domain is gone. */
  kill(): void {
    this.#sender?.kill()
    this.#end('the domain is gone')
  }

  #stands(canBeHeld: boolean): boolean {
    const asked = this.#asked && canBeHeld
    this.#standing = { since: this.#suspendedAt ?? performance.now(), asked }
    if (asked) this.#course.add({ type: 'stands' })
    return asked
  }

  #put(piece: Uint8Array): void {
    this.#course.add(piece)
    const { bytes } = this.#course
    if (this.#isFirstPass && bytes > firstPassBytesMax) this.#sender?.pause()
    else if (bytes > waitingBytesMax) {
      void this.close('checkpoints come faster than they can be sent to the backup')
    }
  }

  #whole(checkpoint: XenCheckpoint, held: boolean): void {
    this.#suspendedAt = undefined
    if (checkpoint.number === 0) {
      this.#isFirstPass = false
      return
    }
    const standing = this.#standing
    invariant(standing !== undefined, 'a checkpoint after the first pass has begun')
    this.#standing = undefined
    this.#options.paused(performance.now() - standing.since, checkpoint.pages)
    if (!standing.asked) return
    this.#asked = false
    this.#course.add({ type: 'whole', held })
  }

  #end(reason: string): void {
    this.#course.end(new TailgateError('E_ENGINE', reason))
  }
}

function mustBeHeld(held: boolean): true {
  if (held) return true
  throw new TailgateError('E_ENGINE', 'the domain wrote so little to its memory that Xen did not wait for '
    + 'the mark: the checkpoint cannot be used')
}
