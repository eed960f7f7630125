import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { parseLogLine, type LogLine } from '../../src/demo/log-line.ts'
import { askStatus } from '../../src/observe/admin-client.ts'
import { freePorts, Program } from '../program.ts'
import { countedCheckpoint, type CountedCheckpoint } from './counted-checkpoint.ts'
import type { DelayMode } from './report.ts'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const protectedTimeoutMs = 30_000
const modes: readonly DelayMode[] = ['epoch', 'checkpoint']

/**
 * The embedded guest behind a gateway, with an agent for each of two hosts. It has two services, which differ
 * in when their output is released.
 */
export class EmbeddedInstallation {
  readonly checkpoints: CountedCheckpoint[] = []
  readonly #programs: Program[] = []
  #directory = ''
  #ports: readonly number[] = []

  /** Resolves when the guest is protected. Stops what it has started when it rejects. */
  static async start(intervalMs: number): Promise<EmbeddedInstallation> {
    const installation = new EmbeddedInstallation()
    try {
      await installation.#start(intervalMs)
    } catch (error) {
      await installation.stop()
      throw error
    }
    return installation
  }

  portOf(mode: DelayMode): number {
    return this.#ports[modes.indexOf(mode)] ?? 0
  }

  /** What the guest's protection is now: `protected`, and the others of `tailgate status`. */
  async protection(): Promise<string> {
    const [guest] = (await askStatus(join(this.#directory, 'state', 'admin.sock'))).guests
    return guest?.protection.state ?? 'unprotected'
  }

  async stop(): Promise<void> {
    for (const program of this.#programs.toReversed()) await program.stop()
    if (this.#directory !== '') await rm(this.#directory, { recursive: true })
  }

  async #start(intervalMs: number): Promise<void> {
    this.#directory = await mkdtemp(join(tmpdir(), 'tailgate-bench-'))
    const [one = 0, two = 0, ...ports] = await freePorts(2 + modes.length)
    this.#ports = ports
    const hosts = [{ name: 'one', link: `127.0.0.1:${one}` }, { name: 'two', link: `127.0.0.1:${two}` }]
    for (const { name, link } of hosts) {
      const peers = hosts.map((host) => host.name).filter((other) => other !== name)
      const agent = await this.#program('agent', name, 'others', {
        name, link, data_dir: join(this.#directory, name), gateways: ['gateway'], peers, log_level: 'warn',
        guests: [{ name: 'bench', engine: 'embedded', listen: modes.map(() => '127.0.0.1:0') }]
      })
      await agent.listening(Number(link.split(':')[1]))
    }
    const services = modes.map((mode, at) =>
      ({ name: mode, listen: `127.0.0.1:${ports[at]}`, release: mode }))
    const gateway = await this.#program('gateway', 'gateway', 'contender', {
      name: 'gateway', state_dir: join(this.#directory, 'state'), log_level: 'info',
      guests: [{
        name: 'bench', attach: 'embedded', hosts, checkpoint_interval: `${intervalMs}ms`, services,
        // A busy machine must not look like a dead host.
        heartbeat: { interval: '500ms', misses: 10 }, lease: '10s'
      }]
    })
    await this.#listenTo(gateway)
  }

  async #program(
    verb: string, name: string, place: 'contender' | 'others', settings: Readonly<Record<string, unknown>>
  ): Promise<Program> {
    const file = join(this.#directory, `${name}.yaml`)
    await writeFile(file, stringify(settings))
    const program = new Program(name, place, process.execPath, [main, verb, '-c', file])
    this.#programs.push(program)
    return program
  }

  /**
   * The gateway's log says when checkpoints count, and how long that is after their marks. Resolves when it
   * says that the guest is protected.
   */
  #listenTo(gateway: Program): Promise<void> {
    const { stderr } = gateway.child
    if (stderr === null) throw new Error('the gateway has no log')
    return new Promise((resolve, reject) => {
      const impatient = setTimeout(() => {
        reject(gateway.failure(`had no protected guest after ${protectedTimeoutMs / 1000} s`))
      }, protectedTimeoutMs)
      createInterface({ input: stderr }).on('line', (text) => {
        const line = parseLogLine(text)
        if (line?.event === 'checkpoint.counted') this.#counted(line)
        if (line?.event !== 'guest.protected') return
        clearTimeout(impatient)
        resolve()
      })
      gateway.child.once('exit', () => {
        clearTimeout(impatient)
        reject(gateway.failure('ended at once'))
      })
    })
  }

  #counted(line: LogLine): void {
    const checkpoint = countedCheckpoint(line)
    if (checkpoint !== undefined) this.checkpoints.push(checkpoint)
  }
}
