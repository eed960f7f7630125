import type { ChildProcess } from 'node:child_process'

interface Waiting {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
}

/**
 * Orders to a forked process, `{ id, order }`, each of which it answers with `{ id, result }` or
 * `{ id, error }`. One that is gone answers nothing: what it is asked then is rejected, too.
 */
export class Questions<Order> {
  readonly #child: ChildProcess
  readonly #gone: string
  readonly #waiting = new Map<number, Waiting>()
  #next = 1
  #isGone = false

  /** `gone`: why nothing is answered any more. */
  constructor(child: ChildProcess, gone: string) {
    this.#child = child
    this.#gone = gone
    child.on('message', ({ id, result, error }: { id: number, result?: unknown, error?: string }) => {
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (error === undefined) waiting?.resolve(result)
      else waiting?.reject(new Error(error))
    })
    child.on('exit', () => {
      this.#isGone = true
      for (const { reject } of this.#waiting.values()) reject(new Error(this.#gone))
      this.#waiting.clear()
    })
  }

  ask(order: Order): Promise<unknown> {
    if (this.#isGone) return Promise.reject(new Error(this.#gone))
    const id = this.#next++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#child.send({ id, order })
    })
  }
}
