import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import type { LogLines } from '../../test/failover/log-lines.ts'
import { Process } from '../../test/failover/process.ts'
import { freePorts } from '../program.ts'
import { embeddedTimes, logLimits, rarely, type FailoverSite } from './site.ts'
import type { ServiceAddress } from './clients.ts'
import type { Point } from './report.ts'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
type HostName = 'host-a' | 'host-b'
const otherOf = { 'host-a': 'host-b', 'host-b': 'host-a' } as const

/** The embedded guest, and both hosts as processes of this machine. Needs no rights. */
export class LoopbackSite implements FailoverSite {
  readonly service: ServiceAddress
  readonly #directory: string
  readonly #agents = new Map<HostName, Process>()
  #gateway: Process | undefined
  #primary: HostName = 'host-a'

  private constructor(directory: string, port: number) {
    this.#directory = directory
    this.service = { host: '127.0.0.1', port }
  }

  /**
   * Resolves when the guest runs and has no backup. A gateway that was never before waits for both hosts, so
   * one has been there.
   */
  static async start(point: Point): Promise<LoopbackSite> {
    const directory = await mkdtemp(join(tmpdir(), 'tailgate-bench-'))
    const [port = 0, a = 0, b = 0] = await freePorts(3)
    const site = new LoopbackSite(directory, port)
    try {
      await site.#write('gateway', gatewayFile(port, { a, b }, point))
      await site.#write('host-a', agentFile('host-a', a))
      await site.#write('host-b', agentFile('host-b', b))
      for (const host of ['host-a', 'host-b'] as const) site.#startAgent(host)
      site.#gateway = site.#startProcess('gateway', 'gateway')
      await site.log.until('guest.protected')
      const isAlone = site.log.next('guest.unprotected')
      await site.#agents.get('host-b')?.kill()
      await isAlone
    } catch (error) {
      await site.stop()
      throw error
    }
    return site
  }

  get admin(): string {
    return join(this.#directory, 'gateway', 'admin.sock')
  }

  get log(): LogLines {
    if (this.#gateway === undefined) throw new Error('the gateway was not started')
    return this.#gateway.log
  }

  startBackup(): Promise<void> {
    this.#startAgent(otherOf[this.#primary])
    return Promise.resolve()
  }

  async killPrimary(): Promise<void> {
    const killed = this.#agents.get(this.#primary)
    this.#primary = otherOf[this.#primary]
    await killed?.kill()
  }

  async stop(): Promise<void> {
    for (const agent of this.#agents.values()) await agent.kill()
    await this.#gateway?.kill()
    await rm(this.#directory, { recursive: true, force: true })
  }

  #startAgent(name: HostName): Process {
    const agent = this.#startProcess(name, 'agent')
    this.#agents.set(name, agent)
    return agent
  }

  #startProcess(name: string, verb: string): Process {
    return new Process(name, [main, verb, '-c', join(this.#directory, `${name}.yaml`)], this.#directory)
  }

  async #write(name: string, settings: object): Promise<void> {
    await writeFile(join(this.#directory, `${name}.yaml`), stringify(settings))
  }
}

interface Links {
  readonly a: number
  readonly b: number
}

function gatewayFile(port: number, links: Links, { tailBytes, order }: Point): object {
  const { heartbeatMs, misses, leaseMs } = embeddedTimes
  return {
    name: 'gateway', state_dir: 'gateway',
    guests: [{
      name: 'bench', attach: 'embedded', checkpoint_interval: rarely, lease: `${leaseMs}ms`,
      heartbeat: { interval: `${heartbeatMs}ms`, misses }, log: logLimits(tailBytes), replay: { order },
      hosts: [
        { name: 'host-a', link: `127.0.0.1:${links.a}` }, { name: 'host-b', link: `127.0.0.1:${links.b}` }
      ],
      services: [{ name: 'redis', listen: `127.0.0.1:${port}` }]
    }]
  }
}

function agentFile(name: HostName, link: number): object {
  return {
    name, link: `127.0.0.1:${link}`, data_dir: name, gateways: ['gateway'], peers: [otherOf[name]],
    guests: [{ name: 'bench', engine: 'embedded', listen: ['127.0.0.1:0'] }]
  }
}
