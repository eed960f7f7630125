import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { TailgateError, messageOf } from '../base/errors.ts'
import {
  errorOf, type Answered, type Asked, type QuestionOf, type QuestionType, type WorkerAnswers
} from './worker-protocol.ts'

/**
 * Questions that one worker has not answered yet. A worker that does not answer is asked no more than this,
 * so that nothing grows while it stands still.
 */
export const questionsMax = 256

/** One question for which somebody still waits. */
interface Waiting {
  readonly resolve: (value: WorkerAnswers[QuestionType]) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

/**
 * The supervisor's end of one worker process, which runs as soon as this is made. Of no use any more once
 * `exited` has been called: a new one is made then.
 */
export class WorkerProcess {
  /** Resolves when the process is gone. */
  readonly gone: Promise<void>
  readonly #child: ChildProcess
  readonly #about: string
  /** By the number of the question; undefined where nobody waits any more. */
  readonly #waiting = new Map<number, Waiting | undefined>()
  #lastId = 0
  #exit: string | undefined

  /** `exited` is called once, with how it ended. */
  constructor(worker: number, exited: (how: string) => void) {
    this.#about = `worker ${worker}`
    const child = this.#child = forkWorker()
    child.on('message', (answered) => this.#answered(answered as Answered))
    this.gone = new Promise((resolve) => {
      const gone = (how: string): void => {
        if (this.#exit !== undefined) return
        this.#exit = how
        const error = new TailgateError('E_WORKER', `${this.#about} ended: ${how}`)
        for (const waiting of this.#waiting.values()) this.#settle(waiting, ({ reject }) => reject(error))
        this.#waiting.clear()
        exited(how)
        resolve()
      }
      // Without a process it could not be started; else something could not be sent, and `exit` tells why.
      child.on('error', (error) => { if (child.pid === undefined) gone(messageOf(error)) })
      child.once('exit', (code, signal) => gone(signal ?? `exit status ${code}`))
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /**
   * Rejects with what the worker says, with E_TIMEOUT after `limitMs` milliseconds, and with E_WORKER when it
   * is gone.
   */
  ask<T extends QuestionType>(question: QuestionOf<T>, limitMs: number): Promise<WorkerAnswers[T]> {
    return new Promise((resolve, reject) => {
      if (this.#exit !== undefined) {
        reject(new TailgateError('E_WORKER', `${this.#about} ended: ${this.#exit}`))
        return
      }
      if (this.#waiting.size >= questionsMax) {
        reject(new TailgateError('E_TIMEOUT', `${this.#about} leaves questions unanswered`))
        return
      }
      const id = ++this.#lastId
      const timer = setTimeout(() => this.#late(id, question.type, limitMs), limitMs)
      this.#waiting.set(id, { resolve: (value) => resolve(value as WorkerAnswers[T]), reject, timer })
      // Where it cannot be sent the process is ending, and `exit` follows.
      this.#child.send({ id, question } satisfies Asked, () => undefined)
    })
  }

  /** Ends it at once. */
  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #answered(answered: Answered): void {
    const waiting = this.#waiting.get(answered.id)
    this.#waiting.delete(answered.id)
    this.#settle(waiting, ({ resolve, reject }) => {
      if (answered.ok) resolve(answered.value)
      else reject(errorOf(answered.error))
    })
  }

  /** Its place is kept until the answer comes after all: see {@link questionsMax}. */
  #late(id: number, type: QuestionType, limitMs: number): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.set(id, undefined)
    const what = `${this.#about} did not answer '${type}' within ${limitMs} ms`
    this.#settle(waiting, ({ reject }) => reject(new TailgateError('E_TIMEOUT', what)))
  }

  #settle(waiting: Waiting | undefined, how: (waiting: Waiting) => void): void {
    if (waiting === undefined) return
    clearTimeout(waiting.timer)
    how(waiting)
  }
}

/** Runs the program that lies beside this one, with the flags of this process. */
function forkWorker(): ChildProcess {
  const self = fileURLToPath(import.meta.url)
  const name = self.endsWith('.ts') ? 'worker.ts' : 'worker.js'
  const program = fileURLToPath(new URL(name, import.meta.url))
  return fork(program, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
}
