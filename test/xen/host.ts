import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { withSystemPrograms } from '../../src/engine/system-programs.ts'
import { builtImage } from '../built-image.ts'
import { addressOf, type MachineName } from '../lab/network-lab.ts'
import type { Undoing } from '../lab/undoing.ts'
import { Console } from '../qemu/guest.ts'
import { requires, requiresRoot } from '../requires.ts'
import { runtimeFiles } from './runtime-files.ts'

const run = promisify(execFile)
const environment = withSystemPrograms(process.env)
/** In dom0, on each of its addresses, every connection to this port is a shell. */
export const shellPort = 7000
const unpackPort = 7001
/** The address that QEMU's network for users gives the machine (qemu(1), -netdev user). */
const manageAddress = '10.0.2.15'
/** How long a command in dom0 may take if nothing else is said, in milliseconds. */
const commandMsMax = 60_000
/** How long a guest may take from nothing to its service, in milliseconds. */
const bootMsMax = 120_000
/** Where {@link XenHost.install} puts Tailgate. */
export const installedAt = '/opt/tailgate'
export type XenHostName = Exclude<MachineName, 'gateway'>

/** What there is on this machine for Xen hosts. */
export interface XenImage {
  /** The directory of `xen`, `vmlinuz` and `initrd`. */
  readonly directory: string
  readonly qemu: string
}

/** Builds the image of a Xen host, or finds it built. Undefined where the test is skipped. */
export async function xenImage(t: Test): Promise<XenImage | undefined> {
  const qemu = requires(t, 'qemu-system-x86_64')
  if (qemu === undefined) return undefined
  for (const program of ['cpio', 'ip', 'unshare']) {
    if (requires(t, program) === undefined) return undefined
  }
  if (!requiresRoot(t)) return undefined
  return { directory: await builtImage('test/xen/host/build.sh', 'tailgate-test-xen'), qemu }
}

/** Likewise, the directory of an HVM domain's disk. */
export async function hvmGuest(t: Test): Promise<string | undefined> {
  if (requires(t, 'mke2fs') === undefined) return undefined
  return await builtImage('test/xen/hvm/build.sh', 'tailgate-test-hvm')
}

export interface XenHostOptions extends XenImage {
  readonly name: XenHostName
  /** Of the whole machine: Xen takes 100 MiB, dom0 its own part, and guests what is left. */
  readonly memoryMiB?: number
  /** Of dom0, whose root is in memory too. */
  readonly dom0MiB?: number
  /** As Xen is installed: nothing of dom0 is on the network of guests. */
  readonly bare?: boolean
}

/**
 * A machine with Xen, which QEMU emulates, joined to the bridges `guest` and `link` of the network lab in
 * whose namespace it is booted; its addresses are the lab's for its name. Its dom0 is reached by the test
 * over an interface of its own, whatever becomes of the networks:
 *
 * ```
 *  test ── 127.0.0.N:7000 ── QEMU ── manage ┐
 *  bridge guest ── tap guest-NAME ── guest ─┤ dom0: bridge guests ── vif ── domain
 *  bridge link ─── tap link-NAME ─── link ──┘
 * ```
 */
export class XenHost {
  readonly name: XenHostName
  /** Where the test reaches dom0. */
  readonly #manage: string
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>

  private constructor(name: XenHostName, manage: string, child: ChildProcess) {
    this.name = name
    this.#manage = manage
    this.#child = child
    this.#exited = once(child, 'exit')
  }

  /** Resolves when Xen's tools work in dom0. It is killed when the test ends. */
  static async boot(t: Undoing, options: XenHostOptions): Promise<XenHost> {
    const { name, qemu } = options
    const manage = `127.0.0.${numberOf(name)}`
    const console = await Console.listen(t)
    for (const network of ['guest', 'link'] as const) {
      const tap = `${network}-${name}`
      await run('ip', ['tuntap', 'add', 'dev', tap, 'mode', 'tap'], { env: environment })
      await run('ip', ['link', 'set', 'dev', tap, 'master', network, 'addrgenmode', 'none', 'up'],
        { env: environment })
    }
    const words = [...machineWords(options), ...networkWords(name, manage), ...console.words]
    const child = spawn(qemu, words, { stdio: ['ignore', 'ignore', 'pipe'] })
    const host = new XenHost(name, manage, child)
    t.teardown(() => host.kill())
    let said = ''
    child.stderr.on('data', (bytes: Buffer) => { said += bytes.toString() })
    const ended = host.#exited.then(() => { throw new Error(`${name} did not come up: ${said}`) })
    ended.catch(() => undefined)
    await Promise.race([console.says('tailgate: ready'), ended])
    return host
  }

  /**
   * What a command of dom0's shell says, with its errors. Rejects if its status is not 0, or it takes
   * longer than that. What it leaves running must have other channels than its own.
   */
  async run(command: string, msMax = commandMsMax): Promise<string> {
    const said = await this.#exchange(`(\n${command}\n) 2>&1; printf '\\n%d' $?\n`, msMax)
    const end = said.lastIndexOf('\n')
    if (said.slice(end + 1) === '0') return said.slice(0, end)
    throw new Error(`${this.name}: ${command}: ${said}`)
  }

