import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseDocument } from 'yaml'
import { LogLines } from '../failover/log-lines.ts'
import type { Agent, HostMachines, HostName } from '../lab/cluster.ts'
import { addressOf } from '../lab/network-lab.ts'
import type { Undoing } from '../lab/undoing.ts'
import { agentCommand, commandsOf } from './document.ts'
import { XenHost, type XenHostOptions } from './host.ts'

const linkPort = 7400
/** Where an operator's agent has its file and its certificates. */
const filesAt = '/etc/tailgate'
/** What the domain's configuration names. */
const guestAt = '/srv/guest'
/** How long unpacking a disk may take in dom0, in milliseconds. */
const unpackMsMax = 180_000
const domainFile = '/etc/xen/guest.cfg'
/** A processor that is emulated has nothing for AES, which takes it three times as long as this. */
const cipher = 'NODE_OPTIONS=--tls-cipher-list=TLS_CHACHA20_POLY1305_SHA256'
/** The shell of the laboratory's dom0 would take a lesser program of that name, its own. */
const ownIp = 'ip() { /usr/sbin/ip "$@"; }'

export interface XenMachinesOptions extends Omit<XenHostOptions, 'name' | 'bare'> {
  /** All hosts that may ever run the guest. */
  readonly hosts: readonly HostName[]
  /** What is different in the agent's file: values by their paths in it; undefined: it is left out. */
  readonly agent?: readonly (readonly [path: readonly (string | number)[], value: unknown])[]
  /** What the domain's configuration names besides the image's own; `*.gz` is unpacked. */
  readonly guestFiles?: { readonly from: string, readonly names: readonly string[] }
  /** What becomes of the domain's configuration. */
  readonly domain?: (text: string) => string
}

/** Xen hosts as docs/XEN.md sets them up: with Tailgate in dom0, and the files of deploy/xen. */
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
    const host = await XenHost.boot(this.#t, { ...this.#options, name, bare: true })
    await host.install()
    await host.run([ownIp, 'set -e', ...['1.', '2.', '3.', '4.'].map(commandsOf)].join('\n'))
    const { guestFiles, domain } = this.#options
    if (guestFiles !== undefined) {
      await host.put(guestFiles.from, guestFiles.names, guestAt)
      await host.run(`gunzip ${guestAt}/*.gz`, unpackMsMax)
    }
    if (domain !== undefined) await host.write(domainFile, domain(await host.run(`cat ${domainFile}`)))
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
    const file = parseDocument(readFileSync(new URL('../../deploy/xen/agent.yaml', import.meta.url), 'utf8'))
    file.set('name', name)
    file.set('link', `${addressOf(name, 'link')}:${linkPort}`)
    file.set('tls', { ca: 'ca.crt', cert: `${name}.crt`, key: `${name}.key` })
    file.set('peers', hosts.filter((other) => other !== name))
    for (const [path, value] of agent) {
      if (value === undefined) file.deleteIn(path)
      else file.setIn(path, value)
    }
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
    const write = files.map(([name, text]) =>
      `base64 -d >${filesAt}/${name} <<END\n${Buffer.from(text).toString('base64')}\nEND`)
    // The shell says its process id, and becomes the agent. It reads all of it before it begins.
    const socket = host.shell([
      '{', 'exec 2>&1 </dev/null', 'set -e', `mkdir -p ${filesAt}`, ...write, commandsOf('5.'),
      'echo "agent $$"', `exec env ${cipher} ${agentCommand()}`, '}'
    ].join('\n'))
    this.#pid = this.#read(socket)
    this.#pid.catch(() => undefined)
    this.exited = once(socket, 'close').then(() => this.log.ended())
  }

  /** Kills it (SIGKILL), and nothing that it has started; resolves when it is gone. */
  async kill(): Promise<void> {
    await this.#host.run(`kill -KILL ${await this.#pid}`)
    await this.exited
  }

  /** Resolves with the agent's process id. */
  #read(socket: Socket): Promise<number> {
    // A host that dies takes the connection with it.
    socket.on('error', () => undefined)
    const lines = createInterface({ input: socket })
    return new Promise((resolve, reject) => {
      lines.on('line', (line) => {
        this.log.add(line)
        const pid = /^agent (\d+)$/.exec(line)?.[1]
        if (pid !== undefined) resolve(Number(pid))
      })
      lines.once('close', () => reject(new Error(`no agent was started: ${this.log.words}`)))
    })
  }
}
