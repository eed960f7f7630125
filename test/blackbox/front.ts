import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { GatewayStatus, GuestStatus } from '../../src/observe/status.ts'
import { metricsOf, type Samples } from './metrics.ts'
import { Program, run, until, type Result } from './program.ts'

/** Without a gateway; with one that only forwards; and with a backup, in each release mode. */
export type Mode = 'direct' | 'plain' | 'immediate' | 'epoch' | 'checkpoint'

export const modes: readonly Mode[] = ['direct', 'plain', 'immediate', 'epoch', 'checkpoint']
export const replicated: ReadonlySet<Mode> = new Set<Mode>(['immediate', 'epoch', 'checkpoint'])

const main = new URL('../../dist/cli/main.js', import.meta.url).pathname

/** What stands behind the gateway. */
export interface Behind {
  /** Where its services listen on 127.0.0.1. */
  readonly ports: readonly number[]
  /** Its processes, which stand still for checkpoints. */
  readonly pids: readonly number[]
}

export interface FrontOptions {
  readonly durability?: 'memory' | 'disk'
  /** More keys of the gateway file, at its top. */
  readonly keys?: string
  /** Heartbeats of 100 ms that may be missing. */
  readonly misses?: number
}

/** One line of a log (docs/LOGS.md). */
export type Line = Readonly<Record<string, unknown>> & { readonly event: string }

/** How each connection ended, as its one line says. */
export interface EndLine {
  readonly connection: number
  readonly end: string
  readonly service: string
  readonly inputBytes: number
  readonly outputBytes: number
}

/** A gateway process, for replicated modes with two agent processes, in front of something real. */
export class Front {
  readonly t: Test
  readonly mode: Mode
  readonly directory: string
  /** Where clients connect, in the order of the ports behind. */
  ports: readonly number[] = []
  readonly ends: EndLine[] = []
  readonly events: Line[] = []
  #gateway: Program | undefined
  readonly #agents: Program[] = []
  #metrics = ''
  #backupMetrics = ''

  private constructor(t: Test, mode: Mode) {
    this.t = t
    this.mode = mode
    this.directory = mkdtempSync(join(tmpdir(), 'tailgate-box-'))
    t.teardown(() => rmSync(this.directory, { recursive: true, force: true }))
  }

  /** Starts what `mode` needs and waits until it serves: with a backup, until that takes the input. */
  static async start(t: Test, mode: Mode, behind: Behind, options: FrontOptions = {}): Promise<Front> {
    const front = new Front(t, mode)
    if (mode === 'direct') {
      front.ports = behind.ports
      return front
    }
    if (!existsSync(main)) throw new Error('build first: npx tsc -p tsconfig.json')
    const links = replicated.has(mode) ? await front.#startAgents(behind) : []
    await front.#startGateway(behind, links, options)
    return front
  }

  get port(): number {
    return this.ports[0] ?? 0
  }

  get gateway(): Program {
    if (this.#gateway === undefined) throw new Error('there is no gateway in a direct run')
    return this.#gateway
  }

  /** The agent that has the log. */
  get backup(): Program {
    const backup = this.#agents[1]
    if (backup === undefined) throw new Error('there is no backup in this mode')
    return backup
  }

  async #startAgents(behind: Behind): Promise<readonly string[]> {
    const links: string[] = []
    for (const [host, peer] of [['host-a', 'host-b'], ['host-b', 'host-a']] as const) {
      const file = join(this.directory, `${host}.yaml`)
      writeFileSync(file, agentFile(host, peer, this.mode, behind))
      const agent = this.#process(['agent', '-c', file])
      this.#agents.push(agent)
      const lines = await said(agent, ['link.listening', 'metrics.listening'])
      links.push(String(lines['link.listening']?.address))
      this.#backupMetrics = String(lines['metrics.listening']?.address)
    }
    return links
  }

