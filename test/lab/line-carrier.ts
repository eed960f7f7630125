import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { LineCounts, Shape } from './line.ts'
import type { LineOrder } from './line-process.ts'

/** The process that carries the lines of a lab; one that is not needed is not started. */
export class LineCarrier {
  #child: ChildProcess | undefined
  #gone: Promise<never> | undefined
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
    const child = this.#child ?? this.#start()
    const answer = this.#turn.then(async () => {
      const answered = new Promise<LineCounts>((resolve) => { child.once('message', resolve) })
      child.send(order)
      return await (this.#gone === undefined ? answered : Promise.race([answered, this.#gone]))
    })
    this.#turn = answer.catch(() => undefined)
    return answer
  }

  #start(): ChildProcess {
    const program = fileURLToPath(new URL('line-process.ts', import.meta.url))
    const child = this.#child = fork(program, { execArgv: process.execArgv })
    this.#gone = once(child, 'exit').then(() => { throw new Error('the process of the lines has ended') })
    this.#gone.catch(() => undefined)
    return child
  }
}
