import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { LineCounts, Shape } from './line.ts'
import type { LineOrder } from './line-process.ts'

/** The process that carries the lines of a lab; one that is not needed is not started. */
export class LineCarrier {
  #child: ChildProcess | undefined
  /** One order after another: their answers have no names. */
  #turn: Promise<unknown> = Promise.resolve()

  /** Makes two tap devices in the network of the lab and joins them; `seed` decides what is lost. */
  open(near: string, far: string, seed: number): Promise<LineCounts> {
    return this.#ask({ type: 'open', near, far, seed })
  }

  shape(near: string, shape: Shape): Promise<LineCounts> {
    return this.#ask({ type: 'shape', near, shape })
  }

  count(near: string): Promise<LineCounts> {
    return this.#ask({ type: 'count', near })
  }

  /** Both devices are gone then. */
  close(near: string): Promise<LineCounts> {
    return this.#ask({ type: 'close', near })
  }

  end(): void {
    this.#child?.kill('SIGKILL')
  }

  #ask(order: LineOrder): Promise<LineCounts> {
    const child = this.#child ??= fork(fileURLToPath(new URL('line-process.ts', import.meta.url)), {
      execArgv: process.execArgv
    })
    const answer = this.#turn.then(async () => {
      const gone = once(child, 'exit').then(() => { throw new Error('the process of the lines has ended') })
      gone.catch(() => undefined)
      child.send(order)
      const [counts] = await Promise.race([once(child, 'message'), gone]) as [LineCounts]
      return counts
    })
    this.#turn = answer.catch(() => undefined)
    return answer
  }
}