  async #startGateway(behind: Behind, links: readonly string[], options: FrontOptions): Promise<void> {
    const file = join(this.directory, 'gateway.yaml')
    writeFileSync(file, gatewayFile(this.mode, behind, links, options))
    const gateway = this.#process(['gateway', '-c', file])
    this.#gateway = gateway
    const ports = new Map<string, number>()
    const ready = this.mode === 'checkpoint' ? 'checkpoint.counted' : 'history.began'
    const wanted = new Set(['metrics.listening', 'admin.listening'])
    if (replicated.has(this.mode)) wanted.add(ready)
    gateway.onLine = (text) => this.#remember(parsed(text))
    await gateway.says((text) => {
      const line = parsed(text)
      if (line === undefined) return false
      wanted.delete(line.event)
      if (line.event === 'metrics.listening') this.#metrics = String(line.address)
      if (line.event === 'service.listening') ports.set(String(line.service), portOf(line))
      return wanted.size === 0
    })
    this.ports = behind.ports.map((_, i) => ports.get(`s${i}`) ?? 0)
  }

  #process(args: readonly string[]): Program {
    return new Program(this.t, process.execPath, [main, ...args])
  }

  #remember(line: Line | undefined): void {
    if (line === undefined) return
    this.events.push(line)
    if (line.event === 'connection.end') this.ends.push(line as unknown as EndLine)
  }

  /** `tailgate` with a verb for this gateway. */
  async tailgate(...args: readonly string[]): Promise<Result> {
    return run(this.t, process.execPath, [main, ...args])
  }

  async status(): Promise<GatewayStatus> {
    const file = join(this.directory, 'gateway.yaml')
    const { status, out, error } = await this.tailgate('status', '-c', file, '--json')
    if (status !== 0) throw new Error(`tailgate status: ${error}`)
    return JSON.parse(out) as GatewayStatus
  }

  async guest(): Promise<GuestStatus> {
    const guest = (await this.status()).guests[0]
    if (guest === undefined) throw new Error('the status names no guest')
    return guest
  }

  async metrics(): Promise<Samples> {
    return metricsOf(this.#metrics)
  }

  async backupMetrics(): Promise<Samples> {
    return metricsOf(this.#backupMetrics)
  }

  /** The lines of the connections that have ended, once there are `count` of them. */
  async ended(count: number): Promise<readonly EndLine[]> {
    return until(`${count} connections have ended in the log`, async () => {
      await new Promise(setImmediate)
      return this.ends.length >= count ? this.ends : undefined
    })
  }

  /**
   * Asserts what must hold once all connections have ended: that the gateway counted what their lines say,
   * and that the backup really has every event.
   */
  async settled(t: Test, connections: number): Promise<void> {
    if (this.mode === 'direct') return
    const ends = await this.ended(connections)
    t.equal(ends.length, connections, 'one line for each connection')
    const metrics = await this.metrics()
    t.equal(metrics.sum('tailgate_connections_ended_total'), connections, 'as many ends are counted')
    t.equal(metrics.sum('tailgate_held_bytes'), 0, 'no output is held')
    const input = ends.reduce((sum, { inputBytes }) => sum + inputBytes, 0)
    t.equal(metrics.sum('tailgate_bytes_total', { direction: 'input' }), input, 'the input is counted')
    if (replicated.has(this.mode)) await this.committed(t, input)
  }

  /** Asserts that the backup has every event, and so at least `input` bytes. */
  async committed(t: Test, input: number): Promise<void> {
    const { loggedLsn } = (await this.guest()).positions
    const held = await until('the backup has every event', async () => {
      const held = await this.backupMetrics()
      return held.sum('tailgate_log_lsn') >= loggedLsn ? held : undefined
    })
    t.ok(held.sum('tailgate_log_appended_bytes_total') >= input, 'all input came to the backup')
    t.ok((await this.guest()).positions.committedLsn >= loggedLsn, 'all of it is committed')
  }
}

/** The first line of each of `events`. */
async function said(program: Program, events: readonly string[]): Promise<Readonly<Record<string, Line>>> {
  const found: Record<string, Line> = {}
  await program.says((text) => {
    const line = parsed(text)
    if (line !== undefined && events.includes(line.event)) found[line.event] = line
    return events.every((event) => event in found)
  })
  return found
}

function parsed(text: string): Line | undefined {
  try {
    const value = JSON.parse(text) as Partial<Line>
    return typeof value.event === 'string' ? value as Line : undefined
  } catch {
    return undefined
  }
}

function portOf(line: Line): number {
  return Number(String(line.address).split(':').at(-1))
}

function gatewayFile(
  mode: Mode, { ports }: Behind, links: readonly string[],
  { durability = 'memory', keys = '', misses = 100 }: FrontOptions
): string {
  const services = ports.map((port, i) =>
    `      - { name: s${i}, listen: "127.0.0.1:0", to: "127.0.0.1:${port}"`
    + `${mode === 'plain' ? '' : `, release: ${mode}`} }`)
  const hosts = links.map((link, i) => `      - { name: host-${i === 0 ? 'a' : 'b'}, link: "${link}" }`)
  const hosted = links.length === 0 ? [] : [
    '    hosts:', ...hosts, `    durability: ${durability}`, '    checkpoint_interval: 50ms',
    // A loaded machine must not be taken for a dead one: hardly anything here is about detection.
    `    heartbeat: { interval: 100ms, misses: ${misses} }`, '    lease: 10s'
  ]
  return ['name: gateway', 'state_dir: gateway', 'metrics: "127.0.0.1:0"', keys, 'guests:',
    '  - name: box', '    attach: tcp', '    resume: off', ...hosted, '    services:', ...services, ''
  ].join('\n')
}

function agentFile(host: string, peer: string, mode: Mode, { ports, pids }: Behind): string {
  const endpoints = ports.map((port) => `"127.0.0.1:${port}"`).join(', ')
  const engine = mode === 'checkpoint'
    ? ['    engine: blackhole', '    unsafe: true', `    pids: [${pids.join(', ')}]`]
    : ['    engine: none']
  return [`name: ${host}`, 'link: "127.0.0.1:0"', `data_dir: ${host}`, 'metrics: "127.0.0.1:0"',
    'gateways: [gateway]', `peers: [${peer}]`, 'guests:', '  - name: box', ...engine,
    `    endpoints: [${endpoints}]`, ''].join('\n')
}
