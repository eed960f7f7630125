import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { parseDocument } from 'yaml'
import { LogLines } from '../failover/log-lines.ts'
import type { Agent, HostMachines, HostName } from '../lab/cluster.ts'
import { addressOf } from '../lab/network-lab.ts'
import type { Undoing } from '../lab/undoing.ts'
import { installedAt, XenHost, type XenHostOptions } from './host.ts'

const linkPort = 7400
/** Where an operator's agent has its file, its certificates and the domain's configuration. */
const filesAt = '/etc/tailgate'
const domainFile = '/etc/xen/guest.cfg'
const example = (name: string): string =>
  readFileSync(new URL(`../../deploy/xen/${name}`, import.meta.url), 'utf8')

export interface XenMachinesOptions extends Omit<XenHostOptions, 'name'> {
  /** All hosts that may ever run the guest. */
  readonly hosts: readonly HostName[]
  /** What becomes of the example of an agent's file: values by their paths. */
  readonly agent?: readonly (readonly [path: readonly (string | number)[], value: unknown])[]
  /** What becomes of the example of the domain's configuration. */
  readonly domain?: (text: string) => string
}

/** Xen hosts as an operator sets them up: with Tailgate in dom0, and the files of deploy/xen. */
export class XenMachines implements HostMachines {
  readonly #t: Undoing
  readonly #options: XenMachinesOptions
  readonly #up = new Map<HostName, XenHost>()

  constructor(t: Undoing, options: XenMachinesOptions) {
    this.#t = t
    this.#options = options
  }

  /** One that is up. */
  host(name: HostName): XenHost {
    const host = this.#up.get(name)
    if (host === undefined) throw new Error(`${name} is not up`)
    return host
  }

  async boot(name: HostName): Promise<void> {
    const domain = this.#options.domain?.(example('guest.cfg')) ?? example('guest.cfg')
    const host = await XenHost.boot(this.#t, { ...this.#options, name })
    await host.install()
    await host.write(domainFile, domain)
    this.#up.set(name, host)
  }

  async kill(name: HostName): Promise<void> {
    const host = this.host(name)
    this.#up.delete(name)
    await host.kill()
  }

  startAgent(name: HostName, directory: string): XenAgent {
    const files = ['ca.crt', `${name}.crt`, `${name}.key`]
      .map((file) => [file, readFileSync(join(directory, 'certs', file), 'utf8')] as const)
    return new XenAgent(this.host(name), [...files, ['agent.yaml', this.#agentFile(name)]])
  }

  #agentFile(name: HostName): string {
    const { hosts, agent = [] } = this.#options
    const file = parseDocument(example('agent.yaml'))
    file.set('name', name)
    file.set('link', `${addressOf(name, 'link')}:${linkPort}`)
    file.set('tls', { ca: 'ca.crt', cert: `${name}.crt`, key: `${name}.key` })
    file.set('peers', hosts.filter((other) => other !== name))
    for (const [path, value] of agent) file.setIn(path, value)
    return file.toString()
  }
}

/** An agent in dom0. Its log is what its own connection to the host says, which ends when it does. */
export class XenAgent implements Agent {
  readonly name: string
  readonly log: LogLines
  readonly exited: Promise<void>
  readonly #host: XenHost
  readonly #pid: Promise<number>

  constructor(host: XenHost, files: readonly (readonly [name: string, text: string])[]) {
    this.name = host.name
    this.log = new LogLines(host.name)
    this.#host = host
    const write = files.map(([name, text]) => `base64 -d >${name} <<END\n${base64(text)}\nEND`)
    // The shell says its process id, and becomes the agent.
    const socket = host.shell([
      `mkdir -p ${filesAt} && cd ${filesAt}`, ...write, 'echo $$',
      `exec node ${installedAt}/dist/cli/main.js agent -c agent.yaml 2>&1 </dev/null`
    ].join('\n'))
    const { first, ended } = this.#read(socket)
    this.#pid = first.then(Number)
    this.exited = ended.then(() => this.log.ended())
  }

  /** Kills it (SIGKILL), and nothing that it has started; resolves when it is gone. */
  async kill(): Promise<void> {
    await this.#host.run(`kill -KILL ${await this.#pid}`)
    await this.exited
  }

  #read(socket: Socket): { readonly first: Promise<string>, readonly ended: Promise<unknown> } {
    // A host that dies takes the connection with it.
    socket.on('error', () => undefined)
    const lines = createInterface({ input: socket })
    const first = once(lines, 'line').then(([line]) => line as string)
    lines.on('line', (line) => this.log.add(line))
    return { first, ended: once(socket, 'close') }
  }
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64')
}