  /** A shell that has read these lines, and whose words come here until it has ended. */
  shell(lines: string): Socket {
    const socket = createConnection(shellPort, this.#manage)
    socket.write(`${lines}\n`)
    return socket
  }

  /** Writes a file of dom0's. */
  async write(path: string, text: string): Promise<void> {
    await this.run(`base64 -d >'${path}' <<END\n${Buffer.from(text).toString('base64')}\nEND`)
  }

  /** Starts the domain `guest` of a configuration like {@link domainConfig}'s; resolves when it serves. */
  async create(config: string): Promise<void> {
    const log = '/var/log/xen/console/guest-guest.log'
    await this.write('/etc/xen/guest.cfg', config)
    await this.run(`rm -f ${log}; xl create /etc/xen/guest.cfg`)
    await this.run(`until grep -qs 'tailgate: ready' ${log}; do usleep 20000; done`, bootMsMax)
  }

  /** Puts Tailgate, as it is built, and the packages that it needs to run, into dom0. */
  async install(): Promise<void> {
    const { root, files } = runtimeFiles()
    await this.put(root, files, installedAt)
  }

  /** Puts files, and directories whole, of this machine's directory `from` into dom0's directory `to`. */
  async put(from: string, files: readonly string[], to: string): Promise<void> {
    const prefix = `s,^,.${to}/,`
    const tar = spawn('tar', ['-C', from, '--dereference', '--transform', prefix, '-cf', '-', ...files])
    const socket = createConnection(unpackPort, this.#manage)
    socket.setTimeout(commandMsMax, () => socket.destroy(new Error('dom0 does not take the files')))
    socket.resume()
    // It is closed from the other side when all is unpacked.
    const [[status]] = await Promise.all([
      once(tar, 'exit') as Promise<[number | null]>, pipeline(tar.stdout, socket), once(socket, 'close')
    ])
    if (status !== 0) throw new Error(`tar ended with status ${status}`)
  }

  /** The power is cut: no packet says goodbye. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
    for (const network of ['guest', 'link']) {
      await run('ip', ['link', 'del', 'dev', `${network}-${this.name}`], { env: environment })
        .catch(() => undefined)
    }
  }

  async #exchange(text: string, msMax: number): Promise<string> {
    const socket = createConnection(shellPort, this.#manage)
    const deadline = setTimeout(() => {
      socket.destroy(new Error(`${this.name} has not answered within ${msMax} ms: ${text}`))
    }, msMax)
    try {
      socket.end(text)
      const parts: Buffer[] = []
      for await (const part of socket) parts.push(part as Buffer)
      return Buffer.concat(parts).toString()
    } finally {
      clearTimeout(deadline)
    }
  }
}

/**
 * The configuration (xl.cfg(5)) of the image's guest, whose interface is called `guest0`: the operators'
 * example, deploy/xen/guest.cfg, with that address and MAC in the place of its own.
 */
export function domainConfig(address: string, mac: string, memoryMiB = 128): string {
  return readFileSync(new URL('../../deploy/xen/guest.cfg', import.meta.url), 'utf8')
    .replace(/tailgate\.address=[\d.]+/, `tailgate.address=${address}`)
    .replace(/mac=[\da-f:]+/, `mac=${mac}`)
    .replace(/^memory = .*$/m, `memory = ${memoryMiB}`)
}

function numberOf(name: XenHostName): string {
  return addressOf(name, 'link').split('.').at(-1) ?? ''
}

/** The machine, with nested paging emulated, and its two kernels. */
function machineWords(options: XenHostOptions): readonly string[] {
  const { name, directory, memoryMiB = 1536, dom0MiB = 768, bare = false } = options
  const networks = bare ? ['link'] as const : ['guest', 'link'] as const
  const xen = `console=com1 com1=115200,8n1 dom0_mem=${dom0MiB}M,max:${dom0MiB}M `
    + 'dom0_max_vcpus=1 spec-ctrl=no xpti=no noreboot'
  // A root of type ramfs may fill all of the memory, and not a half of it.
  const dom0 = 'console=hvc0 quiet mitigations=off rootfstype=ramfs '
    + networks.flatMap((network) => [
      `tailgate.${network}=${addressOf(name, network)}/24`,
      `tailgate.${network}=${addressOf(name, network, 6)}/64`
    ]).join(' ')
  return [
    '-accel', 'tcg,thread=multi', '-M', 'pc', '-cpu', 'qemu64,+svm,+npt,+rdrand', '-m', String(memoryMiB),
    '-smp', '2', '-nodefaults', '-display', 'none',
    '-kernel', join(directory, 'xen'), '-append', xen,
    // A comma is what separates modules here: none of the words above has one.
    '-initrd', `${join(directory, 'vmlinuz')} ${dom0},${join(directory, 'initrd')}`
  ]
}

function networkWords(name: XenHostName, manage: string): readonly string[] {
  const number = numberOf(name)
  const forward = [shellPort, unpackPort]
    .map((port) => `hostfwd=tcp:${manage}:${port}-${manageAddress}:${port}`).join(',')
  const card = (id: string, mac: string): readonly string[] =>
    ['-device', `virtio-net-pci,netdev=${id},mac=${mac},romfile=`]
  const tap = (network: 'guest' | 'link', subnet: number): readonly string[] => [
    '-netdev', `tap,id=${network},ifname=${network}-${name},script=no,downscript=no`,
    ...card(network, `02:77:00:00:0${subnet}:${number}`)
  ]
  return [
    '-netdev', `user,id=manage,restrict=on,${forward}`, ...card('manage', `02:77:00:00:00:${number}`),
    ...tap('guest', 2), ...tap('link', 3)
  ]
}
