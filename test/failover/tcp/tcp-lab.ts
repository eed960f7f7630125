import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { RunningAgent } from '../../../src/agent/main.ts'
import { loadGatewayConfig } from '../../../src/config/load.ts'
import { freePorts } from '../../../src/demo/ports.ts'
import { ServedGuests } from '../../../src/gateway/served-guests.ts'
import { chooseSockets } from '../../../src/net/choose-sockets.ts'
import type { LogEventFields, LogEventName } from '../../../src/observe/log-events.ts'
import type { Logger } from '../../../src/observe/logger.ts'
import { MetricRegistry } from '../../../src/observe/metric-registry.ts'
import { gatewayMetrics } from '../../../src/observe/metrics.ts'
import type { FailoverResult } from '../../../src/observe/status.ts'
import { agentConfig, startAgent } from '../../agent/agents.ts'
import { guest } from '../../agent/gateway-stub.ts'
import { GuestMachine } from './guest-machine.ts'
import { guestAddress, network, servicePort } from './network.ts'
import { RewoundEngine } from './rewound-engine.ts'

type Line<E extends LogEventName = LogEventName> = { readonly event: E } & LogEventFields<E>

/** How long anything may take that a test waits for, in milliseconds. */
const patienceMs = 20_000

/** What the gateway logs, kept, and awaited. */
class LogBook implements Logger {
  readonly droppedLines = 0
  readonly #lines: Line[] = []
  #waiting: (() => void)[] = []

  event<E extends LogEventName>(event: E, fields: LogEventFields<E>): void {
    this.#lines.push({ event, ...fields })
    for (const look of this.#waiting.splice(0)) look()
  }

  enabled(): boolean { return true }
  flush(): void { return }

  all<E extends LogEventName>(event: E): readonly Line<E>[] {
    return this.#lines.filter((line): line is Line<E> => line.event === event)
  }

  async until(event: LogEventName): Promise<void> {
    const late = AbortSignal.timeout(patienceMs)
    while (!this.#lines.some((line) => line.event === event)) {
      await new Promise<void>((resolve, reject) => {
        this.#waiting.push(resolve)
        late.onabort = () => {
          reject(new Error(`the gateway never said ${event}; it said ${JSON.stringify(this.#lines)}`))
        }
      })
    }
  }
}

/**
 * The gateway's core and shell, and two agents, in this process; a guest whose TCP is a real kernel's, on two
 * machines in namespaces. There is one checkpoint, when the test wants it. A replay waits longer than by
 * default: a socket that was put back knows no round-trip time, and repeats after 1 s, 2 s, 4 s (RFC 6298).
 */
export class TcpLab {
  readonly log = new LogBook()
  readonly port: number
  readonly #machines: readonly [GuestMachine, GuestMachine]
  readonly #agents: RunningAgent[] = []
  readonly #directory: string
  #guests: ServedGuests | undefined
  #turn: (() => void) | undefined
  readonly #marked: Promise<void>
  #isMarked = false

  private constructor(machines: readonly [GuestMachine, GuestMachine], directory: string, port: number) {
    this.#machines = machines
    this.#directory = directory
    this.port = port
    this.#marked = new Promise((resolve) => { this.#turn = resolve })
  }

  /** One that serves, whose backup has the log from its beginning; no checkpoint is there yet. */
  static async start(t: Test, family: 4 | 6): Promise<TcpLab> {
    const machines = await Promise.all([GuestMachine.start('tgm-a'), GuestMachine.start('tgm-b')])
    const directory = await mkdtemp(join(tmpdir(), 'tg-tcp-'))
    const [port = 0] = await freePorts(1)
    const lab = new TcpLab(machines, directory, port)
    t.teardown(() => lab.#end())
    for (const [at, name] of (['a', 'b'] as const).entries()) await lab.#startAgent(t, name, at, family)
    await lab.#startGateway(family)
    await lab.log.until('history.began')
    return lab
  }

  /** The machine that the guest runs on: the second one after the failover. */
  get machine(): GuestMachine {
    return this.#machines[this.log.all('failover.began').length === 0 ? 0 : 1]
  }

  async #startAgent(t: Test, name: 'a' | 'b', at: number, family: 4 | 6): Promise<void> {
    const machine = at === 0 ? this.#machines[0] : this.#machines[1]
    const engine = new RewoundEngine({
      machine, host: guestAddress[family], port: servicePort, turn: () => this.#marked
    })
    const config = agentConfig(name, join(this.#directory, name))
    this.#agents.push(await startAgent(t, config, { engines: new Map([[guest, engine]]) }))
  }

  async #startGateway(family: 4 | 6): Promise<void> {
    const host = family === 4 ? guestAddress[4] : `[${guestAddress[6]}]`
    const file = join(this.#directory, 'gateway.yaml')
    const [a = 0, b = 0] = this.#agents.map((agent) => agent.port)
    await writeFile(file, `name: gw
state_dir: gateway
guests:
  - name: ${guest}
    hosts:
      - { name: a, link: 127.0.0.1:${a}, fence: ['true'] }
      - { name: b, link: 127.0.0.1:${b} }
    checkpoint_interval: 10m
    heartbeat: { interval: 200ms, misses: 50 }
    lease: 1m
    replay: { timeout: 10s }
    services:
      - { name: echo, listen: 127.0.0.1:${this.port}, to: '${host}:${servicePort}' }
`)
    const registry = new MetricRegistry()
    const { sockets } = await chooseSockets()
    this.#guests = new ServedGuests({
      config: loadGatewayConfig(file), sockets, logger: this.log, registry, metrics: gatewayMetrics(registry)
    })
    await this.#guests.open()
    this.#guests.serve()
  }

  /** The guest stands still for a checkpoint, and runs on; resolves when that checkpoint counts. */
  async mark(): Promise<void> {
    if (this.#isMarked) throw new Error('there is one checkpoint only')
    this.#isMarked = true
    this.#turn?.()
    await this.log.until('checkpoint.counted')
  }

  /** The primary dies without a word; resolves when the guest serves again on the other host. */
  async failOver(): Promise<FailoverResult['failover']> {
    if (this.#guests === undefined) throw new Error('no gateway runs')
    await this.#machines[0].die()
    network.letAllGo()
    await this.#agents[0]?.stop()
    return (await this.#guests.failover({ guest, acceptLoss: false })).failover
  }

  async #end(): Promise<void> {
    this.#turn?.()
    await this.#guests?.close()
    await Promise.all(this.#machines.map((machine) => machine.die()))
    await rm(this.#directory, { recursive: true, force: true })
  }
}
