import { TailgateError } from '../base/errors.ts'

/** Bytes of an image that wait for their consumer before the guest is made to wait. */
const queuedBytesMax = 2 * 1024 * 1024

/** The pieces of an image between the guest, which sends them, and whoever takes the checkpoint. */
export class ImageQueue {
  #pieces: Uint8Array[] = []
  #bytes = 0
  #state: 'idle' | 'filling' | 'whole' | 'dropping' = 'idle'
  #error: Error | undefined
  #wake: (() => void) | undefined
  #flow: (flowing: boolean) => void
  #flowing = true

  /** `flow` stops the sender and lets it go on. */
  constructor(flow: (flowing: boolean) => void) {
    this.#flow = flow
  }

  /** Resolves when no piece of an image that nobody wanted can still come. Rejects as {@link next} does. */
  async ready(silenceMs: number): Promise<void> {
    while (this.#state !== 'idle') {
      if (this.#error !== undefined) throw this.#error
      await this.#change(silenceMs)
    }
  }

  begin(): void {
    this.#state = 'filling'
  }

  push(piece: Uint8Array): void {
    if (this.#state !== 'filling') return
    this.#pieces.push(piece)
    this.#bytes += piece.length
    this.#setFlow()
    this.#wake?.()
  }

  /** The guest has sent everything (`whole`), or has dropped the image as it was told. */
  ended(whole: boolean): void {
    if (this.#state === 'filling' && whole) this.#state = 'whole'
    else if (this.#state === 'dropping' && !whole) this.#state = 'idle'
    this.#wake?.()
  }

  fail(error: Error): void {
    this.#error = error
    this.#wake?.()
  }

  /** The next piece; undefined after the last. Rejects with E_ENGINE if the guest dies or falls silent. */
  async next(silenceMs: number): Promise<Uint8Array | undefined> {
    while (this.#pieces.length === 0) {
      if (this.#state === 'whole') {
        this.#state = 'idle'
        return undefined
      }
      if (this.#error !== undefined) throw this.#error
      await this.#change(silenceMs)
    }
    const piece = this.#pieces.shift()
    this.#bytes -= piece?.length ?? 0
    this.#setFlow()
    return piece
  }

  /** What is queued and what still comes is not wanted. Returns whether the guest must be told. */
  drop(): boolean {
    this.#pieces = []
    this.#bytes = 0
    this.#setFlow()
    const tell = this.#state === 'filling'
    this.#state = tell ? 'dropping' : this.#state === 'whole' ? 'idle' : this.#state
    return tell
  }

  #setFlow(): void {
    const flowing = this.#bytes < queuedBytesMax
    if (flowing === this.#flowing) return
    this.#flowing = flowing
    this.#flow(flowing)
  }

  async #change(silenceMs: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#wake = undefined
        const what = `the embedded guest has sent nothing of its image for ${silenceMs} ms`
        reject(new TailgateError('E_ENGINE', what))
      }, silenceMs)
      this.#wake = () => {
        clearTimeout(timer)
        this.#wake = undefined
        resolve()
      }
    })
  }
}
