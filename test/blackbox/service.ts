import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Test } from 'tap'
import type { Behind } from './front.ts'
import { plainEnvironment } from './program.ts'

export type Behaviour = 'echo' | 'digest' | 'farewell' | 'reset' | 'stalled' | 'source'

/** `read`: the connections that stand still are read. */
export type Order = 'read'

/** What the service sees of its connections. `close` gives in `text` how many bytes were read. */
export type ServiceEvent =
  | { readonly event: 'listening', readonly ports: Readonly<Record<Behaviour, number>> }
  | Seen

export interface Seen {
  readonly event: 'end' | 'error' | 'close' | 'read'
  readonly behaviour: Behaviour
  readonly text: string
}

const patienceMs = 30_000

/** The service process, and what it has said. */
export class Service {
  readonly #child: ChildProcess
  readonly #seen: Seen[] = []
  #changed: () => void = () => undefined
  #ports: Readonly<Record<string, number>> = {}

  private constructor(child: ChildProcess) {
    this.#child = child
    child.on('message', (event: ServiceEvent) => {
      if (event.event === 'listening') this.#ports = event.ports
      else this.#seen.push(event)
      this.#changed()
    })
  }

  static async start(t: Test): Promise<Service> {
    const module = new URL('service-process.ts', import.meta.url)
    const child = fork(module, [], { execArgv: ['--import=tsx'], env: plainEnvironment() })
    t.teardown(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGKILL')
      await once(child, 'exit')
    })
    const service = new Service(child)
    await service.#when('the service listens', () => service.#ports.echo === undefined ? undefined : true)
    return service
  }

  get behaviours(): readonly Behaviour[] {
    return Object.keys(this.#ports) as Behaviour[]
  }

  get behind(): Behind {
    return { ports: Object.values(this.#ports), pids: [this.#child.pid ?? 0] }
  }

  /** Reads what stands still until now. */
  read(): void {
    this.#child.send('read' satisfies Order)
  }

  /** Takes the first event of this kind out, when it has come. */
  async saw(event: Seen['event'], behaviour: Behaviour): Promise<string> {
    return this.#when(`the service saw ${event} of ${behaviour}`, () => {
      const at = this.#seen.findIndex((seen) => seen.event === event && seen.behaviour === behaviour)
      return at === -1 ? undefined : this.#seen.splice(at, 1)[0]?.text
    })
  }

  /** How many of this kind have come and were not taken out. */
  count(event: Seen['event'], behaviour: Behaviour): number {
    return this.#seen.filter((seen) => seen.event === event && seen.behaviour === behaviour).length
  }

  /** Forgets what has come until now. */
  forget(): void {
    this.#seen.length = 0
  }

  async #when<T>(what: string, look: () => T | undefined): Promise<T> {
    let limit: NodeJS.Timeout | undefined
    try {
      return await new Promise<T>((resolve, reject) => {
        limit = setTimeout(() => reject(new Error(`this has not happened: ${what}`)), patienceMs)
        this.#changed = () => {
          const found = look()
          if (found !== undefined) resolve(found)
        }
        this.#changed()
      })
    } finally {
      clearTimeout(limit)
      this.#changed = () => undefined
    }
  }
}
