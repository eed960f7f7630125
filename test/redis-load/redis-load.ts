import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Figures, Kind } from './figures.ts'

export interface RedisLoadOptions {
  readonly host: string
  readonly port: number
  /** Before every key; none that a load before has used. */
  readonly prefix: string
  readonly workers: Partial<Readonly<Record<Kind, number>>>
  /** What the program is run by, as a command that enters a namespace. */
  readonly within?: readonly string[]
}

type Order = 'heard' | 'answers' | 'figures' | 'finish'
interface Answer { readonly order: Order, readonly figures: Figures }

const program = fileURLToPath(new URL('main.ts', import.meta.url))

/** The checking load (test/redis-load/main.ts) as a process. It ends with the test. */
export class RedisLoad {
  readonly workers: number
  readonly #child: ChildProcess
  readonly #exit: Promise<number | null>
  #lastWords = ''
  #answered: ((answer: Answer) => void) | undefined

  private constructor(child: ChildProcess, workers: number) {
    this.#child = child
    this.workers = workers
    this.#exit = once(child, 'exit').then(([code]) => code as number | null)
    child.stderr?.on('data', (bytes: Buffer) => {
      this.#lastWords = (this.#lastWords + bytes.toString()).slice(-2000)
    })
    if (child.stdout === null) throw new Error('the load has a stdout')
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.#answered?.(JSON.parse(line) as Answer)
    })
  }

  static start(t: Test, { host, port, prefix, workers, within = [] }: RedisLoadOptions): RedisLoad {
    const counts = Object.entries(workers).map(([kind, count]) => `${kind}=${count}`)
    const [command = '', ...words] = [
      ...within, process.execPath, '--import=tsx', program, host, String(port), prefix, ...counts
    ]
    const child = spawn(command, words, { stdio: ['pipe', 'pipe', 'pipe'] })
    t.teardown(() => child.kill('SIGKILL'))
    return new RedisLoad(child, Object.values(workers).reduce((sum, count) => sum + count, 0))
  }

  /** Resolves when every worker has finished another round. */
  heard(): Promise<Figures> { return this.#ask('heard') }

  /** Resolves when so many more replies have come. */
  answers(count: number): Promise<Figures> { return this.#ask('answers', count) }

  figures(): Promise<Figures> { return this.#ask('figures') }

  /** Lets all finish, reads every counter again, and ends it. */
  async finish(): Promise<Figures> {
    const figures = await this.#ask('finish')
    await this.#exit
    return figures
  }

  async #ask(order: Order, count?: number): Promise<Figures> {
    const answer = new Promise<Answer>((resolve) => { this.#answered = resolve })
    this.#child.stdin?.write(count === undefined ? `${order}\n` : `${order} ${count}\n`)
    const over = this.#exit.then((code): never => {
      throw new Error(`the load ended with ${code} before it answered: ${this.#lastWords}`)
    })
    return (await Promise.race([answer, over])).figures
  }
}

/** How many connections of kinds that may not be reset were. */
export function wrongResets({ resets }: Figures): number {
  return Object.entries(resets).reduce((sum, [kind, count]) => sum + (kind === 'shared' ? 0 : count), 0)
}
